"""What happens in a step: the network, its loss and its metrics, as a LightningModule."""

import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from cleanplate.data.augment import augment_, flip
from cleanplate.data.card import DepthMeaning, Normalisation
from cleanplate.data.module import steps_before
from cleanplate.data.source import Batch
from cleanplate.errors import UserError
from cleanplate.losses import Loss, create_loss
from cleanplate.metrics import MaskDepthMetrics
from cleanplate.models import Prediction, create_model
from cleanplate.models.ready import Normalise, ReadyModel
from cleanplate.progress import say
from cleanplate.recipe import Recipe, Sgd
from cleanplate.train.schedule import learning_rate

Figures = dict[str, float | None]


class Tally:
    """Losses and metrics over the batches of an epoch, and over all processes.

    Args:
        loss: whose parts are counted.
        depth: what the depth numbers mean.
        device: where to count.
    """

    def __init__(self, loss: Loss, depth: DepthMeaning, device: torch.device) -> None:
        self.metrics = MaskDepthMetrics(depth.near, depth.far).to(device)
        # all of them from the start, since a process that had no batch must take part in adding up
        self.losses = {name: MeanMetric().set_dtype(torch.double).to(device) for name in loss.names}

    def update(self, prediction: Prediction, losses: dict[str, Tensor], batch: Batch) -> None:
        """Count in a batch: its logits in float32, its losses and its truth."""
        depth = prediction.depth_logits
        self.metrics.update(prediction.mask_logits.sigmoid(), None if depth is None else depth.sigmoid(), batch.target)
        for name, value in losses.items():
            self.losses[name].update(value, len(batch.indices))

    def merge(self, other: "Tally") -> None:
        """Count in all that another one has counted."""
        self.metrics.merge_state(other.metrics)
        for name, mean in other.losses.items():
            self.losses[name].merge_state(mean)

    def state(self, gather: Callable[[Tensor], Tensor]) -> dict[str, dict[str, Tensor]]:
        """Return all that was counted, each sum as `gather` gives it of all processes, `(processes, ...)`."""
        return {
            name: {key: gather(getattr(metric, key)) for key in metric.metric_state}
            for name, metric in self._counted().items()
        }

    def load(self, state: dict[str, dict[str, Tensor]], rank: int, processes: int) -> None:
        """Count in what one of several processes had counted; the first has it all if there were more or fewer."""
        for name, metric in self._counted().items():
            before = {key: gathered.to(metric.device) for key, gathered in state[name].items()}
            if all(len(gathered) == processes for gathered in before.values()):
                metric.merge_state({key: gathered[rank] for key, gathered in before.items()})
            elif rank == 0:
                metric.merge_state({key: gathered.sum(0) for key, gathered in before.items()})

    def _counted(self) -> dict[str, Metric]:
        return {"metrics": self.metrics, **self.losses}

    def compute(self) -> Figures:
        """Return `loss`, its parts and the metrics."""
        losses: Figures = {name: float(mean.compute()) for name, mean in self.losses.items()}
        return losses | self.metrics.compute()


class CleanplateTask(pl.LightningModule):
    """Train a network as a recipe says.

    Args:
        recipe: the whole experiment.
        normalisation: the statistics of the data set's pictures.
        depth: what its depth numbers mean; metres make two more metrics possible.
        parts: the names of the validation parts, in the order of their loaders.
        train_items: how many items there are to train on; `one-cycle` needs to know the end.
    """

    def __init__(
        self, recipe: Recipe, normalisation: Normalisation, depth: DepthMeaning, parts: list[str], train_items: int
    ) -> None:
        super().__init__()
        self.recipe, self.parts, self.depth = recipe, parts, depth
        self.train_items = train_items
        self.model = create_model(recipe.model)
        self.loss = create_loss(recipe.loss, recipe.depth_weight)
        self.normalise_plate = Normalise(normalisation.plate.mean, normalisation.plate.std)
        self.normalise_frame = Normalise(normalisation.frame.mean, normalisation.frame.std)
        self.tallies: dict[str, Tally] = {}
        self.allow_zero_length_dataloader_with_multiple_devices = True  # a small part may have one batch in all
        self.updating = False
        """Whether the step has begun to change the network; till then it can be undone."""
        self.skipped_steps = 0
        self._before_step: list[Tensor] = []
        self.finished_losses: list[float] = []
        """The validation loss of each finished epoch, which the schedule goes by."""

    def forward(self, plate: Tensor, frame: Tensor) -> Prediction:
        """Return the prediction for normalised pictures, as the network does."""
        return self.model(plate, frame)

    def ready_model(self) -> ReadyModel:
        """Return the network with what comes before and after it; it shares the parameters."""
        return ReadyModel(self.model, self.normalise_plate, self.normalise_frame)

    def augmented(self, batch: Batch, epoch: int) -> Batch:
        """Return a training batch changed at random as the recipe says; plate and frame are float32, 0 to 1."""
        settings, seed = self.recipe.augmentation, self.recipe.seed
        batch = flip(batch, settings.horizontal_flip, seed=seed, epoch=epoch).as_float()
        augment_(batch.plate, batch.frame, settings, seed=seed, epoch=epoch, indices=batch.indices.tolist())
        return batch

    def losses(self, batch: Batch) -> tuple[Prediction, dict[str, Tensor]]:
        """Return what the network says of a batch, plate and frame 0 to 1, and its losses.

        Both are float32, whatever the network computes in.
        """
        prediction = self.model(self.normalise_plate(batch.plate), self.normalise_frame(batch.frame))
        with torch.autocast(self.device.type, enabled=False):
            prediction = prediction.float()
            return prediction, self.loss(prediction, batch.target)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the recipe's optimiser; the rate is set before each step."""
        settings = self.recipe.optimizer
        if isinstance(settings, Sgd):
            return torch.optim.SGD(
                self.model.parameters(),
                settings.lr,
                momentum=settings.momentum,
                weight_decay=settings.weight_decay,
                fused=True,
            )
        return torch.optim.AdamW(
            self.model.parameters(), settings.lr, settings.betas, weight_decay=settings.weight_decay, fused=True
        )

    def on_train_start(self) -> None:
        """Let the optimiser be the recipe's: one that was restored has its settings of before."""
        settings = self.recipe.optimizer.model_dump(exclude={"name", "lr", "clip"})
        for group in self.trainer.optimizers[0].param_groups:
            group |= settings

    def on_train_epoch_start(self) -> None:
        """Begin the count of the epoch."""
        self.tallies["train"] = self._new_tally()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate of this step, and remember what its forward pass will change."""
        steps = partial(steps_before, items=self.train_items, recipe=self.recipe, processes=self.trainer.world_size)
        progress = (steps(self.current_epoch) + batch_idx) / steps(self.recipe.epochs)
        rate = learning_rate(self.recipe, self.finished_losses, progress)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]  # one optimiser, not a list
            group["lr"] = rate
        self._before_step = [buffer.clone() for buffer in self.model.buffers()]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        batch = self.augmented(batch, self.current_epoch)
        prediction, losses = self.losses(batch)
        self._step = prediction.detach(), {name: value.detach() for name, value in losses.items()}, batch
        return losses["loss"]

    def on_after_backward(self) -> None:
        """Count the step in with its gradient clipped, or leave it out where loss or gradient is not finite.

        Raises:
            UserError: no more steps may be left out.
        """
        prediction, losses, batch = self._step
        norm = self.clip_gradient()
        if not (losses["loss"] + norm).isfinite():
            self._leave_out(float(losses["loss"]), batch.indices.tolist())
            return
        self.updating = True
        with torch.autocast(self.device.type, enabled=False):
            self.tallies["train"].update(prediction, losses, batch)

    def clip_gradient(self) -> Tensor:
        """Scale the gradient down to the norm that the recipe allows, and return the norm that it had."""
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        if (clip := self.recipe.optimizer.clip) and norm > clip:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), clip, norm)
        return norm

    def undo_forward(self) -> None:
        """Give the running statistics of the norms back what they were before the step, if one is under way."""
        if self._before_step:
            with torch.no_grad():
                for buffer, before in zip(self.model.buffers(), self._before_step, strict=True):
                    buffer.copy_(before)

    def end_step(self) -> None:
        """Let the step be one that cannot be undone any more."""
        self.updating, self._before_step = False, []

    def _leave_out(self, loss: float, items: list[int]) -> None:
        what = f"the loss is {loss}" if not math.isfinite(loss) else "the gradient is not finite"
        where = f"{what} at step {self.global_step} (items {items})"
        if self.skipped_steps >= self.recipe.skip_nonfinite:
            raise UserError(f"{where}; lower optimizer.lr, or look at these items")
        self.skipped_steps += 1
        if self.trainer.is_global_zero:
            say(f"note: {where}; left out, {self.skipped_steps} of skip_nonfinite={self.recipe.skip_nonfinite}")
        self.undo_forward()
        self.zero_grad(set_to_none=True)  # so that the optimiser has nothing to do

    def on_validation_start(self) -> None:
        """Let all processes validate the network of the first one, whose norms they do not share on a CPU."""
        if self.trainer.world_size > 1:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def on_validation_epoch_start(self) -> None:
        """Begin the count of the validation."""
        self.tallies |= {part: self._new_tally() for part in self.parts}

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count in a batch of one of the parts."""
        batch = batch.as_float()
        prediction, losses = self.losses(batch)
        with torch.autocast(self.device.type, enabled=False):
            self.tallies[self.parts[dataloader_idx]].update(prediction, losses, batch)

    def on_validation_epoch_end(self) -> None:
        """Log the figures over all parts, as `validation/iou` and so on, and remember the loss for the schedule."""
        figures = {name: value for name, value in self._validation().items() if value is not None}
        self.log_dict({f"validation/{name}": value for name, value in figures.items()})
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.finished_losses[self.current_epoch :] = [figures["loss"]]

    def figures(self) -> dict[str, Figures]:
        """Return the epoch's losses and metrics: of `train`, of `validation` over all parts, and of each part."""
        return {"train": self.tallies["train"].compute(), "validation": self._validation()} | {
            part: self.tallies[part].compute() for part in self.parts
        }

    def _validation(self) -> Figures:
        first, *others = (self.tallies[part] for part in self.parts)
        everything = deepcopy(first)
        for tally in others:
            everything.merge(tally)
        return everything.compute()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the schedule goes by, and what the epoch has counted so far, in each process."""
        checkpoint["finished_losses"] = self.finished_losses
        checkpoint["skipped_steps"] = self.skipped_steps
        checkpoint["counted"] = self.tallies["train"].state(self._gather)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        self.finished_losses = checkpoint["finished_losses"]
        self.skipped_steps = checkpoint["skipped_steps"]
        self.tallies["train"] = self._new_tally()
        self.tallies["train"].load(checkpoint["counted"], self.trainer.global_rank, self.trainer.world_size)

    def _new_tally(self) -> Tally:
        # on a resume this is asked for before the network has been moved
        return Tally(self.loss, self.depth, self.trainer.strategy.root_device)

    def _gather(self, x: Tensor) -> Tensor:
        return self.all_gather(x) if self.trainer.world_size > 1 else x[None]  # type: ignore[return-value]  # of a tensor it is one
