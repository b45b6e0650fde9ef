"""A recipe: a whole experiment as validated data.

The shipped ones lie in `recipes/`; a file of the user's own has the same form. A recipe that `extends` another, a
shipped one or a file in its folder, takes over every key that it does not give itself; what it gives replaces the
other's.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, field_validator, model_validator

from cleanplate.errors import UserError
from cleanplate.pictures import require_multiple
from cleanplate.recipe_pictures import MAX_SEED, Composition, Mismatch
from cleanplate.recipe_pictures import Strict as _Strict

MASK_LOSSES = ("bce", "dice", "ssim")
"""The losses that look at the mask alone."""
LONGEST_NAME = 100
_Beta = Annotated[float, Field(ge=0, lt=1)]


class _Optimizer(_Strict):
    clip: float | None = Field(None, gt=0)
    """A gradient whose norm is greater is scaled down to it; none is when left out."""


class Sgd(_Optimizer):
    """Stochastic gradient descent."""

    name: Literal["sgd"] = "sgd"
    lr: float = Field(0.01, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0, ge=0)


class AdamW(_Optimizer):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"]
    lr: float = Field(0.001, gt=0)
    betas: tuple[_Beta, _Beta] = (0.9, 0.999)
    """Of the running means of gradient and squared gradient: each goes over about 1 / (1 - beta) steps."""
    weight_decay: float = Field(0.01, ge=0)


class Constant(_Strict):
    """The learning rate of the optimiser, or of the phase, throughout."""

    name: Literal["constant"]


class Plateau(_Strict):
    """Lower the rate when the validation loss has not fallen for more than `patience` epochs; a phase starts anew."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(0.1, gt=0, lt=1)
    patience: int = Field(2, ge=0)
    min_lr: float = Field(1e-6, ge=0)


class Step(_Strict):
    """Lower the rate after every so many epochs of a phase."""

    name: Literal["step"]
    every: int = Field(gt=0)
    factor: float = Field(0.1, gt=0, lt=1)


class OneCycle(_Strict):
    """Rise from a tenth of the rate over the first share of all steps, then fall to nothing."""

    name: Literal["one-cycle"]
    warmup: float = Field(0.1, ge=0, lt=1)
    anneal: Literal["cosine", "linear"] = "cosine"


class Phase(_Strict):
    """A stretch of epochs at one resolution."""

    size: int
    """Pixels a side, a multiple of 32."""
    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    lr: float | None = Field(None, gt=0)
    """The rate from this phase on; the one reached so far when left out."""

    @field_validator("size")
    @classmethod
    def _fits_the_network(cls, size: int) -> int:
        return require_multiple(size, "size")


class HueSaturationValue(_Strict):
    """Shift hue (of 180), saturation and value (of 255) of an input by up to so much."""

    probability: float = Field(0.25, ge=0, le=1)
    hue: float = Field(20, ge=0, le=90)
    saturation: float = Field(30, ge=0, le=255)
    value: float = Field(20, ge=0, le=255)


class Contrast(_Strict):
    """Multiply an input by up to so much more or less than 1."""

    probability: float = Field(0.25, ge=0, le=1)
    limit: float = Field(0.2, ge=0, lt=1)


class HorizontalFlip(_Strict):
    """Mirror the whole item left to right."""

    probability: float = Field(0.5, ge=0, le=1)


class Augmentation(_Strict):
    """What is changed at random in training items: colours of plate and frame each by their own draw."""

    horizontal_flip: HorizontalFlip | None = None
    hue_saturation_value: HueSaturationValue | None = None
    contrast: Contrast | None = None


class _Split(_Strict):
    seed: int = Field(1, ge=0, le=MAX_SEED)
    """Of the split alone: trainings of several seeds learn from the same items and are judged by the same."""
    train_items: int | None = Field(None, gt=0)
    """Train on at most so many items; all when left out."""
    items_per_part: int | None = Field(None, gt=0)
    """Validate by at most so many items of each part; all when left out."""


class RandomSplit(_Split):
    """A share of all items to train on, the rest to validate by."""

    kind: Literal["random"]
    train: float = Field(0.7, gt=0, lt=1)


class HeldOutSplit(_Split):
    """A share of the plates and of the cutouts is kept from training."""

    kind: Literal["held-out"] = "held-out"
    share: float = Field(0.2, gt=0, lt=1)
    seen: float = Field(0.1, gt=0, lt=1)
    """Of the items whose plate and cutouts are both known, the share to validate by."""


class Compute(_Strict):
    """How to use the machine; `auto` is chosen at the start of the run, recorded there, and kept on resume."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    layout: Literal["auto", "contiguous", "channels_last"] = "auto"
    kernels: Literal["auto", "plain", "fused", "tiled"] = "auto"
    """Torch's own layers, or several of them in one pass over memory, or convolutions tile by tile as well: the same
    mathematics."""
    workers: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """Processes that read pictures."""


class Recipe(_Strict):
    """A whole experiment."""

    name: str = ""
    description: str = ""
    model: Literal["dsresnet", "masknet", "platenet", "roomnet"] = "dsresnet"
    loss: Literal["rmse-bce-dice", "ssim-dice", "rmse-bce", "bce", "dice", "ssim"] = "rmse-bce-dice"
    depth_weight: float | None = Field(None, gt=0)
    """Of the loss's depth part, in place of the report's 2."""
    optimizer: Annotated[Sgd | AdamW, Field(discriminator="name")] = Sgd()
    schedule: Annotated[Constant | Plateau | Step | OneCycle, Field(discriminator="name")] = Plateau()
    phases: tuple[Phase, ...] = Field(min_length=1)
    composition: Composition = Composition()
    """How items are composed, where plates are given."""
    mismatch: Mismatch = Mismatch()
    augmentation: Augmentation = Augmentation()
    split: Annotated[RandomSplit | HeldOutSplit, Field(discriminator="kind")] = HeldOutSplit()
    checkpoint_minutes: float = Field(10, gt=0)
    """A full state is written after so many minutes, and at each epoch's end."""
    keep_checkpoints: int = Field(3, gt=0)
    """How many full states are kept, beside that of the best epoch."""
    on_bad_item: Literal["fail", "skip"] = "fail"
    """What to do about a picture that cannot be read: stop, or leave its item out, of 1 % of the items at most."""
    skip_nonfinite: int = Field(0, ge=0)
    """How many steps of a run may be left out because their loss or gradient is not finite."""
    previews: int = Field(32, ge=0)
    """How many fixed validation items are drawn after each epoch."""
    seed: int = Field(1, ge=0, le=MAX_SEED)
    compute: Compute = Compute()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not name.isprintable() or not {"/", "\\"}.isdisjoint(name) or len(name) > LONGEST_NAME:
            raise ValueError(f"names the run's folder: give at most {LONGEST_NAME} characters, no / or \\ among them")
        return name

    @model_validator(mode="after")
    def _loss_fits_the_network(self) -> "Recipe":
        if self.model == "masknet" and self.loss not in MASK_LOSSES:
            raise ValueError(f"loss {self.loss} needs depth, and masknet has none; choose {', '.join(MASK_LOSSES)}")
        if self.depth_weight is not None and self.loss in MASK_LOSSES:
            raise ValueError(f"depth_weight: loss {self.loss} looks at the mask alone; leave it out")
        return self

    @model_validator(mode="after")
    def _batches_can_be_normalised(self) -> "Recipe":
        if self.model != "masknet" and any(phase.size == 32 and phase.batch_size == 1 for phase in self.phases):
            raise ValueError("phases: one item at 32x32 is one value a channel in the deepest block; use batches of 2")
        return self

    @property
    def epochs(self) -> int:
        """The number of epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def phase_at(self, epoch: int) -> tuple[int, int]:
        """Return the number of the phase that `epoch` (from 0) belongs to, and its epoch within that phase."""
        for number, phase in enumerate(self.phases):
            if epoch < phase.epochs:
                return number, epoch
            epoch -= phase.epochs
        raise IndexError(f"the recipe has {self.epochs} epochs")

    def to_yaml(self) -> str:
        """Return the recipe as YAML, every default spelled out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def require_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Return seeds for as many trainings of one recipe.

    Raises:
        UserError: there are none, one of them is none, or occurs twice.
    """
    given = f"--seeds {','.join(map(str, seeds))}"
    if len(set(seeds)) < len(seeds) or not seeds:
        raise UserError(f"{given}: give each seed once, such as 1,2,3")
    if min(seeds) < 0 or max(seeds) > MAX_SEED:
        raise UserError(f"{given}: give seeds from 0 to {MAX_SEED}")
    return tuple(seeds)


def differing_keys(models: Sequence[BaseModel]) -> dict[str, list[Any]]:
    """Return the keys, dotted, in which models differ, with the value of each; None where one has no such key."""
    flat = [_flatten(model.model_dump(mode="json")) for model in models]
    keys = dict.fromkeys(key for values in flat for key in values)
    found = {key: [values.get(key) for values in flat] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def _flatten(value: Any, key: str = "") -> dict[str, Any]:
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        pairs = enumerate(value)
    else:
        return {key: value}
    return {k: v for name, part in pairs for k, v in _flatten(part, f"{key}.{name}" if key else str(name)).items()}
