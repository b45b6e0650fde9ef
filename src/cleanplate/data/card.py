"""`dataset.yaml`: what a data set says of itself."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from cleanplate.errors import UserError
from cleanplate.files import write_text
from cleanplate.safe_yaml import read_yaml

CARD_NAME = "dataset.yaml"


Deviation = Annotated[float, Field(gt=0)]


class ChannelStatistics(BaseModel):
    """Mean and standard deviation of each channel, RGB, of pictures scaled to 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    mean: tuple[float, float, float]
    std: tuple[Deviation, Deviation, Deviation]


class Normalisation(BaseModel):
    """The statistics by which plates and frames are normalised before the network sees them."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    plate: ChannelStatistics
    frame: ChannelStatistics


class DepthMeaning(BaseModel):
    """What the depth numbers mean: `metric` is `near + depth * (far - near)` metres, `relative` has no unit."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    kind: Literal["metric", "relative"] = "relative"
    near: float | None = None
    far: float | None = None
    fov: float | None = None
    """Horizontal field of view of the camera, in degrees."""

    @property
    def metres(self) -> tuple[float, float] | None:
        """What depth 0 and depth 1 are in metres; None where depth is relative."""
        return None if self.kind == "relative" or self.near is None or self.far is None else (self.near, self.far)

    @model_validator(mode="after")
    def _metric_has_metres(self) -> "DepthMeaning":
        if self.kind == "metric" and (self.near is None or self.far is None or not self.near < self.far):
            raise ValueError("metric depth needs near and far, in metres, near below far")
        return self


class Card(BaseModel):
    """The content of `dataset.yaml`; a data set without one has a card of defaults."""

    model_config = ConfigDict(extra="forbid")
    name: str = ""
    made_by: Annotated[dict[str, Any], AfterValidator(to_jsonable_python)] | None = None  # what can be written again
    normalisation: Normalisation | None = None
    depth: DepthMeaning = DepthMeaning()


def read_card(folder: Path) -> Card:
    """Read the card of a data set.

    Raises:
        UserError: the file is no valid card.
    """
    path = folder / CARD_NAME
    if not path.exists():
        return Card(name=folder.resolve().name)
    try:
        return Card.model_validate(read_yaml(path, "missing") or {})
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """Return the first fault: its key, and what is wrong with it."""
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'content'}: {fault['msg'].removeprefix('Value error, ')}"


def write_card(folder: Path, card: Card) -> None:
    """Write `dataset.yaml` whole."""
    content = card.model_dump(mode="json", exclude_none=True)
    write_text(folder / CARD_NAME, yaml.safe_dump(content, sort_keys=False))
