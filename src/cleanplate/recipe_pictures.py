"""The parts of a recipe that say how pictures are composed, and in what plate and frame may differ besides people."""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_SEED = 2**32 - 1
_Number = TypeVar("_Number", int, float)


class Strict(BaseModel):
    """A table of a recipe: a key that it does not know is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _in_order(limits: tuple[_Number, _Number]) -> tuple[_Number, _Number]:
    if limits[0] > limits[1]:
        raise ValueError(f"{limits[0]} to {limits[1]} runs backwards; give the least first")
    return limits


Share = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[tuple[Share, Share], AfterValidator(_in_order)]
"""The least and the greatest share."""
Factor = Annotated[float, Field(gt=0)]
Factors = Annotated[tuple[Factor, Factor], AfterValidator(_in_order)]
Sigma = Annotated[float, Field(gt=0, le=20)]
Sigmas = Annotated[tuple[Sigma, Sigma], AfterValidator(_in_order)]
Quality = Annotated[int, Field(ge=1, le=100)]
Qualities = Annotated[tuple[Quality, Quality], AfterValidator(_in_order)]


class Recolour(Strict):
    """Change a cutout's brightness, colour cast, saturation and hue by up to so much."""

    probability: Share = 0.8
    gain: float = Field(0.3, ge=0, lt=1)
    offset: Share = 0.06
    """Of each channel."""
    saturation: Share = 0.3
    hue: float = Field(10, ge=0, le=180)
    """Degrees."""


class Fit(Strict):
    """Bring a cutout's brightness, contrast and cast nearer to those of the plate, by a share of the difference."""

    probability: Share = 0.5
    share: Shares = (0.1, 0.6)


class CastShadow(Strict):
    """Throw a cutout's shadow, slanted and soft, on floor or wall: it darkens the frame alone."""

    probability: Share = 0.6
    darkness: Shares = (0.15, 0.6)


class ContactShadow(Strict):
    """Darken the frame where a cutout touches the ground."""

    probability: Share = 0.5
    darkness: Shares = (0.2, 0.6)


class Clutter(Strict):
    """Fill the plate with up to so many pieces of itself and of cutouts, turned, in any colours: a busy place."""

    probability: Share = 0.4
    pieces: int = Field(12, gt=0)
    size: Shares = (0.06, 0.6)
    """Of a piece's longer side, as a share of the frame's height."""


class Composition(Strict):
    """How items are composed as they are needed, of plates and cutouts.

    `items` counts where there is nothing but plates, `share` where there is a data set beside them.
    """

    items: int = Field(20_000, gt=0)
    """How many there are, in training and validation together: each a plate and its people."""
    share: float = Field(0.5, gt=0, lt=1)
    """Beside a data set: the share of all items that is composed. How many that is then follows from the data set."""
    seed: int = Field(1, ge=0, le=MAX_SEED)
    """Of who stands in which plate: trainings of several seeds learn from the same items."""
    empty: Share = 0.1
    """The share of items with nobody in them."""
    people: int = Field(2, gt=0)
    """At most so many stand in one."""
    height: Shares = (0.15, 0.95)
    """Of a cutout, as a share of the frame's."""
    crop: Shares = (0.6, 1)
    """Of the square cut from a plate, as a share of its shorter side."""
    figures: int = Field(200, gt=0)
    """How many of the museum's figures there are, where no cutouts are given."""
    cut: Share = 0.3
    """The share of cutouts that may stand half outside the frame."""
    clutter: Clutter | None = None
    recolour: Recolour | None = Recolour()
    fit: Fit | None = Fit()
    cast_shadow: CastShadow | None = CastShadow()
    contact_shadow: ContactShadow | None = ContactShadow()

    def beside(self, items: int) -> "Composition":
        """Return it with as many items as make up its share beside so many of a data set, one at least."""
        return self.model_copy(update={"items": max(1, round(items * self.share / (1 - self.share)))})


class Camouflage(Strict):
    """Move the colours of the foreground towards those of the plate behind it, by a share of the difference."""

    probability: Share = 0.15
    share: Shares = (0.3, 0.9)


class Outdated(Strict):
    """Put a piece of the plate elsewhere, behind the foreground, in plate or frame: something has been moved."""

    probability: Share = 0.1
    size: Shares = (0.08, 0.3)
    """Of its sides, as a share of the picture's."""


class Light(Strict):
    """Change the light of plate or frame by up to so much, here more and there less."""

    probability: Share = 0.3
    limit: float = Field(0.25, ge=0, lt=1)


class Shift(Strict):
    """Shift the plate by up to so many pixels each way and turn it by up to so many degrees: a nudged camera."""

    probability: Share = 0.5
    pixels: float = Field(0.8, ge=0)
    degrees: float = Field(0.3, ge=0)


class Blur(Strict):
    """Blur plate or frame by a Gaussian of so many pixels: a camera that seeks its focus."""

    probability: Share = 0.3
    sigma: Sigmas = (0.4, 1.2)


class Exposure(Strict):
    """Multiply the frame by up to so much more or less than 1, and both pictures by one factor."""

    probability: Share = 0.8
    limit: float = Field(0.15, ge=0, lt=1)
    both: Factors = (0.6, 1.3)


class WhiteBalance(Strict):
    """Add up to so much, or take it away, to each channel of the frame."""

    probability: Share = 0.8
    limit: Share = 0.06


class Gamma(Strict):
    """Raise the frame to a power between one over `limit` and `limit`."""

    probability: Share = 0.3
    limit: float = Field(1.25, ge=1)


class Noise(Strict):
    """Add noise of up to such a deviation, to plate and frame each by its own draw."""

    probability: Share = 0.8
    plate: Share = 0.02
    """A plate is often the mean of many frames, and so has less."""
    frame: Share = 0.03


class Jpeg(Strict):
    """Compress plate, frame or both as JPEG."""

    probability: Share = 0.3
    quality: Qualities = (35, 95)


class Mismatch(Strict):
    """In what plate and frame differ besides people, in training and validation; what is left out does not happen."""

    share: Share = 1
    """Of the items: the others agree pixel for pixel."""
    camouflage: Camouflage | None = None
    outdated: Outdated | None = None
    light: Light | None = None
    shift: Shift | None = None
    blur: Blur | None = None
    exposure: Exposure | None = None
    white_balance: WhiteBalance | None = None
    gamma: Gamma | None = None
    noise: Noise | None = None
    jpeg: Jpeg | None = None

    @classmethod
    def everything(cls) -> "Mismatch":
        """Return all of them, each as it is by default."""
        return cls.model_validate({key: {} for key in cls.model_fields if key != "share"})
