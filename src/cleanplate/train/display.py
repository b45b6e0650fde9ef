"""The progress bar of a training."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.progress import TextColumn

from cleanplate.data.module import batches_done
from cleanplate.progress import progress_bar, say
from cleanplate.train.record import Record


class Display(Callback):
    """Show epoch, loss, items/s and time left while training, and a line of figures after each epoch.

    Args:
        record: whose rows are shown; must come before this one in the trainer's callbacks.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self.bar = progress_bar(TextColumn("{task.fields[figures]}"))
        self.task_id = self.bar.add_task("training", figures="")
        self.started, self.items = 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Show the bar, of an epoch that was begun before where a run goes on within one."""
        self.bar.start()
        self._begin(trainer, batches_done(trainer))

    def on_train_epoch_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Begin an epoch's bar."""
        self._begin(trainer, 0)

    def _begin(self, trainer: pl.Trainer, done: int) -> None:
        title = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        self.bar.reset(self.task_id, total=trainer.num_training_batches, completed=done, description=title)
        self.started, self.items = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the loss of the batch, the last validation's figures and the pace."""
        self.items += len(batch.indices)
        pace = self.items / (time.perf_counter() - self.started)
        figures = f"loss {float(outputs['loss']):.4f}  {pace:.1f} items/s"
        if self.record.rows:
            figures += "  " + _figures(self.record.rows[-1])
        self.bar.update(self.task_id, advance=1, figures=figures)

    def on_validation_epoch_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Say what is going on."""
        self.bar.update(self.task_id, description="validating")

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Print the epoch's line."""
        row = self.record.rows[-1]
        say(
            f"epoch {row['epoch']:>3} of {trainer.max_epochs}  {row['size']}x{row['size']}  lr {row['lr']:.2g}  "
            f"loss {row['validation/loss']:.4f}  {_figures(row)}  {row['items_per_second']:.1f} items/s"
        )

    def on_exception(self, trainer: pl.Trainer, task: pl.LightningModule, exception: BaseException) -> None:
        """Take the bar away."""
        self.bar.stop()

    def teardown(self, trainer: pl.Trainer, task: pl.LightningModule, stage: str) -> None:
        """Take the bar away."""
        self.bar.stop()


def _figures(row: dict[str, Any]) -> str:
    depth = row["validation/rmse"]
    return f"IoU {row['validation/iou']:.3f}" + ("" if depth is None else f"  RMSE {depth:.4f}")
