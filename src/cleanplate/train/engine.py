"""The training itself: a run folder, a place among the processes, and Lightning's trainer."""

import logging
import signal
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy, Strategy

from cleanplate.cores import count_cores
from cleanplate.data.module import PhasedData
from cleanplate.data.opening import Given
from cleanplate.data.source import skipped_by
from cleanplate.data.split import split_items
from cleanplate.errors import UserError
from cleanplate.losses import loss_needs_depth
from cleanplate.recipe import Recipe
from cleanplate.train.begin import load_initial
from cleanplate.train.compute import arrange, fixed_choices, keep_freed_memory
from cleanplate.train.display import Display
from cleanplate.train.keeper import Keeper, Stopped
from cleanplate.train.memory import describe_misfit, is_out_of_memory
from cleanplate.train.previews import preview_items
from cleanplate.train.processes import OtherProcessError, Place, find_cluster
from cleanplate.train.record import Record
from cleanplate.train.run import Run
from cleanplate.train.state import StateFiles
from cleanplate.train.task import CleanplateTask
from cleanplate.weights import WeightsCard


def train_run(
    place: Place,
    path: Path,
    given: Given,
    state: Path | None,
    stop_at: float | None,
    epochs_now: int | None,
    packed: bool,
) -> None:
    """Train a run that has been begun, to its end or until it is told to stop.

    Args:
        place: of this process; the others call this too.
        path: the run folder.
        given: what to train on.
        state: the full state to go on from; None to start.
        stop_at: when to stop, by `time.monotonic()`.
        epochs_now: after how many epochs to stop.
        packed: read from packs, where there are any.

    Raises:
        UserError: the data or the recipe are at fault.
        Stopped: it was told to stop, and the state is written.
    """
    run = Run.open(path)
    recipe = run.recipe()
    # before there were fused kernels nothing was said; what the recipe fixes may have changed since the start
    environment = {"kernels": "plain", **run.environment(), **fixed_choices(recipe.compute)}
    folder = given.open(recipe, packed=packed)
    split = split_items(folder, recipe.split)
    keep_freed_memory()
    pl.seed_everything(recipe.seed, verbose=False)
    torch.set_num_threads(max(1, environment["threads"] // place.on_machine))
    card = WeightsCard(
        model=recipe.model,
        size=recipe.phases[0].size,
        normalisation=environment["normalisation"],
        depth=environment["depth"],
        recipe=recipe.name,
    )
    task = CleanplateTask(recipe, card.normalisation, folder.card.depth, list(split.parts), len(split.train))
    if start := load_initial(run.initial if run.initial.exists() else None, recipe):
        task.model.load_state_dict(start[0].state_dict())
    arrange(task.model, environment)
    workers = _workers(recipe, environment["device"])
    data = PhasedData(folder, split, recipe, workers, skipped_by(recipe, folder))
    record = Record(run, card, preview_items(split, recipe.previews).tolist())
    keeper = Keeper(run, recipe, record, stop_at=stop_at, epochs_now=epochs_now)
    shown = [Display(record)] if place.rank == 0 else []
    trainer = _trainer(recipe, environment, place, [record, *shown, keeper])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|torch.jit|torch.optim.lr_scheduler|torchmetrics")
        try:
            _fit(trainer, task, data, state, run)
        except Stopped:
            record.draw_curves(data)
            raise


def _fit(trainer: pl.Trainer, task: CleanplateTask, data: PhasedData, state: Path | None, run: Run) -> None:
    handler, full = signal.getsignal(signal.SIGINT), False
    try:
        trainer.fit(task, datamodule=data, ckpt_path=state, weights_only=True)
    except SystemExit:  # how Lightning ends on Ctrl-C, which it then ignores for good
        signal.signal(signal.SIGINT, handler)
        raise Stopped("stopped by SIGINT", signal.SIGINT) from None
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            full = True
        elif trainer.world_size > 1 and _is_of_a_connection(error):
            raise OtherProcessError("another process has ended, so this one cannot go on") from None
        else:
            raise
    if full:
        # one process on a CPU has all at hand still; from an accelerator Lightning has taken it away
        alone = trainer.world_size == 1 and task.device.type == trainer.strategy.root_device.type == "cpu"
        step = partial(_try_step, trainer, task, data) if alone and trainer.optimizers else None
        misfit = describe_misfit(data.phase, data.recipe.phase_at(data.epoch)[0], step)
        raise UserError(
            f"{run.recipe_file}: {misfit}; lower its batch_size there and go on with "
            f"`cleanplate train --resume {run.path} --take file`"
        )


def _try_step(trainer: pl.Trainer, task: CleanplateTask, data: PhasedData, items: int) -> None:
    """Take a step that nobody will go on from: the state is written."""
    task.zero_grad()
    with trainer.precision_plugin.train_step_context():
        batch = task.augmented(data.read(data.split.train[:items].tolist()).to(task.device), data.epoch)
        task.train().losses(batch)[1]["loss"].backward()
    trainer.optimizers[0].step()


def _is_of_a_connection(error: Exception) -> bool:
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)


def _trainer(recipe: Recipe, environment: dict[str, Any], place: Place, callbacks: list[pl.Callback]) -> pl.Trainer:
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    on_cpu = environment["device"] == "cpu"
    return pl.Trainer(
        max_epochs=recipe.epochs,
        accelerator="cpu" if on_cpu else "auto",
        devices=place.on_machine,
        num_nodes=place.processes // place.on_machine,
        strategy=_strategy(recipe) if place.processes > 1 else "auto",
        sync_batchnorm=place.processes > 1 and not on_cpu,
        precision="bf16-mixed" if environment["precision"] == "bfloat16" else "32-true",
        plugins=[StateFiles(), find_cluster() or LightningEnvironment()],
        callbacks=callbacks,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _strategy(recipe: Recipe) -> Strategy:
    # a loss that looks at the mask alone leaves without gradients what these have for depth alone
    depth_apart = recipe.model in ("dsresnet", "roomnet")
    return DDPStrategy(find_unused_parameters=depth_apart and not loss_needs_depth(recipe.loss))


def _workers(recipe: Recipe, device: str) -> int:
    if recipe.compute.workers != "auto":
        return recipe.compute.workers
    # On a CPU the network keeps every core busy, and reading takes a few percent of its time; a GPU must be fed.
    return 0 if device == "cpu" else min(8, count_cores())
