"""The report's experiments, end to end: range tests, trainings one after the other, and the page that compares them."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from cleanplate.compare.report import Comparison, Section, Table, compare
from cleanplate.data.card import explain
from cleanplate.data.module import steps_before
from cleanplate.data.opening import open_data
from cleanplate.data.source import DataSet
from cleanplate.errors import UserError
from cleanplate.files import write_text
from cleanplate.progress import say
from cleanplate.recipe import RandomSplit, Recipe, require_seeds
from cleanplate.recipes import load_recipe
from cleanplate.train.fit import resume, train
from cleanplate.train.lr_range import LrRange, describe, lr_range, say_suggestions, tabulate
from cleanplate.train.processes import require_alone
from cleanplate.train.run import Run

REPORT_ITEMS = 400_000
"""The size of the report's data set, MODEST Museum: scale 1."""
LEAST_BATCH = 16
LEAST_RANGE_BATCH = 32
RANGE_BATCH = 256
"""The batch size of the report's range tests."""


@dataclass(frozen=True)
class Experiment:
    """A named set of trainings."""

    description: str
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    """Used unless others are asked for."""
    sweeps: tuple[str, ...] = ()
    """Of the range test that comes first, by the first recipe."""


EXPERIMENTS = {
    "losses-mask": Experiment(
        "which loss is best for the mask alone",
        ("losses-mask-bce", "losses-mask-dice", "losses-mask-ssim"),
        seeds=(1, 2, 3),
    ),
    "losses-depth": Experiment(
        "which loss is best for mask and depth",
        ("losses-depth-rmse-bce-dice", "losses-depth-ssim-dice", "losses-depth-rmse-bce"),
        seeds=(1, 2, 3),
    ),
    "report": Experiment(
        "five range tests, then the three trainings of the report",
        ("report-rmse-bce-dice", "report-ssim-dice", "report-best"),
        seeds=(1,),
        sweeps=("1e-7:5:400", "1e-5:1:400", "1e-4:10:200", "1e-5:2:100", "1e-7:10:400"),
    ),
}


def run_experiment(
    name: str,
    data: Path | str,
    *,
    out: Path | str | None = None,
    scale: float | None = None,
    seeds: Sequence[int] | None = None,
) -> Comparison:
    """Run one of the report's experiments, or go on with it where it was stopped.

    Args:
        name: one of `EXPERIMENTS`.
        data: a data set folder.
        out: the folder for runs and comparison; `experiments/NAME` when None.
        scale: how many items to use, of the report's 400,000; batches shrink by the same factor, to 16 at least
            (range tests: 32), so that the number of steps stays meaningful. What the data set holds when None.
        seeds: one training of each recipe for each; the experiment's own when None.

    Raises:
        UserError: there is no such experiment, the data set is too small for it, the folder holds another one, or
            torchrun or SLURM has started several processes.
    """
    if name not in EXPERIMENTS:
        raise UserError(f"{name}: no such experiment; there are {', '.join(EXPERIMENTS)}")
    require_alone("cleanplate experiments")
    experiment, folder = EXPERIMENTS[name], open_data(data)
    scale = _fitting_scale(folder, scale)
    seeds = experiment.seeds if seeds is None else require_seeds(seeds)
    path = Path(out) if out else Path("experiments") / name
    recipes = [scaled(load_recipe(recipe_name), scale) for recipe_name in experiment.recipes]
    _claim(path, {"experiment": name, "data": folder.fingerprint(), "scale": scale, "seeds": list(seeds)})

    sections = []
    if experiment.sweeps:
        sections.append(
            _range_test(load_recipe(experiment.recipes[0]), experiment.sweeps, data, scale, path / "lr_range")
        )
    runs = []
    for recipe in recipes:
        for seed in seeds:
            runs.append(path / "runs" / f"{recipe.name}-seed-{seed}")
            _train_or_go_on(recipe.model_copy(update={"seed": seed}), data, runs[-1])
    return compare(
        runs,
        out=path / "comparison",
        data=data,
        title=f"{name}: {experiment.description}",
        note=_describe(scale, recipes),
        sections=sections,
    )


def _describe(scale: float, recipes: Sequence[Recipe]) -> str:
    """Return scale and steps, as they stand on every picture."""
    smallest = min(phase.batch_size for recipe in recipes for phase in recipe.phases)
    steps = [steps_before(recipe.epochs, recipe.split.train_items or 0, recipe) for recipe in recipes]
    return (
        f"scale {scale:.4g} of the report: {round(scale * REPORT_ITEMS):,} items, batches of {smallest} and more, "
        + (f"{steps[0]:,}" if len(set(steps)) == 1 else f"{min(steps):,} to {max(steps):,}")
        + " steps"
    )


def scaled(recipe: Recipe, scale: float) -> Recipe:
    """Return a recipe for so much of the report's items: fewer of them, and batches smaller with them, 16 at least."""
    if not isinstance(recipe.split, RandomSplit):
        raise UserError(f"{recipe.name}: only a recipe with a random split can be scaled")
    items = round(scale * REPORT_ITEMS)
    train_items = int(items * recipe.split.train)
    if not 0 < train_items < items:
        raise UserError(f"--scale {scale:g}: {items} items of the report's {REPORT_ITEMS:,} are too few; give more")
    split = recipe.split.model_copy(update={"train_items": train_items, "items_per_part": items - train_items})
    phases = tuple(
        phase.model_copy(
            update={"batch_size": min(phase.batch_size, max(LEAST_BATCH, round(phase.batch_size * scale)))}
        )
        for phase in recipe.phases
    )
    return recipe.model_copy(update={"split": split, "phases": phases})


def _fitting_scale(folder: DataSet, scale: float | None) -> float:
    if scale is None:
        return min(1.0, len(folder) / REPORT_ITEMS)
    if not 0 < scale <= 1:
        raise UserError(f"--scale {scale}: give a share above 0 and up to 1")
    items = round(scale * REPORT_ITEMS)
    if items > len(folder):
        raise UserError(
            f"{folder.path}: holds {len(folder):,} items, and --scale {scale:g} of the report's {REPORT_ITEMS:,} "
            f"needs {items:,}; leave --scale out, or make more items"
        )
    return scale


def _claim(path: Path, settings: dict) -> None:
    """Write down what the folder is for, or refuse to go on with something else there."""
    file = path / "experiment.json"
    if not file.exists():
        path.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(settings, indent=1) + "\n")
        return
    try:
        begun = json.loads(file.read_text())
        if not isinstance(begun, dict):
            raise ValueError("no table")
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error}); remove the folder or give another --out") from None
    differing = [key for key, value in settings.items() if begun.get(key) != value]
    if differing:
        raise UserError(
            f"{path}: was begun with another {' and '.join(differing)}; go on as begun, or give another --out"
        )
    say(f"{path}: going on")


def _train_or_go_on(recipe: Recipe, data: Path | str, path: Path) -> None:
    run = Run(path)
    if run.recipe_file.exists():
        resume(path, data)
    else:
        train(recipe, data, run=path)


def _range_test(recipe: Recipe, sweeps: Sequence[str], data: Path | str, scale: float, path: Path) -> Section:
    batch_size = max(LEAST_RANGE_BATCH, round(RANGE_BATCH * scale))
    first = recipe.phases[0].model_copy(update={"batch_size": batch_size})
    name = f"{recipe.name} at scale {scale:.4g}"  # as it stands on the plot
    recipe = scaled(recipe, scale).model_copy(update={"name": name, "phases": (first,)})
    answer_file = path / "lr_range.json"
    if answer_file.exists():
        try:
            answer = LrRange.model_validate_json(answer_file.read_bytes())
        except ValidationError as error:
            raise UserError(f"{answer_file}: {explain(error)}; remove it, and the test is taken again") from None
    else:
        shutil.rmtree(path, ignore_errors=True)
        answer = lr_range(recipe, data, sweeps=sweeps, out=path)
    return Section(
        "Learning-rate range test",
        describe(answer) + ".",
        say_suggestions(answer),
        Table(*tabulate(answer)),
        path / "lr_range.png",
    )
