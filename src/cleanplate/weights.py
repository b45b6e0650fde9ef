"""Weights files: a network's parameters with all that is needed to use them, as safetensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import safetensors
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from safetensors.torch import save
from torch import Tensor, nn

from cleanplate import __version__
from cleanplate.data.card import DepthMeaning, Normalisation, explain
from cleanplate.errors import UserError
from cleanplate.files import require_file, write_bytes
from cleanplate.models import Network, create_model
from cleanplate.pictures import require_multiple

_KEY = "cleanplate"
GENERAL = "general"
"""What the package's own weights are called, wherever weights are asked for."""
GENERAL_FILE = Path(__file__).with_name("general.safetensors")


class WeightsCard(BaseModel):
    """What a weights file says of itself; kept in its metadata."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    model: str
    size: Annotated[int, AfterValidator(lambda size: require_multiple(size, "size"))]
    """Pixels of the longer side that it was trained at last."""
    normalisation: Normalisation
    depth: DepthMeaning | None
    """What its depth numbers mean; None when it was trained without any depth label, and its depth is noise."""
    recipe: str = ""
    version: str = __version__


def save_weights(path: Path, model: nn.Module, card: WeightsCard, *, half: bool = False) -> None:
    """Write the parameters of a network, and its card, as one whole file.

    Args:
        path: the file to write.
        model: the network.
        card: what the file is to say of itself.
        half: write kernels and matrices, which are nearly all of it, in float16. What has one dimension
            stays as it is: variances may lie outside that range.
    """
    tensors: dict[str, Tensor] = {
        name: (value.half() if half and value.ndim > 1 else value).contiguous()
        for name, value in model.state_dict().items()
    }
    write_bytes(path, save(tensors, {_KEY: card.model_dump_json()}), durable=True)


def find_weights(path: Path | str) -> Path:
    """Return the weights file that `path` means: itself, the best weights of a run folder, or the package's own.

    `general` means the latter; a folder of that name goes by its full path.

    Raises:
        UserError: there is no such file or run, or the run has no weights yet.
    """
    path = Path(path)
    if path == Path(GENERAL):
        mend = "give weights of your own, a run folder or a .safetensors file"
        return require_file(GENERAL_FILE, f"this installation has no weights of its own; {mend}")
    if path.is_dir():
        weights = path / "weights.safetensors"
        if not weights.exists():
            raise UserError(f"{path}: holds no weights.safetensors; give a run folder whose first epoch has ended")
        path = weights
    return require_file(path, "no such weights; give a run folder or a .safetensors file")


def find_run(path: Path | str) -> Path | None:
    """Return the run folder that `path` means, as `find_weights` has it; None for a file and for `general`."""
    path = Path(path)
    return path if path != Path(GENERAL) and path.is_dir() else None


def load_weights(path: Path | str) -> tuple[Network, WeightsCard]:
    """Load a network, in evaluation mode and float32, and its card from what `find_weights` takes.

    Raises:
        UserError: naming the file, when it is not one of cleanplate's or does not fit its network.
    """
    path = find_weights(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no dict)
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None
    if _KEY not in metadata:
        raise UserError(f"{path}: not written by cleanplate; its metadata says neither network nor size")
    try:
        card = WeightsCard.model_validate_json(metadata[_KEY])
        model = create_model(card.model)
    except ValidationError as error:
        raise UserError(f"{path}: its metadata is damaged: {explain(error)}; use another file") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    tensors = {name: value.float() if value.dtype == torch.float16 else value for name, value in tensors.items()}
    if _forms(tensors) != _forms(model.state_dict()):
        raise UserError(f"{path}: its parameters are not those of {card.model}; use a file of this version")
    model.load_state_dict(tensors)
    return model.eval(), card


def _forms(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
