"""The run folder: all that a training leaves behind, and all that it takes to go on."""

import csv
import io
import json
import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from cleanplate import __version__
from cleanplate.data.card import DepthMeaning, Normalisation, explain
from cleanplate.errors import UserError
from cleanplate.files import require_vacant, whole_folder, write_text
from cleanplate.models import Network
from cleanplate.recipe import Recipe
from cleanplate.recipes import load_recipe
from cleanplate.references import References
from cleanplate.weights import WeightsCard, save_weights

Row = dict[str, Any]
"""An epoch's row of metrics.csv and times.csv; None where a figure does not exist."""

CLOCK = ("seconds", "items_per_second")
"""The columns of a row that no two runs share; they lie in times.csv, so that metrics.csv can be had again."""

NEEDED_OF_ROWS = frozenset(("epoch", "phase", "size", "batch_size", "steps", "lr", "validation/loss", *CLOCK))
"""The columns that are looked at, all of them numbers."""


class _Environment(BaseModel):
    """What of environment.json going on takes."""

    device: str
    devices: int = Field(ge=1, strict=True)
    threads: int = Field(ge=1, strict=True)
    precision: Literal["float32", "bfloat16"]
    layout: Literal["contiguous", "channels_last"]
    data: str | None
    data_fingerprint: str
    normalisation: Normalisation
    depth: DepthMeaning | None


class Run:
    """A run folder.

    Args:
        path: the folder; `Run.plan` names a new one, `Run.open` finds one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.yaml"
        self.environment_file = path / "environment.json"
        self.references = path / "references.npz"
        self.metrics = path / "metrics.csv"
        self.times = path / "times.csv"
        self.skipped = path / "skipped.csv"
        self.weights = path / "weights.safetensors"
        self.initial = path / "initial.safetensors"
        self.events = path / "events"
        self.previews = path / "previews"
        self.epochs = path / "epochs"
        self.checkpoints = path / "checkpoints"
        self.curves = path / "curves"

    @classmethod
    def plan(cls, path: Path | str | None, recipe: Recipe) -> "Run":
        """Name a new run folder, `runs/RECIPE-TIME` when no path is given; `begin` makes it.

        Raises:
            UserError: the folder holds something already.
        """
        run = cls(
            Path(path) if path else Path("runs") / f"{recipe.name or recipe.model}-{datetime.now():%Y%m%d-%H%M%S}"
        )
        if run.recipe_file.exists():
            raise UserError(f"{run.path}: holds a run already; go on with --resume {run.path}, or choose another name")
        require_vacant(run.path)
        return run

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Find a run folder.

        Raises:
            UserError: there is none.
        """
        run = cls(Path(path))
        if not run.recipe_file.exists() or not run.environment_file.exists():
            raise UserError(f"{path}: not a run folder (no recipe.yaml or environment.json); give one that train made")
        return run

    def begin(
        self,
        recipe: Recipe,
        environment: Mapping[str, Any],
        references: References,
        initial: tuple[Network, WeightsCard] | None = None,
    ) -> None:
        """Make the folder and write what the run is: from here on it can be resumed, by it alone."""
        with whole_folder(self.path) as path:
            new = Run(path)
            for folder in (new.events, new.previews, new.epochs, new.checkpoints, new.curves):
                folder.mkdir()
            references.save(new.references)
            if initial:
                save_weights(new.initial, *initial)
            write_text(new.environment_file, json.dumps(environment, indent=2) + "\n")
            new.write_recipe(recipe)

    def write_recipe(self, recipe: Recipe) -> None:
        """Write recipe.yaml."""
        write_text(self.recipe_file, recipe.to_yaml())

    def recipe(self) -> Recipe:
        """Read the recipe.

        Raises:
            UserError: it is damaged.
        """
        return load_recipe(self.recipe_file)

    def environment(self) -> dict[str, Any]:
        """Read environment.json.

        Raises:
            UserError: it is damaged.
        """
        try:
            found = json.loads(self.environment_file.read_text())
            _Environment.model_validate(found)
        except ValidationError as error:
            raise UserError(f"{self.environment_file}: {explain(error)}; the run folder is damaged") from None
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{self.environment_file}: cannot be read ({error}); the run folder is damaged") from None
        return found

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Write metrics.csv and times.csv, a row an epoch; a figure that does not exist is left empty."""
        write_text(
            self.times, _as_csv(rows, ["epoch", *CLOCK]), durable=True
        )  # first, so that every row of metrics has its times
        write_text(self.metrics, _as_csv(rows, [name for name in rows[0] if name not in CLOCK]), durable=True)

    def write_skipped(self, faults: Mapping[int, str]) -> None:
        """Write skipped.csv, the items that could not be read and were left out."""
        rows = [{"item": item, "fault": fault} for item, fault in sorted(faults.items())]
        write_text(self.skipped, _as_csv(rows, ["item", "fault"]))

    def rows(self) -> list[Row]:
        """Read metrics.csv and times.csv, numbers as numbers; no rows before the first epoch has ended.

        Raises:
            UserError: they are damaged.
        """
        if not self.metrics.exists():
            return []
        try:
            times = {row["epoch"]: row for row in _read_csv(self.times)}
            rows = [row | times.get(row["epoch"], {}) for row in _read_csv(self.metrics)]
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise UserError(f"{self.metrics}, times.csv: cannot be read ({error}); the run folder is damaged") from None
        if not rows or any(not isinstance(row.get(name), int | float) for row in rows for name in NEEDED_OF_ROWS):
            raise UserError(f"{self.metrics}, times.csv: rows or figures are missing; the run folder is damaged")
        return rows


def best_row(rows: Sequence[Row]) -> Row:
    """Return the row of lowest validation loss within the last phase reached; the first of equals, nan last."""
    last = [row for row in rows if row["phase"] == rows[-1]["phase"]]
    return min(last, key=lambda row: (math.isnan(row["validation/loss"]), row["validation/loss"]))


def describe_environment() -> dict[str, Any]:
    """Return versions and machine, as environment.json keeps them."""
    packages = ("torch", "pytorch-lightning", "torchmetrics", "numpy", "opencv-python-headless", "kornia")
    return {
        "cleanplate": __version__,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "commit": _commit(),
        "machine": platform.platform(),
    }


def _commit() -> str | None:
    """Return the commit of the source tree that this package runs from, if it is one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _as_csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def _read_csv(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return [{name: _number(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _number(text: str) -> float | int | str | None:
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):  # a row that was cut off has None
            continue
    return text or None
