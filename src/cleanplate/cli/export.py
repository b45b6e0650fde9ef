"""The command that takes a network to other programs."""

from pathlib import Path
from typing import Annotated

import typer

from cleanplate.cli.options import GENERAL, Json, tell


def export(
    weights: Annotated[
        Path, typer.Option(help="A run folder or a .safetensors file; general: the package's own.")
    ] = GENERAL,
    out: Annotated[Path, typer.Option(help="The file to write: .onnx, or .safetensors in float16.")] = Path(
        "model.onnx"
    ),
    as_json: Json = False,
) -> None:
    """Write a network as an ONNX file, its answers compared with torch's, or as weights of half the size.

    Example: cleanplate export --weights runs/first --out model.onnx
    """
    from cleanplate.predict.export import export as export_weights

    exported = export_weights(weights, out)
    lines = [f"{shape}: {value:.1e}" for shape, value in exported.max_abs_difference.items()]
    said = f"largest difference from torch, of batch x height x width: {', '.join(lines)}"
    tell(as_json, exported, f"{said}\n{exported.path}: {exported.bytes / 1e6:.1f} MB")
