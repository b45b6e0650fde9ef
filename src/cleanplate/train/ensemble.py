"""Weights between those that a training was given and those that it has come to."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from cleanplate.train.task import CleanplateTask


class WeightEnsemble(Callback):
    """Judge and write down, after each epoch, the mean of the given weights and of the trained ones.

    Training goes on from the trained ones. What a network knew of other pictures suffers less so: Wortsman et al.,
    "Robust fine-tuning of zero-shot models", 2022. Belongs between what writes weights down and what writes states.

    Args:
        given: the state dict that the training began with.
        share: of the given weights in the mean, 0 to 1.
    """

    def __init__(self, given: dict[str, Tensor], share: float) -> None:
        self.given, self.share = given, share

    @torch.no_grad()
    def on_validation_epoch_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Put the mean in the place of the trained weights."""
        if not isinstance(task, CleanplateTask):
            raise TypeError("WeightEnsemble goes with CleanplateTask")
        weights = task.model.state_dict()
        self.trained = {name: value.clone() for name, value in weights.items()}
        for name, value in weights.items():
            if value.is_floating_point():
                value.lerp_(self.given[name].to(value.device), self.share)

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Give the training its own weights back."""
        assert isinstance(task, CleanplateTask)
        task.model.load_state_dict(self.trained)
