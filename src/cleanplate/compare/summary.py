"""What runs have come to, grouped by recipe, and which of them is better."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from itertools import accumulate, pairwise
from math import isfinite
from pathlib import Path
from statistics import mean, stdev
from typing import Literal

import torch
from pydantic import BaseModel

from cleanplate.data.opening import Given
from cleanplate.errors import UserError
from cleanplate.models import create_model
from cleanplate.recipe import differing_keys
from cleanplate.train.run import Row, Run, best_row

LEAST_STEPS = 300
"""A run of fewer steps says too little to be ranked."""
RANKED: dict[str, Literal["higher", "lower"]] = {"iou": "higher", "soft_iou": "higher", "rmse": "lower"}
"""The metrics that runs are ranked by, and which way is better."""


class RunSummary(BaseModel):
    """A run in figures."""

    run: str
    recipe: str
    seed: int
    epochs: int
    steps: int
    items_seen: int
    size: int
    """Pixels a side of the phase that `best` belongs to."""
    best: dict[str, float | None]
    """The metrics over all validation parts after the best epoch."""
    last: dict[str, float | None]
    """The same after the last epoch."""
    seconds: float
    items_per_second: float
    """Median over the epochs."""
    parameters: int


class Group(BaseModel):
    """The runs of one recipe, a seed each."""

    label: str
    runs: list[RunSummary]
    mean: dict[str, float | None]
    """Of the best epochs' metrics."""
    deviation: dict[str, float | None]
    """Sample standard deviation over the seeds; None of a single run."""

    @property
    def too_short(self) -> bool:
        """Whether any of its runs has too few steps to be ranked."""
        return any(run.steps < LEAST_STEPS for run in self.runs)


class Ranking(BaseModel):
    """Recipes by one metric, best first."""

    metric: str
    better: Literal["higher", "lower"]
    order: list[str]
    statements: list[str]
    """What may be said of each against the one behind it."""


class Loaded:
    """A run folder with its recipe and rows.

    Args:
        path: a run folder.

    Raises:
        UserError: it is none, or no epoch of it has ended.
    """

    def __init__(self, path: Path | str) -> None:
        self.run = Run.open(path)
        self.recipe, self.environment = self.run.recipe(), self.run.environment()
        self.given = Given.recorded(self.environment)
        self.initial = sha256(self.run.initial.read_bytes()).hexdigest() if self.run.initial.exists() else None
        """Tells the weights it was started from; None where they were drawn."""
        self.rows = self.run.rows()
        if not self.rows:
            raise UserError(f"{path}: no epoch has ended yet, so there is nothing to compare; train it first")

    def items_seen(self) -> list[int]:
        """Return the number of training items, repeats counted, at the end of each epoch."""
        steps = pairwise([0, *(row["steps"] for row in self.rows)])
        batches = (row["batch_size"] * self.environment["devices"] for row in self.rows)
        return list(accumulate((after - before) * items for (before, after), items in zip(steps, batches, strict=True)))

    def seconds(self) -> list[float]:
        """Return the time that training and validation had taken at the end of each epoch."""
        return list(accumulate(row["seconds"] for row in self.rows))

    def summary(self) -> RunSummary:
        """Return the run in figures."""
        best, last = best_row(self.rows), self.rows[-1]
        paces = sorted(row["items_per_second"] for row in self.rows)
        return RunSummary(
            run=str(self.run.path),
            recipe=self.recipe.name,
            seed=self.recipe.seed,
            epochs=len(self.rows),
            steps=last["steps"],
            items_seen=self.items_seen()[-1],
            size=best["size"],
            best=_validation(best),
            last=_validation(last),
            seconds=round(self.seconds()[-1], 1),
            items_per_second=paces[len(paces) // 2],
            parameters=_count_parameters(self.recipe.model),
        )


def _validation(row: Row) -> dict[str, float | None]:
    return {name.removeprefix("validation/"): value for name, value in row.items() if name.startswith("validation/")}


@cache
def _count_parameters(model: str) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in create_model(model).parameters())


def require_comparable(runs: Sequence[Loaded]) -> None:
    """Refuse runs that were judged by different pictures.

    Raises:
        UserError: naming two of them, and what they differ in.
    """
    first = runs[0]
    for other in runs[1:]:
        names = f"{first.run.path} and {other.run.path}"
        if other.environment["data_fingerprint"] != first.environment["data_fingerprint"]:
            raise UserError(
                f"{names}: were trained on different data ({first.given}, {other.given}), "
                "so their figures cannot be ranked; compare runs of one data set"
            )
        if other.recipe.split != first.recipe.split:
            differing = differing_keys([first.recipe.split, other.recipe.split])
            raise UserError(
                f"{names}: were trained on different splits ({', '.join(differing)}), "
                "so their figures cannot be ranked; compare runs of one split"
            )
        if other.recipe.mismatch != first.recipe.mismatch:
            differing = differing_keys([first.recipe.mismatch, other.recipe.mismatch])
            raise UserError(
                f"{names}: were judged by pictures with different mismatches ({', '.join(differing)}), so their "
                "figures cannot be ranked; score each on the same pictures with `cleanplate evaluate`"
            )


def group_by_recipe(runs: Sequence[Loaded]) -> list[tuple[Group, list[Loaded]]]:
    """Return the runs of each recipe, from the same initial weights, together, in the order of their first.

    A second run of the same seed stands by itself: it adds nothing to the deviation over seeds.
    """
    members: dict[tuple[str, str | None, int], list[Loaded]] = {}
    for run in runs:
        recipe, repeat = run.recipe.model_copy(update={"seed": 0}).to_yaml(), 0
        while any(other.recipe.seed == run.recipe.seed for other in members.get((recipe, run.initial, repeat), ())):
            repeat += 1
        members.setdefault((recipe, run.initial, repeat), []).append(run)
    names = [group[0].recipe.name for group in members.values()]
    groups = []
    for group in members.values():
        name = group[0].recipe.name
        summaries = [run.summary() for run in group]
        found = {metric: [summary.best[metric] for summary in summaries] for metric in summaries[0].best}
        known = {metric: [v for v in values if v is not None and isfinite(v)] for metric, values in found.items()}
        groups.append(
            Group(
                label=name if names.count(name) == 1 else f"{name} ({group[0].run.path.name})",
                runs=summaries,
                mean={metric: mean(values) if values else None for metric, values in known.items()},
                deviation={metric: stdev(values) if len(values) > 1 else None for metric, values in known.items()},
            )
        )
    return list(zip(groups, members.values(), strict=True))


def rank(groups: Sequence[Group]) -> list[Ranking]:
    """Rank recipes by each metric of `RANKED` that they all have; those that are too short are left out."""
    rankings = []
    ready = [group for group in groups if not group.too_short]
    for metric, better in RANKED.items():
        means = {group.label: group.mean.get(metric) for group in ready}
        if len(ready) < 2 or any(value is None for value in means.values()):
            continue
        order = sorted(ready, key=lambda group: group.mean[metric] or 0, reverse=better == "higher")
        statements = [_say_difference(metric, ahead, behind) for ahead, behind in pairwise(order)]
        rankings.append(
            Ranking(metric=metric, better=better, order=[group.label for group in order], statements=statements)
        )
    return rankings


def _say_difference(metric: str, ahead: Group, behind: Group) -> str:
    difference = abs((ahead.mean[metric] or 0) - (behind.mean[metric] or 0))
    deviations = [group.deviation[metric] for group in (ahead, behind)]
    names = f"{ahead.label} and {behind.label}"
    if None in deviations:
        return f"{names} differ by {difference:.4f}; with one seed nobody knows how much of that is chance"
    deviation = max(value for value in deviations if value is not None)
    if difference <= deviation:
        return f"no difference between {names}: {difference:.4f} is within the deviation over seeds, {deviation:.4f}"
    return f"{ahead.label} is better than {behind.label} by {difference:.4f}, deviation over seeds {deviation:.4f}"
