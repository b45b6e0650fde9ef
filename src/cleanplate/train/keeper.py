"""Keep a training from being lost: states by time and at each turn of an epoch, and stops that lose nothing."""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from cleanplate.data.module import PhasedData, is_within_epoch, steps_per_epoch
from cleanplate.recipe import Recipe
from cleanplate.train.record import Record
from cleanplate.train.run import Run, best_row
from cleanplate.train.state import State, drop_old_states, state_file
from cleanplate.train.task import CleanplateTask

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""Ctrl-C; what ends a process politely; what SLURM warns with (`--signal=USR1@120`)."""
NOTHING, SAVE, STOP, QUIT = range(4)
"""What is wished for; to quit is to stop where this training is over too, since another may follow."""


class Stopped(Exception):  # noqa: N818  (no error)
    """The training was told to stop, and has written its state.

    Args:
        reason: what told it to.
        signal_number: the signal, if it was one.
    """

    def __init__(self, reason: str, signal_number: int | None = None) -> None:
        super().__init__(reason)
        self.signal_number = signal_number


class Keeper(Callback):
    """Write full states, and stop when told to.

    A state is written every so many minutes, before each validation and after each epoch. From any of them a run goes
    on to the very weights it would have had. Must come last among the trainer's callbacks, so that a state holds what
    the others have done.

    Args:
        run: where to write.
        recipe: the run's; it travels in each state.
        record: whose rows say which epoch is best.
        stop_at: when to stop, by `time.monotonic()`.
        epochs_now: after how many epochs of this call to stop.
    """

    def __init__(
        self, run: Run, recipe: Recipe, record: Record, *, stop_at: float | None = None, epochs_now: int | None = None
    ) -> None:
        self.run, self.recipe, self.record = run, recipe, record
        self.stop_at, self.epochs_now = stop_at, epochs_now
        self.signal_number: int | None = None
        self.saving = False
        self.saved_at = time.monotonic()
        self.epochs_done = 0

    # When

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Answer signals from here on; Lightning puts back what answered them before."""
        if not isinstance(task, CleanplateTask):
            raise TypeError("Keeper goes with CleanplateTask")
        self.task, self.speaks = task, trainer.is_global_zero
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._on_signal)

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save or stop, but after the last step of an epoch: the validation that follows does both."""
        self.task.end_step()
        wish = self._agree(trainer, self._wish())
        if wish and batch_idx + 1 < trainer.num_training_batches:
            self._save(trainer)
            if wish >= STOP:
                raise self._stopped()

    def on_validation_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Save: a validation may be long, and what it validates cost an epoch."""
        self._save(trainer)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, task: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stop; the state is that from before the validation."""
        if self._wish() >= STOP:
            raise self._stopped()

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Save, and stop."""
        self._save(trainer)
        self.epochs_done += 1
        if self._agree(trainer, self._wish()) >= (STOP if len(self.record.rows) < self.recipe.epochs else QUIT):
            raise self._stopped()

    def on_exception(self, trainer: pl.Trainer, task: pl.LightningModule, exception: BaseException) -> None:
        """Write the state from before the step that was broken off, where it is still to be had."""
        if isinstance(exception, Stopped) or not isinstance(task, CleanplateTask) or trainer.world_size > 1:
            return
        if trainer.training and is_within_epoch(trainer) and not task.updating:
            task.undo_forward()
            self._save(trainer)

    def _wish(self) -> int:
        if self.signal_number is not None:
            return QUIT
        if self.stop_at is not None and time.monotonic() >= self.stop_at:
            return STOP
        if self.epochs_now is not None and self.epochs_done >= self.epochs_now:
            return STOP
        return SAVE if time.monotonic() - self.saved_at >= self.recipe.checkpoint_minutes * 60 else NOTHING

    @staticmethod
    def _agree(trainer: pl.Trainer, wish: int) -> int:
        """Return the greatest wish of all processes, since they must save and stop together."""
        if trainer.world_size == 1:
            return wish
        wishes = torch.tensor(wish, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(wishes, reduce_op="max"))

    def _stopped(self) -> Stopped:
        if self.signal_number is not None:
            return Stopped(f"stopped by {signal.Signals(self.signal_number).name}", self.signal_number)
        return Stopped("stopped as asked")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is None:
            self.signal_number = number
            if self.speaks:  # not by print, which a signal may find in the middle of printing
                os.write(2, b"\nstopping: this step is finished and the state written; Ctrl-C again to stop at once\n")
        elif number == signal.SIGINT and not self.saving and not self.task.updating:
            raise KeyboardInterrupt

    # What

    def _save(self, trainer: pl.Trainer) -> None:
        self.saving = True
        trainer.save_checkpoint(state_file(self.run.checkpoints, trainer.global_step))
        if trainer.is_global_zero:
            rows = self.record.rows
            best = state_file(self.run.checkpoints, best_row(rows)["steps"]) if rows else None
            drop_old_states(self.run.checkpoints, keep=self.recipe.keep_checkpoints, best=best)
        self.saved_at, self.saving = time.monotonic(), False

    def on_save_checkpoint(self, trainer: pl.Trainer, task: pl.LightningModule, checkpoint: State) -> None:
        """Add what a resume asks for, and make Lightning go back to a validation that has not ended."""
        checkpoint["recipe"] = self.recipe.model_dump(mode="json")
        checkpoint["processes"] = trainer.world_size
        if trainer.validating:
            # Lightning takes up a validation again only where a state was saved within one of its steps.
            total = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
            total |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}

    def on_load_checkpoint(self, trainer: pl.Trainer, task: pl.LightningModule, checkpoint: State) -> None:
        """Find the place in the epoch again when a step takes in more or fewer items than it did."""
        loops, data = checkpoint["loops"]["fit_loop"], trainer.datamodule  # type: ignore[attr-defined]  # Lightning's types lack it
        epoch, progress = loops["epoch_progress"]["current"], loops["epoch_loop.batch_progress"]
        if epoch["started"] == epoch["processed"] or not isinstance(data, PhasedData):
            return
        was, here = Recipe.model_validate(checkpoint["recipe"]), checkpoint["epoch"]
        before = was.phases[was.phase_at(here)[0]].batch_size * checkpoint["processes"]
        now = self.recipe.phases[self.recipe.phase_at(here)[0]].batch_size * trainer.world_size
        if before != now:
            steps, done = steps_per_epoch(len(data.split.train), now), progress["current"]["processed"]
            place = steps if progress["is_last_batch"] else min(done * before // now, steps - 1)
            progress["current"] = {name: count + place - done for name, count in progress["current"].items()}
