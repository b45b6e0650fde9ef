"""Packs: the items of a data set decoded and resized once, in files that batches are read from by position.

A pack is a folder, `packs/96` in its data set folder for 96x96. Each of its files is a plain `.npy` array with a row an
item, `plate.npy` with a row a plate.
"""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from cleanplate.data.card import explain
from cleanplate.data.modest import FIELDS, FOLDERS, ModestFolder
from cleanplate.data.rows import PACK_AGAIN, Rows
from cleanplate.data.source import Batch, Pictures
from cleanplate.errors import UserError
from cleanplate.files import read_file

PACKS = "packs"
PACK_CARD = "pack.json"
CHUNK = 256
"""Items that are packed, recorded and verified together."""
LOOKED_THROUGH = 20_000
"""Of sets of so many items all files are looked at for changes when they are opened."""
LOOKED_AT = 2_000
"""Of a larger set, those of so many items, other ones each time."""


class PackCard(BaseModel):
    """The content of `pack.json`."""

    model_config = ConfigDict(extra="forbid")
    format: Literal[1] = 1
    size: int
    """Pixels a side."""
    file_map: str
    """The fingerprint of the data set."""
    opencv: str
    """The version that has decoded and resized; another one's answers may differ by a bit."""
    source: str
    """Where the pictures lay."""
    folders: dict[str, int]
    """When each folder of pictures was changed, in nanoseconds: a file came, went or was renamed."""
    chunks: list[dict[str, int] | None]
    """The CRC-32 of each chunk's rows in each file; None where they are still to be packed."""
    faults: dict[int, str] = {}
    """What is wrong with the items that could not be read."""
    whole: bool = False
    """All of it is on the disk, and what was read back is what was written."""


class Plates(NamedTuple):
    """The plates of a data set, each with a row of its own."""

    row: np.ndarray
    """`(N,)`: of each item's plate."""
    first: np.ndarray
    """`(P,)`: the first item of each plate."""

    @classmethod
    def of(cls, folder: ModestFolder) -> "Plates":
        """Number the plates of a data set."""
        _, first, row = np.unique(folder.plates(), return_index=True, return_inverse=True)
        return cls(row, first)


def layout(folder: ModestFolder, plates: Plates, size: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return type and shape of each file of a pack."""
    items, square = len(folder), (size, size)
    files: dict[str, tuple[str, tuple[int, ...]]] = {
        "plate": ("|u1", (len(plates.first), *square, 3)),
        "frame": ("|u1", (items, *square, 3)),
        "mask": ("|u1", (items, *square)),
        "depth": ("<u2", (items, *square)),
        "inner": ("<u2", (items, 2)),  # height and width of the picture on its canvas; 0 of an item with a fault
        "stamp": ("<u4", (items, len(FIELDS))),  # tells whether its files have changed
    }
    if not folder.labelled().any():
        del files["depth"]
    return files


def stamps(folder: ModestFolder, items: Sequence[int]) -> np.ndarray:
    """Return what changes with size, name or time of change of each item's files, `(len(items), 4)`; 0: no file."""
    plates: dict[str, int] = {}
    found = np.zeros((len(items), len(FIELDS)), np.uint32)
    for row, item in enumerate(items):
        name = folder.name(item, "plate")
        if name not in plates:
            plates[name] = _stamp(folder, item, "plate")
        found[row] = plates[name], *(_stamp(folder, item, field) for field in FIELDS[1:])
    return found


def _stamp(folder: ModestFolder, item: int, field: str) -> int:
    if not folder.name(item, field):
        return 0
    try:
        path = folder.find(item, field)
        status = path.stat()
    except (UserError, OSError):
        return 0
    return zlib.crc32(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())


def folder_times(folder: ModestFolder) -> dict[str, int]:
    """Return when each folder of pictures was changed."""
    return {field: path.stat().st_mtime_ns or 0 for field, path in folder.folders.items()}


def read_pack_card(place: Path) -> PackCard:
    """Read `pack.json`.

    Raises:
        UserError: it is missing or damaged.
    """
    path = place / PACK_CARD
    try:
        return PackCard.model_validate_json(read_file(path, f"missing; {PACK_AGAIN}"))
    except ValidationError as error:
        raise UserError(f"{path}: damaged ({explain(error)}); {PACK_AGAIN}") from None


def find_packs(path: Path) -> Iterator[tuple[int, Path]]:
    """Yield size and folder of every pack in a data set folder, the smallest first."""
    folders = [place for place in (path / PACKS).glob("*") if place.name.isdecimal() and place.is_dir()]
    yield from sorted((int(place.name), place) for place in folders)


class Pack:
    """A whole pack that fits its data set.

    Args:
        place: its folder.
        folder: the data set.
        plates: its plates.

    Raises:
        UserError: it is not whole, is damaged, or is out of date.
    """

    def __init__(self, place: Path, folder: "PackedFolder", plates: Plates) -> None:
        self.place, self.plates, self.card = place, plates, read_pack_card(place)
        if not self.card.whole:
            raise UserError(f"{place}: packed in part only; pack again, which goes on where it stopped")
        if self.card.size != int(place.name) or self.card.file_map != folder.fingerprint():
            raise UserError(f"{place}: out of date (file_map.txt has changed since); {PACK_AGAIN}")
        files = layout(folder, plates, self.card.size)
        self.rows = {name: Rows(place / f"{name}.npy", *kind) for name, kind in files.items()}
        self.inner = self.rows.pop("inner").take(range(len(folder)))
        self._labelled = folder.labelled()
        self.source = self.card.source if folder.is_bare else folder.path
        if not folder.is_bare:
            self._require_fresh(folder)

    def _require_fresh(self, folder: ModestFolder) -> None:
        if self.card.opencv != cv2.__version__:
            raise UserError(f"{self.place}: out of date (packed with OpenCV {self.card.opencv}); {PACK_AGAIN}")
        items = np.arange(len(folder))
        if len(items) > LOOKED_THROUGH and self.card.folders == folder_times(folder):
            some = np.random.default_rng().choice(items, LOOKED_AT, replace=False)
            items = np.union1d(some, np.array([*self.card.faults, *self.plates.first[:LOOKED_AT]], int))
        changed = items[(stamps(folder, items.tolist()) != self.rows["stamp"].take(items.tolist())).any(1)]
        if len(changed):
            name = folder.name(changed[0])
            raise UserError(f"{self.place}: out of date (pictures of {name} have changed since); {PACK_AGAIN}")

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return items as their data set folder gives them at this size.

        Raises:
            UserError: one of them could not be read when it was packed, or cannot be now.
        """
        items = np.arange(len(self.inner))[list(indices)]
        inner, numbers = self.inner[items], items.tolist()
        for item in items[inner[:, 0] == 0].tolist():
            raise UserError(f"{self.source}/{self.card.faults.get(item, f'item {item} is not in the pack')}")
        return Batch.of(
            self.rows["plate"].take(self.plates.row[items].tolist()),
            self.rows["frame"].take(numbers),
            self.rows["mask"].take(numbers),
            self.rows["depth"].take(numbers) if "depth" in self.rows else None,
            inner,
            self._labelled[items],
            indices,
        )

    def read(self, item: int) -> Pictures:
        """Return an item as it lies on its canvas, without padding."""
        self.batch([item])  # refuses one that could not be read
        height, width = self.inner[item].tolist()
        rows = {name: file.take([item])[0, :height, :width] for name, file in self.rows.items() if name in FIELDS[1:]}
        plate = self.rows["plate"].take([int(self.plates.row[item])])[0, :height, :width]
        return Pictures(plate, rows["frame"], rows["mask"], rows["depth"] if self._labelled[item] else None)


class PackedFolder(ModestFolder):
    """A data set folder whose batches come from its packs, where it has one of their size.

    The pictures themselves may be elsewhere: `data pack ZIP OUT` makes a folder of packs alone. Then an item's own size
    is that of the largest pack.

    Raises:
        UserError: as `ModestFolder`; or a pack is at fault where there are no pictures to read instead.
    """

    def __init__(self, path: Path | str) -> None:
        self.packs: dict[int, Pack] = {}
        self.unusable: dict[int, str] = {}
        """Of packs that are not used, why."""
        super().__init__(path)
        if any(find_packs(self.path)):
            self.load_packs()

    def _find_folders(self) -> dict[str, Path]:
        names = [name for names in FOLDERS.values() for name in names]
        self.is_bare = any(find_packs(self.path)) and not any((self.path / name).is_dir() for name in names)
        return {} if self.is_bare else super()._find_folders()

    def load_packs(self) -> None:
        """Take up the packs that lie in the folder now."""
        self.packs, self.unusable = {}, {}
        plates = Plates.of(self)
        for size, place in find_packs(self.path):
            try:
                self.packs[size] = Pack(place, self, plates)
            except UserError as error:
                if self.is_bare:
                    raise
                self.unusable[size] = str(error)

    def read(self, index: int) -> Pictures:
        """Return one item at its own size, or that of the largest pack where the pictures are elsewhere."""
        return self.packs[max(self.packs)].read(index) if self.is_bare else super().read(index)

    def batch(self, indices: Sequence[int], size: int, seed: int, epoch: int) -> Batch:
        """Return items on canvases of `size` x `size`; nothing here is drawn at random.

        Raises:
            UserError: an item cannot be read, or there are neither pictures nor a pack of this size.
        """
        if size in self.packs:
            return self.packs[size].batch(indices)
        if self.is_bare:
            sizes = ", ".join(f"{size}x{size}" for size in self.packs)
            source = next(iter(self.packs.values())).card.source
            mend = f"`cleanplate data pack {source} {self.path} --size {size}` adds one"
            raise UserError(f"{self.path}: holds packs of {sizes} alone, and none of {size}x{size}; {mend}")
        return super().batch(indices, size, seed, epoch)

    def require_readable(self, items: np.ndarray) -> None:
        """Refuse items that could not be read when they were packed.

        Raises:
            UserError: names the first.
        """
        for size, pack in self.packs.items():
            bad = sorted(set(pack.card.faults).intersection(items.tolist()))
            if bad:
                self.batch(bad[:1], size, 0, 0)
