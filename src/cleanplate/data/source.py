"""What training reads: sources of batches, and the loader that asks them.

A source is anything with `len(source)` and `source.batch(indices, size, seed, epoch)`. Whatever a source draws at
random may depend on nothing but (seed, epoch, item), so that any batch can be had again.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cleanplate.errors import UserError
from cleanplate.losses import Target


class Batch(NamedTuple):
    """Items side by side, each on a square canvas of `size` x `size`."""

    plate: Tensor
    """`(B, 3, size, size)` RGB, uint8; float32, 0 to 1, after `as_float`."""
    frame: Tensor
    """As plate."""
    mask: Tensor
    """`(B, 1, size, size)` float32, 0 to 1."""
    depth: Tensor
    """`(B, 1, size, size)` float32, 0 nearest to 1 farthest; 0 where there is no label."""
    has_depth: Tensor
    """`(B,)` bool."""
    valid: Tensor | None
    """`(B, 1, size, size)` bool, False on the padding; None where there is no padding in the batch."""
    indices: Tensor
    """`(B,)` int64: the items' numbers in the source."""

    @property
    def target(self) -> Target:
        """The truth, as losses and metrics take it."""
        return Target(self.mask, self.depth, self.has_depth, self.valid)

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        moved = (None if x is None else x.to(device, non_blocking=True) for x in self)
        return Batch(*moved)  # type: ignore[arg-type]  # None stays None, and valid alone may be it

    def as_float(self) -> "Batch":
        """Return the batch with plate and frame in float32, 0 to 1."""
        return self._replace(plate=self.plate / 255, frame=self.frame / 255)


class Source(Protocol):
    """Where batches come from."""

    def __len__(self) -> int:
        """Return the number of items."""

    def batch(self, indices: Sequence[int], size: int, seed: int, epoch: int) -> Batch:
        """Return the items `indices` at `size`; equal arguments give equal bytes."""


def shuffled(indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return `indices` in the order of `epoch`: a true shuffle that depends on nothing but (seed, epoch)."""
    return np.random.default_rng([seed, epoch]).permutation(indices)


class _Batches(Dataset[Batch | UserError]):
    def __init__(self, source: Source, indices: np.ndarray, size: int, batch_size: int, seed: int, epoch: int) -> None:
        self.source, self.size, self.seed, self.epoch = source, size, seed, epoch
        self.groups = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> Batch | UserError:
        try:
            return self.source.batch(self.groups[number].tolist(), self.size, self.seed, self.epoch)
        except UserError as error:  # handed over, since a worker process would wrap it in a traceback
            return error


class BatchLoader(DataLoader[Batch]):
    """Load the items `indices` of a source, in that order, batch by batch; the last batch may be smaller."""

    def __init__(
        self,
        source: Source,
        indices: np.ndarray,
        *,
        size: int,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        workers: int = 0,
    ) -> None:
        super().__init__(
            _Batches(source, indices, size, batch_size, seed, epoch),  # type: ignore[arg-type]  # errors end in __iter__
            batch_size=None,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # a generator does all that is asked of it
        """Yield the batches; a fault of the data is raised here, as it is."""
        for batch in super().__iter__():
            if isinstance(batch, UserError):
                raise batch
            yield batch
