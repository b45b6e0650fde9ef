"""Options that several commands share, and how commands print."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Data = Annotated[Path, typer.Option("--data", help="A data set folder.")]
OptionalData = Annotated[Path | None, typer.Option("--data", help="A data set folder.")]
Plates = Annotated[
    Path | None,
    typer.Option("--plates", help="In place of --data, or beside it: pictures without people, to compose on."),
]
Cutouts = Annotated[
    Path | None,
    typer.Option("--cutouts", help="Pictures with alpha to compose with.", show_default="the museum's figures"),
]
Weights = Annotated[
    Path,
    typer.Option("--weights", help="A run folder, a .safetensors or an .onnx file; general: the package's own."),
]
GENERAL = Path("general")
"""As `weights.GENERAL`, which takes torch's seconds to import."""
Seed = Annotated[int, typer.Option(min=0, help="Everything drawn at random follows from it.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, again and again.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes to work with.", show_default="one a core")]


def warn(message: str) -> None:
    """Say a line on standard error, under the program's name."""
    print(f"cleanplate: {message}", file=sys.stderr)


def tell(as_json: bool, result: "BaseModel | dict[str, Any]", text: str) -> None:
    """Print a result on standard output, as JSON or as text."""
    if as_json:
        print(json.dumps(result) if isinstance(result, dict) else result.model_dump_json())  # in which nan is null
    else:
        print(text)


def as_yaml(result: "BaseModel") -> str:
    """Return a result as YAML, what does not exist left out."""
    import yaml

    return yaml.safe_dump(result.model_dump(mode="json", exclude_none=True), sort_keys=False).rstrip()
