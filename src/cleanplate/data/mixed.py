"""Several sources as one: what a training on a data set and on live composition reads."""

import hashlib
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cleanplate.data.card import Card
from cleanplate.data.source import Batch, DataSet, Pictures


class Mixed:
    """Items of several sources, those of the first one first; each source reads its own, from its packs if it has any.

    What two sources call by one name counts as one plate, or one cutout: a split keeps it from training in both, or in
    neither. In a data set of `data compose` each goes by two names: its number, and the file that it was composed of.

    Args:
        sources: one of them at most has depth labels; depth means what it means there.
    """

    def __init__(self, sources: Sequence[DataSet]) -> None:
        self.sources, self.path = sources, sources[0].path
        self._starts = np.array([0, *accumulate(len(source) for source in sources)])
        with_depth = next((source for source in sources if source.labelled().any()), sources[0])
        name = " and ".join(source.card.name for source in sources)
        self.card = Card(name=name, depth=with_depth.card.depth)

    def __len__(self) -> int:
        """Return the number of items."""
        return int(self._starts[-1])

    def batch(self, indices: Sequence[int], size: int, seed: int, epoch: int) -> Batch:
        """Return items at `size` in the order asked for, each as its source has it.

        Raises:
            UserError: as the sources do.
        """
        items = np.asarray(indices, np.int64)
        read = [source.batch(own.tolist(), size, seed, epoch) for source, own in self.share_out(items) if len(own)]
        if any(batch.valid is not None for batch in read):
            read = [batch._replace(valid=_valid(batch)) for batch in read]
        order = torch.from_numpy(np.argsort(self._source_of(items), kind="stable"))
        fields = (_in_order(order, parts) for parts in zip(*read, strict=True))
        merged = Batch(*fields)  # type: ignore[arg-type]  # None stays None, and valid alone may be it
        return merged._replace(indices=torch.from_numpy(items))

    def read(self, index: int) -> Pictures:
        """Return one item at its own size."""
        source, number = self._find(index)
        return source.read(number)

    def name(self, index: int) -> str:
        """Return what an item is called in its source."""
        source, number = self._find(index)
        return source.name(number)

    def plates(self) -> np.ndarray:
        """Return each item's plate, `(N,)`, as bytes that tell plates apart."""
        found, common = [], self._common_names("plates")
        for source in self.sources:
            names, numbers = np.unique(source.plates(), return_inverse=True)
            found.append(np.array([common(name.decode()).encode() for name in names])[numbers])
        return np.concatenate(found)

    def cutouts(self) -> list[tuple[str, ...]]:
        """Return for each item the cutouts that stand in its frame, none for an empty frame."""
        common = self._common_names("cutouts")
        return [tuple(map(common, names)) for source in self.sources for names in source.cutouts()]

    def labelled(self) -> np.ndarray:
        """Return which items have a depth label, `(N,)` bool."""
        return np.concatenate([source.labelled() for source in self.sources])

    def fingerprint(self) -> str:
        """Return what tells these items from others: the SHA-256 of the sources' own."""
        return hashlib.sha256(" ".join(source.fingerprint() for source in self.sources).encode()).hexdigest()

    def share_out(self, items: np.ndarray) -> list[tuple[DataSet, np.ndarray]]:
        """Return each source with those of the items that are its own, in their order and by its own numbers."""
        source_of = self._source_of(items)
        return [
            (source, items[source_of == number] - self._starts[number]) for number, source in enumerate(self.sources)
        ]

    def _source_of(self, items: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._starts, items, side="right") - 1

    def _find(self, index: int) -> tuple[DataSet, int]:
        return next((source, int(own[0])) for source, own in self.share_out(np.array([index])) if len(own))

    def _common_names(self, kind: str) -> Callable[[str], str]:
        """Return what gives a plate or cutout the name by which all sources have it.

        A data set of `data compose` has numbered them, and knows which file each was: both names mean the same one.
        """
        same: dict[str, str] = {}

        def common(name: str) -> str:
            while name in same:
                name = same[name]
            return name

        for source in self.sources:
            files = (source.card.made_by or {}).get(kind)
            for name, file in files.items() if isinstance(files, dict) else ():
                one, other = common(name), common(Path(str(file)).stem)
                if one != other:
                    same[one] = other
        return common


def share_out(data: DataSet, items: np.ndarray) -> list[tuple[DataSet, np.ndarray]]:
    """Return what `data` is mixed of, or itself, each with those of the items that are its own, by its own numbers."""
    return data.share_out(items) if isinstance(data, Mixed) else [(data, items)]


def _valid(batch: Batch) -> Tensor:
    return torch.ones(batch.mask.shape, dtype=torch.bool) if batch.valid is None else batch.valid


def _in_order(order: Tensor, parts: Sequence[Tensor | None]) -> Tensor | None:
    """Return the rows of all parts, the n-th of them at `order[n]`, laid out in memory as they are."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    joined = torch.cat(present)
    placed = torch.empty_like(joined)
    placed[order] = joined
    return placed
