"""Train a network: start a run, or go on with one."""

import logging
import re
import signal
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from pydantic import BaseModel

from cleanplate.data.modest import ModestFolder
from cleanplate.data.module import PhasedData
from cleanplate.data.source import Skipped
from cleanplate.data.split import Split, split_items
from cleanplate.data.statistics import normalisation_of
from cleanplate.data.writer import count_cores
from cleanplate.errors import UserError
from cleanplate.files import remove_partial_files
from cleanplate.progress import say
from cleanplate.recipe import Recipe, differing_keys, load_recipe
from cleanplate.references import fit_references
from cleanplate.train.compute import choose_compute, keep_freed_memory, pick_device, set_layout
from cleanplate.train.display import Display
from cleanplate.train.keeper import Keeper, Stopped
from cleanplate.train.previews import preview_items
from cleanplate.train.record import Record
from cleanplate.train.run import Row, Run, best_row, describe_environment
from cleanplate.train.state import State, StateFiles, newest_state
from cleanplate.train.task import CleanplateTask
from cleanplate.weights import WeightsCard

TERMINATED = 128 + signal.SIGTERM


class Stretch(NamedTuple):
    """How much of a run is to be trained now."""

    stop_at: float | None
    """By `time.monotonic()`."""
    epochs_now: int | None

    @classmethod
    def begin(cls, stop_after: str | None, epochs_now: int | None) -> "Stretch":
        """Read a time such as `45m` or `1h30m`, which begins to run, and a number of epochs.

        Raises:
            UserError: one of them is none.
        """
        if epochs_now is not None and epochs_now < 1:
            raise UserError(f"--epochs-now {epochs_now}: give 1 or more")
        if stop_after is None:
            return cls(None, epochs_now)
        parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", stop_after)
        if not parts or not any(parts.groups()):
            raise UserError(f"--stop-after {stop_after}: expected a time such as 45m, 1h30m or 90s")
        seconds = sum(int(part or 0) * unit for part, unit in zip(parts.groups(), (3600, 60, 1), strict=True))
        return cls(time.monotonic() + seconds, epochs_now)


class Trained(BaseModel):
    """What a training has come to."""

    run: str
    epochs: int
    best: dict[str, Any] | None
    """The best epoch's row of metrics.csv and times.csv; None before the first epoch has ended."""
    seconds: float
    """Of this call."""
    items_per_second: float | None
    """Median over the epochs, of the training part alone."""


def train(
    recipe: Recipe | str | Path,
    data: Path | str,
    *,
    run: Path | str | None = None,
    settings: Sequence[str] = (),
    stop_after: str | None = None,
    epochs_now: int | None = None,
) -> Trained:
    """Train a network as a recipe says, into a new run folder.

    Args:
        recipe: a recipe, the name of a shipped one, or a YAML file.
        data: a data set folder.
        run: the run folder to make; `runs/RECIPE-TIME` when None.
        settings: `key=value` changes to the recipe.
        stop_after: stop after so much time, such as `45m` or `1h30m`; `resume` goes on.
        epochs_now: stop after so many epochs; `resume` goes on.

    Raises:
        UserError: recipe, data or run folder are at fault.
        KeyboardInterrupt: after Ctrl-C, the state written.
        SystemExit: after SIGTERM or SIGUSR1, the state written; the code is 143.
    """
    stretch = Stretch.begin(stop_after, epochs_now)
    recipe = load_recipe(recipe, settings)
    new_run = Run.plan(run, recipe)
    keep_freed_memory()  # before the trial of precision and layout, which is to measure what will be
    folder = ModestFolder(data)
    split = split_items(folder, recipe.split)
    labelled = folder.labelled()[split.train].any()
    if not labelled and recipe.model == "dsresnet":
        say(f"note: {folder.path} has no depth labels: the network will answer with masks alone")
    skipped = Skipped(len(folder)) if recipe.on_bad_item == "skip" else None
    normalisation = normalisation_of(folder, skipped)
    say(
        f"{recipe.name}: {len(split.train)} items to train on, "
        + ", ".join(f"{len(items)} {part}" for part, items in split.parts.items())
        + f" to validate by; run folder {new_run.path}"
    )
    references = fit_references(folder, split.train, recipe.phases[-1].size, recipe.seed, skipped)
    device = pick_device()
    environment = describe_environment() | {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "seed": recipe.seed,
        "data": str(folder.path.resolve()),
        "data_fingerprint": folder.fingerprint(),
        "normalisation": normalisation.model_dump(),
        "depth": folder.card.depth.model_dump() if labelled else None,
        **choose_compute(recipe, device),
    }
    new_run.begin(recipe, environment, references)
    return _fit(new_run, folder, split, stretch)


def train_seeds(
    recipe: Recipe | str | Path,
    data: Path | str,
    seeds: Sequence[int],
    *,
    run: Path | str | None = None,
    settings: Sequence[str] = (),
) -> list[Trained]:
    """Train the same recipe once with each seed, into RUN-seed-1 and so on; the split is the same for all.

    Args:
        recipe: as `train` takes it.
        data: a data set folder.
        seeds: of weights, order and augmentation; they replace the recipe's.
        run: what the names of the run folders begin with; `runs/RECIPE-TIME` when None.
        settings: `key=value` changes to the recipe.

    Raises:
        UserError: as `train` does, before the first training begins; or a seed occurs twice.
    """
    if len(set(seeds)) < len(seeds) or not seeds:
        raise UserError(f"--seeds {','.join(map(str, seeds))}: give each seed once, such as 1,2,3")
    recipe = load_recipe(recipe, settings)
    base = Run.plan(run, recipe).path
    paths = [base.with_name(f"{base.name}-seed-{seed}") for seed in seeds]
    for path in paths:
        Run.plan(path, recipe)
    return [
        train(recipe.model_copy(update={"seed": seed}), data, run=path) for seed, path in zip(seeds, paths, strict=True)
    ]


def resume(
    run: Path | str,
    data: Path | str | None = None,
    *,
    stop_after: str | None = None,
    epochs_now: int | None = None,
    take: Literal["file", "state"] | None = None,
) -> Trained:
    """Go on with a run from its newest good state, or from the start if it has none yet.

    Args:
        run: a run folder.
        data: where the data set lies now; where it lay when None.
        stop_after: as `train` takes it.
        epochs_now: as `train` takes it.
        take: when recipe.yaml is no longer what the run was trained with so far: go on with the `file` as it is now,
            or with the recipe of the `state`, which is written back into the file. Refused when None.

    Raises:
        UserError: it is no run folder, the data set is not the one it was begun with, or the recipe has changed.
        KeyboardInterrupt, SystemExit: as `train` does.
    """
    stretch = Stretch.begin(stop_after, epochs_now)
    begun = Run.open(run)
    environment = begun.environment()
    folder = ModestFolder(data or environment["data"])
    if folder.fingerprint() != environment["data_fingerprint"]:
        raise UserError(f"{folder.path}: is not the data set that {run} was begun with (its file_map.txt differs)")
    newest = newest_state(begun.checkpoints)
    if newest:
        _settle_recipe(begun, newest[1], take)
    recipe = begun.recipe()
    if newest and len(newest[1]["finished_losses"]) >= recipe.epochs:
        say(f"{run}: all {recipe.epochs} epochs are done; nothing is left to train")
        return _summary(begun, begun.rows(), 0)
    remove_partial_files(begun.path)
    keep_freed_memory()
    return _fit(begun, folder, split_items(folder, recipe.split), stretch, newest[0] if newest else None)


def _fit(run: Run, folder: ModestFolder, split: Split, stretch: Stretch, state: Path | None = None) -> Trained:
    started = time.perf_counter()
    recipe, environment = run.recipe(), run.environment()
    pl.seed_everything(recipe.seed, verbose=False)
    torch.set_num_threads(environment["threads"])
    card = WeightsCard(
        model=recipe.model,
        size=recipe.phases[0].size,
        normalisation=environment["normalisation"],
        depth=environment["depth"],
        recipe=recipe.name,
    )
    task = CleanplateTask(recipe, card.normalisation, folder.card.depth, list(split.parts), len(split.train))
    set_layout(task.model, environment["layout"])
    skipped = Skipped(len(folder)) if recipe.on_bad_item == "skip" else None
    data = PhasedData(folder, split, recipe, _workers(recipe, environment["device"]), skipped)
    record = Record(run, card, preview_items(split, recipe.previews).tolist())
    keeper = Keeper(run, recipe, record, stop_at=stretch.stop_at, epochs_now=stretch.epochs_now)
    trainer = _trainer(recipe, environment, [record, Display(record), keeper])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|torch.jit|torch.optim.lr_scheduler|torchmetrics")
        _run_trainer(trainer, task, data, state, run)
    return _summary(run, run.rows(), time.perf_counter() - started)


def _run_trainer(trainer: pl.Trainer, task: CleanplateTask, data: PhasedData, state: Path | None, run: Run) -> None:
    handler, go_on = signal.getsignal(signal.SIGINT), f"go on with `cleanplate train --resume {run.path}`"
    try:
        trainer.fit(task, datamodule=data, ckpt_path=state, weights_only=True)
    except Stopped as stop:
        if stop.signal_number == signal.SIGINT:
            raise KeyboardInterrupt(go_on) from None
        say(f"{stop}; {go_on}")
        if stop.signal_number is not None:
            raise SystemExit(TERMINATED) from None
    except SystemExit:  # how Lightning ends on Ctrl-C, which it then ignores for good
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt(go_on) from None
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        number, phase = data.recipe.phase_at(data.epoch)[0], data.phase
        raise UserError(
            f"{run.recipe_file}: phases.{number}: a batch of {phase.batch_size} at {phase.size}x{phase.size} does not "
            f"fit in memory; lower its batch_size there and {go_on} --take file"
        ) from None


def _is_out_of_memory(error: Exception) -> bool:
    """Tell whether a step failed for want of memory; on a CPU torch says so in words alone."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _settle_recipe(run: Run, state: State, take: str | None) -> None:
    """Make recipe.yaml and the recipe of the state one again.

    Raises:
        UserError: they differ, and nobody has said which to take; or in what no run can change.
    """
    before, now = Recipe.model_validate(state["recipe"]), run.recipe()
    differing = differing_keys([before, now])
    if not differing:
        return
    said = ", ".join(f"{key} was {old} and is {new}" for key, (old, new) in differing.items())
    if take is None:
        raise UserError(
            f"{run.recipe_file}: has changed since the run was trained with it ({said}); "
            "give --take file to go on with it as it is now, or --take state to go on as before"
        )
    if take == "state":
        run.write_recipe(before)
        return
    fixed = sorted({key.partition(".")[0] for key in differing} & {"model", "loss", "split"})
    if fixed:
        raise UserError(f"{run.recipe_file}: {' and '.join(fixed)} cannot change within a run; give --take state")
    say(f"{run.path}: going on with another recipe: {said}")


def _trainer(recipe: Recipe, environment: dict[str, Any], callbacks: list[pl.Callback]) -> pl.Trainer:
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    return pl.Trainer(
        max_epochs=recipe.epochs,
        accelerator="cpu" if environment["device"] == "cpu" else "auto",
        devices=1,
        precision="bf16-mixed" if environment["precision"] == "bfloat16" else "32-true",
        plugins=[StateFiles()],
        callbacks=callbacks,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _workers(recipe: Recipe, device: str) -> int:
    if recipe.compute.workers != "auto":
        return recipe.compute.workers
    # On a CPU the network keeps every core busy, and reading takes a few percent of its time; a GPU must be fed.
    return 0 if device == "cpu" else min(8, count_cores())


def _summary(run: Run, rows: list[Row], seconds: float) -> Trained:
    paces = sorted(row["items_per_second"] for row in rows)
    return Trained(
        run=str(run.path),
        epochs=len(rows),
        best=best_row(rows) if rows else None,
        seconds=round(seconds, 1),
        items_per_second=paces[len(paces) // 2] if paces else None,
    )
