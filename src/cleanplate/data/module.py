"""The batches of each epoch, phase by phase, for Lightning."""

import numpy as np
import pytorch_lightning as pl

from cleanplate.data.source import BatchLoader, Source, shuffled
from cleanplate.data.split import Split
from cleanplate.recipe import Phase, Recipe


class PhasedData(pl.LightningDataModule):
    """Training and validation batches at the size and batch size of the current epoch's phase.

    The trainer must ask anew each epoch: `Trainer(reload_dataloaders_every_n_epochs=1)`.

    Args:
        source: where items come from.
        split: which to train on, and which to validate by.
        recipe: phases and seed.
        workers: processes that read items, beside the one that trains.
    """

    def __init__(self, source: Source, split: Split, recipe: Recipe, workers: int = 0) -> None:
        super().__init__()
        self.source, self.split, self.recipe, self.workers = source, split, recipe, workers

    @property
    def epoch(self) -> int:
        """The epoch that is being trained, from 0; the last one when training is over."""
        return min(self.trainer.current_epoch, self.recipe.epochs - 1) if self.trainer else 0

    @property
    def phase(self) -> Phase:
        """The phase of the current epoch."""
        return self.recipe.phases[self.recipe.phase_at(self.epoch)[0]]

    def train_dataloader(self) -> BatchLoader:
        """Return the epoch's training batches in their order; what does not fill a batch waits for another epoch."""
        order = shuffled(self.split.train, self.recipe.seed, self.epoch)
        size = self.phase.batch_size
        return self._load(order[: steps_per_epoch(len(order), size) * size])

    def val_dataloader(self) -> list[BatchLoader]:
        """Return the validation batches, a loader for each part of the split."""
        return [self._load(part) for part in self.split.parts.values()]

    def _load(self, indices: np.ndarray) -> BatchLoader:
        phase = self.phase
        return BatchLoader(
            self.source,
            indices,
            size=phase.size,
            batch_size=phase.batch_size,
            seed=self.recipe.seed,
            epoch=self.epoch,
            workers=self.workers,
        )


def steps_per_epoch(items: int, batch_size: int) -> int:
    """Return how many whole batches there are; fewer items than a batch make one small one."""
    return max(1, items // batch_size)


def steps_of_run(items: int, recipe: Recipe) -> int:
    """Return how many steps the whole run takes on so many training items."""
    return sum(phase.epochs * steps_per_epoch(items, phase.batch_size) for phase in recipe.phases)
