"""What happens in a step: the network, its loss and its metrics, as a LightningModule."""

from collections import defaultdict
from copy import deepcopy
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import MeanMetric

from cleanplate.data.augment import augment, flip
from cleanplate.data.card import DepthMeaning, Normalisation
from cleanplate.data.module import steps_of_run
from cleanplate.data.source import Batch
from cleanplate.errors import UserError
from cleanplate.losses import create_loss
from cleanplate.metrics import MaskDepthMetrics
from cleanplate.models import Prediction, create_model
from cleanplate.models.ready import Normalise, ReadyModel
from cleanplate.recipe import Recipe, Sgd
from cleanplate.train.schedule import learning_rate

Figures = dict[str, float | None]


class Tally:
    """Losses and metrics over the batches of an epoch."""

    def __init__(self, depth: DepthMeaning, device: torch.device) -> None:
        self.metrics = MaskDepthMetrics(depth.near, depth.far).to(device)
        self.losses: defaultdict[str, MeanMetric] = defaultdict(partial(_mean, device))

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

    def compute(self) -> Figures:
        """Return `loss`, its parts and the metrics."""
        losses: Figures = {name: float(mean.compute()) for name, mean in self.losses.items()}
        return losses | self.metrics.compute()


def _mean(device: torch.device) -> MeanMetric:
    return MeanMetric().to(device)


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
        self.total_steps = steps_of_run(train_items, recipe)
        self.model = create_model(recipe.model)
        self.loss = create_loss(recipe.loss)
        self.normalise_plate = Normalise(normalisation.plate.mean, normalisation.plate.std)
        self.normalise_frame = Normalise(normalisation.frame.mean, normalisation.frame.std)
        self.tallies: dict[str, Tally] = {}
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
        batch = flip(batch.as_float(), settings.horizontal_flip, seed=seed, epoch=epoch)
        indices = batch.indices.tolist()
        plate, frame = augment(batch.plate, batch.frame, settings, seed=seed, epoch=epoch, indices=indices)
        return batch._replace(plate=plate, frame=frame)

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
        return torch.optim.AdamW(self.model.parameters(), settings.lr, weight_decay=settings.weight_decay, fused=True)

    def on_train_epoch_start(self) -> None:
        """Begin the count of the epoch."""
        self.tallies["train"] = Tally(self.depth, self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate of this step."""
        rate = learning_rate(self.recipe, self.finished_losses, self.global_step / self.total_steps)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]  # one optimiser, not a list
            group["lr"] = rate

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Raises:
            UserError: the loss is not finite.
        """
        batch = self.augmented(batch, self.current_epoch)
        loss = self._count(self.tallies["train"], batch)
        if not loss.isfinite():
            raise UserError(
                f"the loss is {loss.item()} at step {self.global_step} (items {batch.indices.tolist()}); "
                "lower optimizer.lr, or look at these items"
            )
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin the count of the validation."""
        self.tallies |= {part: Tally(self.depth, self.device) for part in self.parts}

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Count in a batch of one of the parts."""
        self._count(self.tallies[self.parts[dataloader_idx]], batch.as_float())

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
        """Keep what the schedule goes by."""
        checkpoint["finished_losses"] = self.finished_losses

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again."""
        self.finished_losses = checkpoint["finished_losses"]

    def _count(self, tally: Tally, batch: Batch) -> Tensor:
        """Predict, count loss and metrics in, return the loss."""
        prediction, losses = self.losses(batch)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            tally.update(prediction, losses, batch)
        return losses["loss"]
