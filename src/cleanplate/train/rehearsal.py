"""Before a training: whether recipe, data, disk and memory will do, and how long it will take."""

import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from pydantic import BaseModel

from cleanplate.data.module import steps_per_epoch
from cleanplate.data.opening import Given
from cleanplate.data.source import Batch
from cleanplate.data.split import split_items
from cleanplate.errors import UserError
from cleanplate.recipe import AdamW, Phase, Recipe
from cleanplate.recipes import load_recipe
from cleanplate.train.begin import load_initial
from cleanplate.train.compute import keep_freed_memory
from cleanplate.train.memory import describe_misfit, is_out_of_memory
from cleanplate.train.packs import packs_to_make
from cleanplate.train.run import Run
from cleanplate.train.trial import Trial

STEPS = 3
"""Timed steps of each phase, after one that is not."""
GB = 1e9


class PhaseCost(BaseModel):
    """What a phase takes."""

    size: int
    batch_size: int
    epochs: int
    steps: int
    """Of an epoch."""
    items_per_second: float
    """Of the training part."""
    minutes: float
    """Training and validation of all its epochs."""


class Rehearsal(BaseModel):
    """What a training would take; nothing of it has been written."""

    recipe: str
    run: str
    train_items: int
    validation_items: dict[str, int]
    precision: str
    layout: str
    kernels: str
    phases: list[PhaseCost]
    minutes: float
    memory_gb: float
    """The most that this rehearsal has taken."""
    memory_of_machine_gb: float
    disk_gb: float
    """Weights of every epoch, and the full states that are kept."""
    packs_gb: float
    """What the packs take that the training would make beside its data set."""
    disk_free_gb: float


def rehearse(
    recipe: Recipe | str | Path,
    data: Path | str | None = None,
    *,
    plates: Path | str | None = None,
    cutouts: Path | str | None = None,
    init: Path | str | None = None,
    run: Path | str | None = None,
    settings: Sequence[str] = (),
    pack: bool = True,
) -> Rehearsal:
    """Take a few steps of each phase on the data itself, and write nothing.

    Args:
        recipe, data, plates, cutouts, init, run, settings, pack: as `train` takes them.

    Raises:
        UserError: as `train` does; or a phase does not fit in memory, or the run on the disk.
    """
    recipe = load_recipe(recipe, settings)
    planned = Run.plan(run, recipe)
    given = Given.of(data, plates, cutouts)
    load_initial(init, recipe)
    folder = given.open(recipe, packed=pack)
    split = split_items(folder, recipe.split)
    keep_freed_memory()
    trial = Trial(recipe, folder, split)
    phases = [_time_phase(trial, phase, number) for number, phase in enumerate(recipe.phases)]
    needed, free = _disk(trial, recipe), shutil.disk_usage(_existing(planned.path)).free / GB
    packs = sum(one.missing_bytes() for one in packs_to_make(folder, recipe, split)) / GB
    if needed > free:
        raise UserError(f"{planned.path}: the run takes {needed:.1f} GB, and {free:.1f} GB are free; make room")
    return Rehearsal(
        recipe=recipe.name,
        run=str(planned.path),
        train_items=len(split.train),
        validation_items={part: len(items) for part, items in split.parts.items()},
        precision=trial.compute["precision"],
        layout=trial.compute["layout"],
        kernels=trial.compute["kernels"],
        phases=phases,
        minutes=round(sum(phase.minutes for phase in phases), 1),
        memory_gb=round(_peak_memory() / GB, 2),
        memory_of_machine_gb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GB, 2),
        disk_gb=round(needed, 2),
        packs_gb=round(packs, 2),
        disk_free_gb=round(free, 2),
    )


def format_rehearsal(rehearsal: Rehearsal) -> str:
    """Return it as text."""
    parts = ", ".join(f"{count:,} {part}" for part, count in rehearsal.validation_items.items())
    lines = [
        f"{rehearsal.recipe}: {rehearsal.train_items:,} items to train on, {parts} to validate by; "
        f"{rehearsal.precision}, {rehearsal.layout}, {rehearsal.kernels} kernels"
    ]
    lines += [
        f"phase {number}  {phase.size}x{phase.size}, batches of {phase.batch_size}, {phase.epochs} epochs of "
        f"{phase.steps:,} steps: {phase.items_per_second:.1f} items/s, {phase.minutes:.1f} min"
        for number, phase in enumerate(rehearsal.phases, 1)
    ]
    return "\n".join(
        [
            *lines,
            f"time     about {rehearsal.minutes:.0f} min, validation included",
            f"memory   {rehearsal.memory_gb:.1f} GB of {rehearsal.memory_of_machine_gb:.1f} GB",
            f"disk     {rehearsal.disk_gb:.1f} GB of {rehearsal.disk_free_gb:.1f} GB free, "
            f"and {rehearsal.packs_gb:.1f} GB for packs beside the data set",
            f"nothing was written; `cleanplate data check` looks at every picture; the run would be {rehearsal.run}",
        ]
    )


def _time_phase(trial: Trial, phase: Phase, number: int) -> PhaseCost:
    """Return what a phase takes, from a few steps."""
    held_out = sum(len(items) for items in trial.split.parts.values())
    try:
        stream, batches = trial.batches(phase), list[tuple[int, Batch]]()
        reading = _fastest(lambda step: batches.append(next(stream)))
        validated = trial.held_out(phase)
        training = _fastest(lambda step: trial.step(batches[step]))
        validating = _fastest(lambda step: trial.validation_loss(validated))
        reading_held_out = _fastest(lambda step: trial.held_out(phase))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        batches = []
    if not batches:
        misfit = describe_misfit(phase, number, lambda items: trial.step((0, trial.first(items, phase))))
        raise UserError(f"{trial.recipe.name}: {misfit}; lower its batch_size")
    steps = steps_per_epoch(len(trial.split.train), phase.batch_size)
    epoch = steps * (training + reading) + held_out / len(validated.indices) * (validating + reading_held_out)
    return PhaseCost(
        size=phase.size,
        batch_size=phase.batch_size,
        epochs=phase.epochs,
        steps=steps,
        items_per_second=round(len(batches[0][1].indices) / (training + reading), 1),
        minutes=round(phase.epochs * epoch / 60, 2),
    )


def _fastest(work: Callable[[int], object]) -> float:
    """Return the least seconds of a few runs; the first is not counted."""
    seconds = []
    for step in range(STEPS + 1):
        start = time.perf_counter()
        work(step)
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def _disk(trial: Trial, recipe: Recipe) -> float:
    weights = sum(x.nbytes for x in trial.task.model.state_dict().values()) / GB
    slots = 2 if isinstance(recipe.optimizer, AdamW) else 1  # what the optimiser keeps of each parameter
    return weights * (recipe.epochs + 1) + weights * (1 + slots) * (recipe.keep_checkpoints + 2)


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
