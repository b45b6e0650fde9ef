"""A network that has learned nothing, with its optimiser and endless batches: to try out steps on."""

from collections.abc import Iterator
from itertools import count

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor

from cleanplate.data.mismatch import Mismatched
from cleanplate.data.module import steps_per_epoch
from cleanplate.data.source import Batch, BatchLoader, DataSet, shuffled, skipped_by
from cleanplate.data.split import Split
from cleanplate.data.statistics import normalisation_of
from cleanplate.device import pick_device
from cleanplate.errors import UserError
from cleanplate.recipe import Phase, Recipe
from cleanplate.train.compute import arrange, choose_compute
from cleanplate.train.task import CleanplateTask


class Trial:
    """What a training step takes, outside any run.

    Args:
        recipe: network, loss, optimiser, mismatch, augmentation.
        folder: the data set.
        split: its split.
    """

    def __init__(self, recipe: Recipe, folder: DataSet, split: Split) -> None:
        self.recipe, self.source, self.split = recipe, Mismatched(folder, recipe.mismatch), split
        self.path, self.skipped = folder.path, skipped_by(recipe, folder)
        self.device = pick_device()
        self.compute = choose_compute(recipe, self.device)
        with isolate_rng():
            pl.seed_everything(recipe.seed, verbose=False)
            normalisation = normalisation_of(folder, self.skipped, keep=False)
            self.task = CleanplateTask(
                recipe, normalisation, folder.card.depth, list(split.parts), len(split.train)
            ).to(self.device)
        arrange(self.task.model, self.compute)
        self.optimizer = self.task.configure_optimizers()
        self.optimizer.register_step_pre_hook(self._clip)
        bfloat16 = self.compute["precision"] == "bfloat16"
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16)
        self.epochs = count()

    def batches(self, phase: Phase) -> Iterator[tuple[int, Batch]]:
        """Yield training batches as a phase has them, with the number of their epoch; every call begins a new epoch."""
        for epoch in self.epochs:
            order = shuffled(self.split.train, self.recipe.seed, epoch)
            items = order[: steps_per_epoch(len(order), phase.batch_size) * phase.batch_size]
            yield from ((epoch, batch) for batch in self._read(items, phase, self.recipe.seed, epoch))

    def held_out(self, phase: Phase) -> Batch:
        """Return the first batch of items to validate by that can be read, as a training's validation has it."""
        items = next(iter(self.split.parts.values()))
        return self._first_of(items, phase, self.recipe.split.seed).as_float()

    def first(self, items: int, phase: Phase) -> Batch:
        """Return the first items to train on, as many as are asked for."""
        return self._first_of(self.split.train[:items], phase, self.recipe.seed)

    def training_loss(self, numbered: tuple[int, Batch]) -> Tensor:
        """Return the loss of a batch of an epoch, augmented."""
        epoch, batch = numbered
        with self.autocast:
            return self.task.losses(self.task.augmented(batch, epoch))[1]["loss"]

    def step(self, numbered: tuple[int, Batch]) -> Tensor:
        """Take a whole training step, and return its loss."""
        loss = self.training_loss(numbered)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def _first_of(self, items: np.ndarray, phase: Phase, seed: int) -> Batch:
        for batch in self._read(items, phase, seed):
            return batch
        mend = "`cleanplate data check` names them"
        raise UserError(f"{self.path}: none of the {len(items)} items that are tried can be read; {mend}")

    def _read(self, items: np.ndarray, phase: Phase, seed: int, epoch: int = 0) -> Iterator[Batch]:
        """Yield items as a phase has them, those that cannot be read left out where the recipe says so."""
        loader = BatchLoader(
            self.source,
            items,
            size=phase.size,
            batch_size=phase.batch_size,
            seed=seed,
            epoch=epoch,
            skipped=self.skipped,
            may_lose_batches=True,
        )
        return (batch.to(self.device) for batch in loader)

    def _clip(self, *_: object) -> None:
        self.task.clip_gradient()

    @torch.no_grad()
    def validation_loss(self, held_out: Batch) -> float:
        """Return the loss of a batch as the validation has it."""
        self.task.model.eval()
        with self.autocast:
            loss = float(self.task.losses(held_out)[1]["loss"])
        self.task.model.train()
        return loss
