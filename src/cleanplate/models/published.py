"""Weights of the published implementation, https://github.com/shan18/Depth-Estimation-Segmentation, in our networks."""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from cleanplate.errors import UserError
from cleanplate.files import is_compressed
from cleanplate.models import MODELS, create_model

# The published name of each of our modules.
DSRESNET = {
    "plate_encoder.blocks.0": "b1",
    "plate_encoder.blocks.1": "b2",
    "frame_encoder.blocks.0": "bf1",
    "frame_encoder.blocks.1": "bf2",
    "merge": "merge",
    "encoder.blocks.0": "enc1",
    "encoder.blocks.1": "enc2",
    "encoder.blocks.2": "enc3",
    "encoder.blocks.3": "enc4",
    "mask_decoder.blocks.0": "Mdec3",
    "mask_decoder.blocks.1": "Mdec2",
    "mask_decoder.blocks.2": "Mdec1",
    "mask_decoder.blocks.3": "M2",
    "mask_decoder.blocks.4": "M1",
    "mask_decoder.head": "M0",
    "depth_decoder.blocks.0": "Ddec3",
    "depth_decoder.blocks.1": "Ddec2",
    "depth_decoder.blocks.2": "Ddec1",
    "depth_decoder.blocks.3": "D2",
    "depth_decoder.blocks.4": "D1",
    "depth_decoder.head": "D0",
}
INSIDE_BLOCK = {
    "residual.": "",  # published decoder blocks have no such level
    "convs.0": "double_conv.conv1",
    "convs.1": "double_conv.conv2",
    "shortcut": "skip_conv",
    "transition": "transition_conv.0",
    "join_skips": "enc_skip_conv",
}
MASKNET = {
    "plate_encoder": "prep_block_1",
    "frame_encoder": "prep_block_2",
    "merge": "convblock1.0",
    "mask_decoder.0.0": "convblock1.1",
    "mask_decoder.0.2": "convblock1.3",
    "mask_decoder.1": "convblock2",
    "mask_decoder.2": "convblock3.0",
}
UNUSED = {
    f"{block}.enc_skip_conv.{parameter}"
    for block in ("Mdec3", "Mdec2", "Mdec1", "Ddec3", "Ddec2", "Ddec1")
    for parameter in ("weight", "bias")
}


def load_published(weights: Mapping[str, Tensor] | Path | str, model: nn.Module | None = None) -> nn.Module:
    """Return DSResNet or MaskNet, told by the names, with published weights; layers that nothing uses are left out.

    Args:
        weights: state dict, or a file of one (`.safetensors`, or `torch.save` without code in it), or of a checkpoint
            that holds one as `model_state_dict` or `state_dict`.
        model: network to load them into; a new one when None.

    Raises:
        UserError: the file cannot be read safely, or a layer is missing, unexpected or of another shape; names it. The
            model is then unchanged.
    """
    source = "published weights" if isinstance(weights, Mapping) else str(weights)
    published = _state_dict(weights if isinstance(weights, Mapping) else _read(Path(weights)), source)
    name, modules = _recognise(published, source)
    if model is None:
        model = create_model(name)
    elif not isinstance(model, MODELS[name]):
        raise UserError(f"{source}: weights of {name} do not fit {type(model).__name__}; leave the model out")

    ours = model.state_dict()
    published_names = {key: _published_name(key, modules) for key in ours}
    _refuse(source, "is missing", published_names.values() - published.keys())
    _refuse(source, f"does not belong to {name}", published.keys() - published_names.values() - UNUSED)
    for key, published_name in published_names.items():
        there, here = tuple(published[published_name].shape), tuple(ours[key].shape)
        if there != here:
            raise UserError(f"{source}: layer {published_name} has shape {there}, {name} wants {here}")
    model.load_state_dict({key: published[published_name] for key, published_name in published_names.items()})
    return model


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the published weights")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        if is_compressed(path):
            raise ValueError("torch compresses nothing")
        with warnings.catch_warnings(action="ignore"):  # torch's doubts about a file that it then refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a foreign file fails in as many ways as there are foreign files
        raise UserError(
            f"{path}: not readable as weights; give a .safetensors file, or a torch file with tensors alone"
        ) from None


def _state_dict(content: object, source: str) -> dict[str, Tensor]:
    for key in ("model_state_dict", "state_dict"):
        if isinstance(content, Mapping) and key in content:
            content = content[key]
    if not isinstance(content, Mapping):
        raise UserError(f"{source}: holds {type(content).__name__}, not a state dict")
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise UserError(f"{source}: {name} is {type(value).__name__}, not a tensor; give a state dict")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _recognise(published: Mapping[str, Tensor], source: str) -> tuple[str, Mapping[str, str]]:
    for name, modules, unmistakable in (("dsresnet", DSRESNET, "Mdec3."), ("masknet", MASKNET, "prep_block_1.")):
        if any(key.startswith(unmistakable) for key in published):
            return name, modules
    raise UserError(f"{source}: has the layers of neither published network, DSResNet or MaskNet")


def _published_name(ours: str, modules: Mapping[str, str]) -> str:
    module = next(module for module in modules if ours.startswith(f"{module}."))
    layer = ours.removeprefix(f"{module}.")
    for part, published_part in INSIDE_BLOCK.items():
        layer = layer.replace(part, published_part)
    return f"{modules[module]}.{layer}"


def _refuse(source: str, fault: str, names: Iterable[str]) -> None:
    names = sorted(names)
    if names:
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise UserError(f"{source}: layer {names[0]}{more} {fault}")
