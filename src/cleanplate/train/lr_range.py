"""The learning-rate range test of a recipe: its sweeps, what they suggest, and a plot of them."""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from pydantic import BaseModel

from cleanplate.data.module import steps_per_epoch
from cleanplate.data.opening import Given
from cleanplate.data.split import split_items
from cleanplate.errors import UserError
from cleanplate.files import require_vacant, write_bytes, write_text
from cleanplate.progress import track
from cleanplate.recipe import Recipe
from cleanplate.recipes import load_recipe
from cleanplate.train.compute import keep_freed_memory
from cleanplate.train.curves import as_png
from cleanplate.train.memory import describe_misfit, is_out_of_memory
from cleanplate.train.sweep import Suggestions, Sweep, SweepResult, read_curve, suggest, sweep_rates
from cleanplate.train.trial import Trial

DEFAULT_SWEEPS = ("1e-6:1:200",)
SUGGESTIONS = {
    "steepest": ("steepest descent", "tab:green"),
    "lowest_loss": ("lowest loss", "tab:orange"),
    "before_divergence": ("a tenth of the divergence", "tab:red"),
}


class LrRange(BaseModel):
    """The answer of a range test."""

    recipe: str
    data: str
    train_items: int
    size: int
    batch_size: int
    sweeps: list[SweepResult]
    suggestions: Suggestions
    agreement: dict[str, tuple[float, float] | None]
    """The lowest and the highest of each suggestion over the sweeps."""
    out: str
    """The folder with `lr_range.json` and `lr_range.png`."""


def lr_range(
    recipe: Recipe | str | Path,
    data: Path | str | None = None,
    *,
    plates: Path | str | None = None,
    cutouts: Path | str | None = None,
    sweeps: Sequence[str] = DEFAULT_SWEEPS,
    linear: bool = False,
    validation: bool = False,
    out: Path | str | None = None,
    settings: Sequence[str] = (),
) -> LrRange:
    """Find out which learning rates a recipe can take, at the size and batch size of its first phase.

    Each sweep starts from the same untouched weights, with an order of the training items of its own.

    Args:
        recipe: a recipe, the name of a shipped one, or a YAML file.
        data, plates, cutouts: as `train` takes them.
        sweeps: each `START:END:ITERATIONS`; `2epochs` in place of iterations.
        linear: let the rate grow by equal steps, not by equal factors.
        validation: measure the loss on a fixed batch of validation items, not on the next training batch.
        out: the folder to write into; `runs/lr-range-RECIPE-TIME` when None.
        settings: `key=value` changes to the recipe.

    Raises:
        UserError: recipe, data, sweeps or folder are at fault.
    """
    recipe, given = load_recipe(recipe, settings), Given.of(data, plates, cutouts)
    folder_out = Path(out) if out else Path("runs") / f"lr-range-{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}"
    require_vacant(folder_out)
    folder = given.open(recipe)
    split = split_items(folder, recipe.split)
    phase = recipe.phases[0]
    steps = steps_per_epoch(len(split.train), phase.batch_size)
    planned = [Sweep.parse(text, steps, linear) for text in sweeps]

    keep_freed_memory()
    trial = Trial(recipe, folder, split)
    measure = partial(trial.validation_loss, trial.held_out(phase)) if validation else None
    results = []
    for number, sweep in enumerate(planned, 1):
        rates = track(sweep.rates(), sweep.iterations, f"sweep {number} of {len(planned)}")
        try:
            curve = sweep_rates(
                trial.task.model, trial.optimizer, rates, trial.batches(phase), trial.training_loss, measure
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise UserError(f"{recipe.name}: {describe_misfit(phase, 0, None)}; take smaller ones") from None
        results.append(read_curve(sweep, curve))
    suggestions, agreement = suggest(results)
    answer = LrRange(
        recipe=recipe.name,
        data=str(given),
        train_items=len(split.train),
        size=phase.size,
        batch_size=phase.batch_size,
        sweeps=results,
        suggestions=suggestions,
        agreement=agreement,
        out=str(folder_out),
    )
    folder_out.mkdir(parents=True, exist_ok=True)
    write_bytes(folder_out / "lr_range.png", _draw(answer))
    write_text(folder_out / "lr_range.json", json.dumps(answer.model_dump(mode="json"), indent=1) + "\n")
    return answer


def tabulate(answer: LrRange) -> tuple[list[str], list[list[str]]]:
    """Return the sweeps as a table of text: columns and rows."""
    columns = ["start", "end", "iterations", "lowest loss", "its rate", "steepest descent", "diverged at"]
    rows = []
    for sweep in answer.sweeps:
        loss = "none" if sweep.lowest_loss is None else f"{sweep.lowest_loss:.4f}"
        found = map(_rate, (sweep.lowest_loss_lr, sweep.steepest_lr, sweep.diverged_at))
        rows.append([_rate(sweep.start), _rate(sweep.end), str(sweep.iterations), loss, *found])
    return columns, rows


def say_suggestions(answer: LrRange) -> list[str]:
    """Return a line for each suggestion, with its span where there are several sweeps."""
    lines = []
    for name, value in answer.suggestions.model_dump().items():
        span = answer.agreement[name]
        over = f" ({_rate(span[0])} to {_rate(span[1])} over the sweeps)" if span and len(answer.sweeps) > 1 else ""
        lines.append(f"{SUGGESTIONS[name][0]}: {_rate(value)}{over}")
    return lines


def format_table(answer: LrRange) -> str:
    """Return the sweeps and the suggestions as text."""
    columns, rows = tabulate(answer)
    table = ["  ".join(f"{cell:>{len(name)}}" for name, cell in zip(columns, row, strict=True)) for row in rows]
    return "\n".join(["  ".join(columns), *table, *say_suggestions(answer)])


def _rate(rate: float | None) -> str:
    return "none" if rate is None else f"{rate:.2g}"


def describe(answer: LrRange) -> str:
    """Return what was swept, and on how much, in a line."""
    return (
        f"{answer.recipe}, {answer.size}x{answer.size}, {answer.train_items:,} training items, "
        f"batches of {answer.batch_size}"
    )


def _draw(answer: LrRange) -> bytes:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for number, sweep in enumerate(answer.sweeps):
        colour = f"C{number}"
        axes.plot(sweep.rates, sweep.losses, color=colour, alpha=0.25, linewidth=0.8)
        label = f"{sweep.start:g} to {sweep.end:g}, {len(sweep.rates)} of {sweep.iterations} steps"
        axes.plot(sweep.rates, sweep.smoothed, color=colour, label=label)
    for name, rate in answer.suggestions.model_dump().items():
        if rate:
            title, colour = SUGGESTIONS[name]
            axes.axvline(rate, color=colour, linestyle="--", linewidth=1, label=f"{title}: {_rate(rate)}")
    first = [sweep.smoothed[0] for sweep in answer.sweeps if sweep.smoothed]
    if first:
        axes.set_ylim(0, 1.5 * max(first))
    axes.set(
        xscale="log",
        xlabel="learning rate of the step",
        ylabel="loss after the step",
        title=describe(answer),
    )
    axes.legend(fontsize=8)
    return as_png(figure)
