"""Train a network: start a run, or go on with one."""

import logging
import shutil
import signal
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pydantic import BaseModel

from cleanplate.data.modest import ModestFolder
from cleanplate.data.module import PhasedData
from cleanplate.data.split import Split, split_items
from cleanplate.data.statistics import normalisation_of
from cleanplate.data.writer import count_cores
from cleanplate.errors import UserError
from cleanplate.progress import say
from cleanplate.recipe import Recipe, load_recipe
from cleanplate.references import fit_references
from cleanplate.train.compute import choose_compute, keep_freed_memory, pick_device, set_layout
from cleanplate.train.display import Display
from cleanplate.train.previews import preview_items
from cleanplate.train.record import Record
from cleanplate.train.run import Row, Run, best_row, describe_environment
from cleanplate.train.task import CleanplateTask
from cleanplate.weights import WeightsCard


class Trained(BaseModel):
    """What a training has come to."""

    run: str
    epochs: int
    best: dict[str, Any]
    """The best epoch's row of metrics.csv."""
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
) -> Trained:
    """Train a network as a recipe says, into a new run folder.

    Args:
        recipe: a recipe, the name of a shipped one, or a YAML file.
        data: a data set folder.
        run: the run folder to make; `runs/RECIPE-TIME` when None.
        settings: `key=value` changes to the recipe.

    Raises:
        UserError: recipe, data or run folder are at fault.
    """
    recipe = load_recipe(recipe, settings)
    new_run = Run.plan(run, recipe)
    keep_freed_memory()  # before the trial of precision and layout, which is to measure what will be
    folder = ModestFolder(data)
    split = split_items(folder, recipe.split)
    labelled = folder.labelled()[split.train].any()
    if not labelled and recipe.model == "dsresnet":
        say(f"note: {folder.path} has no depth labels: the network will answer with masks alone")
    normalisation = normalisation_of(folder)
    say(
        f"{recipe.name}: {len(split.train)} items to train on, "
        + ", ".join(f"{len(items)} {part}" for part, items in split.parts.items())
        + f" to validate by; run folder {new_run.path}"
    )
    references = fit_references(folder, split.train, recipe.phases[-1].size, recipe.seed)
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
    try:
        new_run.begin(recipe, environment, references)
        return _fit(new_run, folder, split)
    except (UserError, OSError):
        if not new_run.weights.exists():  # a first epoch that failed leaves nothing to go on from
            shutil.rmtree(new_run.path, ignore_errors=True)
        raise


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


def resume(run: Path | str, data: Path | str | None = None) -> Trained:
    """Go on with a run from its newest checkpoint, or from the start if its first epoch never ended.

    Args:
        run: a run folder.
        data: where the data set lies now; where it lay when None.

    Raises:
        UserError: it is no run folder, or the data set is not the one it was begun with.
    """
    begun = Run.open(run)
    recipe, environment = begun.recipe(), begun.environment()
    folder = ModestFolder(data or environment["data"])
    if folder.fingerprint() != environment["data_fingerprint"]:
        raise UserError(f"{folder.path}: is not the data set that {run} was begun with (its file_map.txt differs)")
    if begun.checkpoint(epochs := recipe.epochs).exists():
        say(f"{run}: all {epochs} epochs are done; nothing is left to train")
        return _summary(begun, begun.rows(), 0)
    keep_freed_memory()
    return _fit(begun, folder, split_items(folder, recipe.split))


def _fit(run: Run, folder: ModestFolder, split: Split) -> Trained:
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
    data = PhasedData(folder, split, recipe, _workers(recipe, environment["device"]))
    record = Record(run, card, preview_items(split, recipe.previews).tolist())
    trainer = _trainer(recipe, environment, [record, Display(record)])
    newest = run.newest_checkpoint()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|torch.jit|torch.optim.lr_scheduler")
        _run_trainer(trainer, task, data, newest, run)
    return _summary(run, run.rows(), time.perf_counter() - started)


def _run_trainer(trainer: pl.Trainer, task: CleanplateTask, data: PhasedData, newest: Path | None, run: Run) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(task, datamodule=data, ckpt_path=newest, weights_only=True)
    except SystemExit:  # how Lightning ends on Ctrl-C, which it then ignores for good
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt(f"go on with `cleanplate train --resume {run.path}`") from None


def _trainer(recipe: Recipe, environment: dict[str, Any], callbacks: list[pl.Callback]) -> pl.Trainer:
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    return pl.Trainer(
        max_epochs=recipe.epochs,
        accelerator="cpu" if environment["device"] == "cpu" else "auto",
        devices=1,
        precision="bf16-mixed" if environment["precision"] == "bfloat16" else "32-true",
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
        best=best_row(rows),
        seconds=round(seconds, 1),
        items_per_second=paces[len(paces) // 2] if paces else None,
    )
