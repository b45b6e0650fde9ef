"""What training reads: sources of batches, and the loader that asks them.

A source is anything with `len(source)` and `source.batch(indices, size, seed, epoch)`. Whatever a source draws at
random may depend on nothing but (seed, epoch, item), so that any batch can be had again. `cleanplate train` asks more
of it, since it splits, normalises and names it: a `DataSet`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cleanplate.data.card import Card
from cleanplate.errors import UserError
from cleanplate.losses import Target
from cleanplate.recipe import Recipe


class Pictures(NamedTuple):
    """One item at its own size; all of one height and width."""

    plate: np.ndarray
    """`(H, W, 3)` uint8 RGB."""
    frame: np.ndarray
    """`(H, W, 3)` uint8 RGB."""
    mask: np.ndarray
    """`(H, W)` uint8, 255 where foreground."""
    depth: np.ndarray | None
    """`(H, W)` uint16, 0 nearest; None where there is no label."""


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

    @classmethod
    def of(
        cls,
        plate: np.ndarray,
        frame: np.ndarray,
        mask: np.ndarray,
        depth: np.ndarray | None,
        inner: np.ndarray,
        has_depth: np.ndarray,
        indices: Sequence[int],
    ) -> "Batch":
        """Make a batch of arrays.

        Args:
            plate: `(B, size, size, 3)` uint8 RGB.
            frame: as plate.
            mask: `(B, size, size)` uint8, 255 where foreground.
            depth: `(B, size, size)` uint16, 0 nearest; None where no item has a label.
            inner: `(B, 2)`: height and width of each picture on its canvas.
            has_depth: `(B,)` bool.
            indices: the items' numbers.
        """
        size = mask.shape[1]
        valid = None
        if (inner != size).any():
            within = np.arange(size) < inner[..., None]  # (B, 2, size)
            valid = torch.from_numpy(within[:, 0, :, None] & within[:, 1, None, :])[:, None]
        depths = np.zeros(mask.shape, np.float32) if depth is None else _as_share(depth)
        return cls(
            plate=torch.from_numpy(plate).permute(0, 3, 1, 2),
            frame=torch.from_numpy(frame).permute(0, 3, 1, 2),
            mask=torch.from_numpy(_as_share(mask))[:, None],
            depth=torch.from_numpy(depths)[:, None],
            has_depth=torch.from_numpy(has_depth),
            valid=valid,
            indices=torch.tensor(indices, dtype=torch.int64),
        )

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
        # not `uint8 / 255`, which comes to the same and takes thirty times as long
        return self._replace(plate=self.plate.float().div_(255), frame=self.frame.float().div_(255))


def _as_share(values: np.ndarray) -> np.ndarray:
    """Return whole numbers as float32, of the largest there can be."""
    return np.true_divide(values, np.float32(np.iinfo(values.dtype).max), dtype=np.float32)


class Source(Protocol):
    """Where batches come from."""

    def __len__(self) -> int:
        """Return the number of items."""

    def batch(self, indices: Sequence[int], size: int, seed: int, epoch: int) -> Batch:
        """Return the items `indices` at `size`; equal arguments give equal bytes."""


class DataSet(Source, Protocol):
    """A source with what a training asks of the whole of it, and an evaluation of its items."""

    path: Path
    card: Card

    def read(self, index: int) -> Pictures:
        """Return one item at its own size."""

    def name(self, index: int) -> str:
        """Return what an item is called."""

    def plates(self) -> np.ndarray:
        """Return each item's plate, `(N,)`, as anything that tells plates apart."""

    def cutouts(self) -> list[tuple[str, ...]]:
        """Return for each item the cutouts that stand in its frame, none for an empty frame."""

    def labelled(self) -> np.ndarray:
        """Return which items have a depth label, `(N,)` bool."""

    def fingerprint(self) -> str:
        """Return what tells this data set's items from another's."""


def shuffled(indices: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return `indices` in the order of `epoch`: a true shuffle that depends on nothing but (seed, epoch)."""
    return np.random.default_rng([seed, epoch]).permutation(indices)


class Skipped:
    """Items that cannot be read, and are left out of their batches; 1 % of all items at most.

    Args:
        items: how many items there are.
    """

    def __init__(self, items: int) -> None:
        self.limit = items // 100
        self.faults: dict[int, str] = {}
        """What is wrong with each item."""

    def note(self, index: int, fault: str) -> None:
        """Take in an item.

        Raises:
            UserError: it is one too many.
        """
        if index not in self.faults and len(self.faults) >= self.limit:
            raise UserError(f"{fault}; on_bad_item=skip leaves out {self.limit} items at most, 1 % of all")
        self.faults[index] = fault


def skipped_by(recipe: Recipe, source: Source) -> Skipped | None:
    """Return what takes in the items that cannot be read; None where the recipe has the first one end everything."""
    return Skipped(len(source)) if recipe.on_bad_item == "skip" else None


def read_good(data: DataSet, index: int, skipped: Skipped | None) -> Pictures | None:
    """Return one item at its own size; None where it cannot be read and `skipped` takes it in.

    Raises:
        UserError: it cannot be read and `skipped` is None, or it is one too many.
    """
    try:
        return data.read(index)
    except UserError as error:
        if not skipped:
            raise
        skipped.note(index, str(error))
        return None


class _Batches(Dataset[tuple[Batch | UserError, dict[int, str]]]):
    """Batches with the faults of items left out; a fault that ends all is handed over, not raised.

    A worker process would wrap it in a traceback.
    """

    def __init__(
        self, source: Source, indices: np.ndarray, size: int, batch_size: int, seed: int, epoch: int, skip_bad: bool
    ) -> None:
        self.source, self.size, self.seed, self.epoch, self.skip_bad = source, size, seed, epoch, skip_bad
        self.groups = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> tuple[Batch | UserError, dict[int, str]]:
        items = self.groups[number].tolist()
        try:
            return self._read(items), {}
        except UserError as error:
            faults = {item: fault for item in items if (fault := self._fault_of(item))} if self.skip_bad else {}
            good = [item for item in items if item not in faults]
            return (self._read(good) if good else error, faults) if faults else (error, {})

    def _read(self, items: list[int]) -> Batch:
        return self.source.batch(items, self.size, self.seed, self.epoch)

    def _fault_of(self, item: int) -> str | None:
        try:
            self._read([item])
        except UserError as error:
            return str(error)
        return None


def _without_threads(_: int) -> None:
    """Let a worker do all by itself: a fork has none of the threads that OpenCV had, and may wait for them for ever."""
    cv2.setNumThreads(0)


class BatchLoader(DataLoader[Batch]):
    """Load the items `indices` of a source, in that order, batch by batch; the last batch may be smaller.

    Args:
        source: where items come from.
        indices: their numbers.
        size: pixels a side.
        batch_size: items a batch.
        seed: of what the source draws at random.
        epoch: likewise.
        workers: processes that read, beside this one.
        done: so many batches are not loaded; the length stays that of all.
        skipped: takes in the items that cannot be read, which their batches then do without; when None, the first one
            ends everything.
        may_lose_batches: leave out a batch of which no item can be read, too; otherwise that ends everything.
    """

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
        done: int = 0,
        skipped: Skipped | None = None,
        may_lose_batches: bool = False,
    ) -> None:
        batches = _Batches(source, indices, size, batch_size, seed, epoch, skipped is not None)
        self.skipped, self.may_lose_batches = skipped, may_lose_batches
        super().__init__(
            batches,  # type: ignore[arg-type]  # errors end in __iter__
            batch_size=None,
            sampler=range(done, len(batches)),
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_without_threads,
        )

    def __len__(self) -> int:
        """Return the number of all batches, done ones included."""
        return len(self.dataset)  # type: ignore[arg-type]  # ours has a length

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # a generator does all that is asked of it
        """Yield the batches; a fault of the data is raised here, as it is."""
        for batch, faults in super().__iter__():  # what _Batches gives
            if self.skipped:
                for item, fault in faults.items():
                    self.skipped.note(item, fault)
            if not isinstance(batch, UserError):
                yield batch
            elif not (faults and self.may_lose_batches):
                raise batch
