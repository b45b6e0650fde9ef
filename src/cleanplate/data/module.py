"""The batches of each epoch, phase by phase, for Lightning."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl

from cleanplate.data.mismatch import Mismatched
from cleanplate.data.source import Batch, BatchLoader, Skipped, Source, shuffled
from cleanplate.data.split import Split
from cleanplate.recipe import Phase, Recipe


class PhasedData(pl.LightningDataModule):
    """Training and validation batches at the size and batch size of the current epoch's phase.

    The trainer must ask anew each epoch, and leave the order alone:
    `Trainer(reload_dataloaders_every_n_epochs=1, use_distributed_sampler=False)`. Goes on in mid-epoch where the
    trainer was resumed there. Of several processes each has its share of every training batch, and whole validation
    batches of its own, at least one: they are smaller where there would be too few.

    The recipe's mismatch is in training and validation batches alike. Validation batches are those of epoch 0
    throughout, drawn by the split's seed: whatever the training draws, it is judged by the same pictures.

    Args:
        source: where items come from.
        split: which to train on, and which to validate by.
        recipe: phases and seed.
        workers: processes that read items, beside the one that trains.
        skipped: takes in the items that cannot be read; when None, the first one ends the training.
    """

    def __init__(
        self, source: Source, split: Split, recipe: Recipe, workers: int = 0, skipped: Skipped | None = None
    ) -> None:
        super().__init__()
        self.source = Mismatched(source, recipe.mismatch)
        self.split, self.recipe, self.workers, self.skipped = split, recipe, workers, skipped

    def state_dict(self) -> dict[str, Any]:
        """Return the items left out so far, for the checkpoint."""
        return {"skipped": self.skipped.faults} if self.skipped else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the items that a checkpoint knows to be left out."""
        if self.skipped:
            self.skipped.faults |= state_dict["skipped"]

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
        rank, processes = self._place()
        order, size = shuffled(self.split.train, self.recipe.seed, self.epoch), self.phase.batch_size * processes
        steps = steps_per_epoch(len(order), size)
        shares = [np.array_split(order[n * size : (n + 1) * size], processes)[rank] for n in range(steps)]
        indices, done = np.concatenate(shares), batches_done(self.trainer) if self.trainer else 0
        batch_size = self.phase.batch_size
        return self._load(indices, batch_size, seed=self.recipe.seed, epoch=self.epoch, done=done)

    def val_dataloader(self) -> list[BatchLoader]:
        """Return the validation batches, a loader for each part of the split."""
        rank, processes = self._place()
        parts, size = self.split.parts.values(), self.phase.batch_size
        if sum(-(-len(part) // size) for part in parts) < processes:
            # one that had none would not take part in adding up, and the others would wait for it
            size = sum(map(len, parts)) // processes
        loaders, dealt = [], 0
        for part in parts:
            batches = [part[start : start + size] for start in range(0, len(part), size)]
            indices = np.concatenate([part[:0], *batches[(rank - dealt) % processes :: processes]])
            loaders.append(self._load(indices, size, may_lose_batches=True))
            dealt += len(batches)
        return loaders

    def read(self, items: Sequence[int]) -> Batch:
        """Return items at the current phase's size, as the validation has them."""
        (batch,) = self._load(np.array(items), len(items), workers=0)
        return batch

    def _place(self) -> tuple[int, int]:
        """Return which process this is, and of how many."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _load(
        self,
        indices: np.ndarray,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        done: int = 0,
        workers: int | None = None,
        may_lose_batches: bool = False,  # not in training, where Lightning counts on them
    ) -> BatchLoader:
        return BatchLoader(
            self.source,
            indices,
            size=self.phase.size,
            batch_size=batch_size,
            seed=self.recipe.split.seed if seed is None else seed,
            epoch=epoch,
            workers=self.workers if workers is None else workers,
            done=done,
            skipped=self.skipped,
            may_lose_batches=may_lose_batches,
        )


def is_within_epoch(trainer: pl.Trainer) -> bool:
    """Tell whether an epoch has begun and not ended, be it that it was restored so."""
    epoch: Any = trainer.fit_loop.epoch_progress.current
    return epoch.started > epoch.processed


def batches_done(trainer: pl.Trainer) -> int:
    """Return how many of the epoch's batches are done, before this process was started or since."""
    if not is_within_epoch(trainer):
        return 0
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress
    return progress.current.processed


def steps_per_epoch(items: int, batch_size: int) -> int:
    """Return how many whole batches there are; fewer items than a batch make one small one."""
    return max(1, items // batch_size)


def steps_before(epoch: int, items: int, recipe: Recipe, processes: int = 1) -> int:
    """Return how many steps there are before an epoch, from 0, on so many training items."""
    steps = 0
    for phase in recipe.phases:
        epochs = min(epoch, phase.epochs)
        steps += epochs * steps_per_epoch(items, phase.batch_size * processes)
        epoch -= epochs
    return steps
