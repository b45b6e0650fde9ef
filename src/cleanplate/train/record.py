"""After each epoch: weights, a row of metrics.csv, TensorBoard and previews."""

import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from cleanplate.data.module import PhasedData
from cleanplate.pictures import write_picture
from cleanplate.train.curves import draw_curves
from cleanplate.train.events import Events
from cleanplate.train.previews import draw_previews
from cleanplate.train.run import Row, Run, best_row
from cleanplate.train.task import CleanplateTask
from cleanplate.weights import WeightsCard, save_weights

CURVES_SECONDS = 30
"""How often curves are drawn at most, while a training goes on: it takes a second, as long as a small epoch."""


class Clock:
    """The seconds that an epoch has taken so far, by what they were spent on.

    Args:
        seconds: what was spent already, before the run was stopped.
    """

    def __init__(self, seconds: Mapping[str, float] | None = None) -> None:
        self.seconds = {"training": 0.0, "validation": 0.0, **(seconds or {})}
        self.running: str | None = None
        self.since = 0.0

    def start(self, name: str) -> None:
        """Count for `name` from now on."""
        self.seconds = self.read()
        self.running, self.since = name, time.perf_counter()

    def read(self) -> dict[str, float]:
        """Return the seconds up to now."""
        if self.running is None:
            return self.seconds
        return self.seconds | {self.running: self.seconds[self.running] + time.perf_counter() - self.since}


class Record(Callback):
    """Write down what each epoch has come to; of several processes, the first writes.

    The rows of the finished epochs travel in the checkpoint, and metrics.csv is written anew from them, so that no
    epoch is doubled or missing after a resume.

    Args:
        run: where to write.
        card: what the weights say of themselves; the size is the phase's.
        preview_items: the numbers of the items to draw.
    """

    def __init__(self, run: Run, card: WeightsCard, preview_items: list[int]) -> None:
        self.run, self.card, self.preview_items = run, card, preview_items
        self.rows: list[Row] = []
        self.events: Events | None = None
        self.clock = Clock()
        self.drawn, self.drawn_at = 0, time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the epoch's times, for the checkpoint."""
        return {"rows": self.rows, "seconds": self.clock.read()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the rows of a checkpoint, and an epoch's times where it had begun."""
        self.rows = state["rows"]
        self.clock = Clock(state["seconds"])

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Open TensorBoard's log; what a run that was stopped had written past its checkpoint is hidden."""
        self.clock.start("training")
        if not trainer.is_global_zero:
            return
        self.events = Events(self.run.events, len(self.rows) + 1)
        if not self.rows and isinstance(task, CleanplateTask):
            self.events.write_graph(task.model, task.device)

    def on_train_epoch_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self.clock = Clock()
        self.clock.start("training")

    def on_validation_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Let the clock count for the validation."""
        self.clock.start("validation")

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Write everything down."""
        if not isinstance(task, CleanplateTask) or not isinstance(data := trainer.datamodule, PhasedData):  # type: ignore[attr-defined]  # Lightning's types lack it
            raise TypeError("Record goes with CleanplateTask and PhasedData")
        row = self._row(trainer, task, data)
        faults = _gather(data.skipped.faults, trainer.world_size) if data.skipped else {}
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        epoch = row["epoch"]

        card = self.card.model_copy(update={"size": data.phase.size})
        save_weights(self.run.epochs / f"{epoch:03d}.safetensors", task.model, card)
        best = best_row(self.rows)
        if best is row:
            save_weights(self.run.weights, task.model, card)
        self._draw(task, data, epoch)
        if faults:
            self.run.write_skipped(faults)
        self._log(row)
        self.run.write_rows(self.rows)
        if epoch == data.recipe.epochs or time.monotonic() - self.drawn_at >= CURVES_SECONDS:
            self.draw_curves(data)

    def draw_curves(self, data: PhasedData) -> None:
        """Draw the curves anew, unless they show every finished epoch; of several processes, the first draws."""
        if not self.events or self.drawn == len(self.rows):
            return
        title = f"{data.recipe.name}: {len(data.split.train):,} training items, {self.rows[-1]['steps']:,} steps"
        draw_curves(self.rows, self.run.curves, title)
        self.drawn, self.drawn_at = len(self.rows), time.monotonic()

    def _row(self, trainer: pl.Trainer, task: CleanplateTask, data: PhasedData) -> Row:
        phase, optimizer = data.phase, trainer.optimizers[0]
        items_a_step = min(phase.batch_size * trainer.world_size, len(data.split.train))
        items = items_a_step * trainer.num_training_batches
        seconds = self.clock.read()
        row: Row = {
            "epoch": data.epoch + 1,
            "phase": data.recipe.phase_at(data.epoch)[0] + 1,
            "size": phase.size,
            "batch_size": phase.batch_size,
            "steps": trainer.global_step,
            "lr": optimizer.param_groups[0]["lr"],
            "seconds": round(sum(seconds.values()), 2),
            "items_per_second": round(items / seconds["training"], 2),
        }
        for part, figures in task.figures().items():
            row |= {f"{part}/{name}": value for name, value in figures.items()}
        return row

    def _draw(self, task: CleanplateTask, data: PhasedData, epoch: int) -> None:
        if not self.preview_items:
            return
        batch = data.read(self.preview_items)
        model = task.ready_model().eval()
        sheet = draw_previews(model, batch)
        model.train()
        write_picture(self.run.previews / f"epoch-{epoch:03d}.png", sheet)
        if self.events:
            self.events.write_picture("previews", sheet, epoch)

    def _log(self, row: Row) -> None:
        if self.events:
            shown = {name: x for name, x in row.items() if (name == "lr" or "/" in name) and x is not None}
            self.events.write_scalars(shown, row["epoch"])


def _gather(faults: dict[int, str], processes: int) -> dict[int, str]:
    """Return the faults that all processes have found."""
    if processes == 1:
        return faults
    found: list[dict[int, str]] = [{} for _ in range(processes)]
    torch.distributed.all_gather_object(found, faults)
    return {item: fault for one in found for item, fault in one.items()}
