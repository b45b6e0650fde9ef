"""Make packs: in parallel, whole or not at all, and from where a kill has left them."""

import os
import shutil
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel

from cleanplate.cores import count_cores
from cleanplate.data.card import write_card
from cleanplate.data.modest import FILE_MAP, ModestFolder, on_canvas
from cleanplate.data.pack import (
    CHUNK,
    PACK_CARD,
    PACKS,
    PackCard,
    Plates,
    folder_times,
    layout,
    read_pack_card,
    stamps,
)
from cleanplate.data.rows import Rows
from cleanplate.data.source import Skipped
from cleanplate.data.statistics import measure
from cleanplate.errors import UserError
from cleanplate.files import alone_in, read_file, require_vacant, whole_folder, write_bytes
from cleanplate.pictures import Canvas, read_rgb, require_multiple
from cleanplate.progress import say, track
from cleanplate.zips import ZipPath

ROOM = 1.05
"""So many times a pack's size must be free."""
TRIED = 64
"""Items that are read to tell how long all will take."""
RECORDED = 1.0
"""Seconds between two records of how far it has come."""


class Packed(BaseModel):
    """What `cleanplate data pack` has made."""

    path: str
    """The data set folder that holds the packs."""
    items: int
    plates: int
    sizes: list[int]
    bytes: int
    faults: list[str]
    """What is wrong with items that could not be read."""
    seconds: float


def pack(
    data: Path | str, out: Path | str | None = None, *, sizes: Sequence[int], workers: int | None = None
) -> Packed:
    """Pack a data set, or go on with it; what is packed already is verified.

    Args:
        data: a data set folder, or the zip of one, which is not unpacked.
        out: the folder to make, of packs alone; needed for a zip. The packs lie in the data set folder when None.
        sizes: pixels a side; a pack for each.
        workers: number of threads, one a core when None.

    Raises:
        UserError: the data set cannot be read, `out` holds something else, a size is none, or there is too little room.
    """
    start = time.perf_counter()
    for size in sizes:
        require_multiple(size, "--size")
    source = _open_source(Path(data))
    if out is None and Path(data).is_file():
        raise UserError(f"{data}: is a zip; name the folder to pack it into, such as `data pack {data} packed`")
    folder = Path(out) if out else source.path
    if out:
        _make_folder(source, folder)
    packing = [Packing(source, folder, size) for size in sorted(set(sizes))]
    cards = [one.run(workers) for one in packing]
    faults = {item: fault for card in cards for item, fault in card.faults.items()}
    return Packed(
        path=str(folder),
        items=len(source),
        plates=len(packing[0].plates.first),
        sizes=[card.size for card in cards],
        bytes=sum(one.bytes for one in packing),
        faults=[f"{source.path}/{fault}" for _, fault in sorted(faults.items())],
        seconds=round(time.perf_counter() - start, 2),
    )


def _open_source(data: Path) -> ModestFolder:
    return ModestFolder(ZipPath.find_folder_of(data, FILE_MAP) if data.is_file() else data)


def _make_folder(source: ModestFolder, out: Path) -> None:
    """Make a data set folder without pictures, or find the one made before."""
    if (out / PACKS).is_dir() and (out / FILE_MAP).is_file():
        if read_file(out / FILE_MAP, "missing") != read_file(source.path / FILE_MAP, "missing"):
            raise UserError(f"{out}: holds packs of another data set; choose another folder")
        return
    require_vacant(out)
    if source.card.normalisation is None:
        source.card.normalisation = measure(source, Skipped(50 * len(source))).normalisation  # half of them at most
    with whole_folder(out) as partial:
        (partial / PACKS).mkdir()
        write_card(partial, source.card)
        for name in (FILE_MAP, "items.csv"):
            if (source.path / name).exists():
                write_bytes(partial / name, read_file(source.path / name, "missing"))


class Packing:
    """The making of one pack.

    Args:
        source: the data set.
        folder: the data set folder that is to hold the pack, the source's own or another.
        size: pixels a side.
    """

    def __init__(self, source: ModestFolder, folder: Path, size: int) -> None:
        self.source, self.size = source, size
        self.place = folder / PACKS / str(size)
        self.plates = Plates.of(source)
        self.kinds = layout(source, self.plates, size)
        self.bytes = sum(np.dtype(dtype).itemsize * int(np.prod(shape)) for dtype, shape in self.kinds.values())

    def missing_bytes(self) -> int:
        """Return how much more of the disk the pack will take."""
        if not self.place.is_dir():
            return self.bytes
        # on the disk as such: what is not packed yet is a hole in its file
        return max(0, self.bytes - sum(path.stat().st_blocks * 512 for path in self.place.iterdir()))

    def run(self, workers: int | None = None) -> PackCard:
        """Pack what is not packed yet, and read it back.

        Raises:
            UserError: there is too little room, or what is read back is not what was written.
            OSError: the disk is full after all, or cannot be written to.
        """
        self.place.mkdir(parents=True, exist_ok=True)
        with (
            alone_in(self.place, lambda: say(f"{self.place}: another process is packing; waiting for it")),
            ThreadPoolExecutor(workers or count_cores()) as pool,
        ):
            try:
                return self._run(pool)
            except BaseException:  # Ctrl-C too: what waits is not to be begun
                pool.shutdown(cancel_futures=True)
                raise

    def _run(self, pool: ThreadPoolExecutor) -> PackCard:
        card = self._begin(pool)
        missing = [number for number, sums in enumerate(card.chunks) if sums is None]
        if not missing and card.whole:
            say(f"{self.place}: packed already, and verified")
            self._record(card)
            return card
        if len(missing) < len(card.chunks):
            say(f"{self.place}: going on, {len(missing)} of {len(card.chunks)} chunks are to be packed")
        self._announce(pool, len(missing))
        card.whole, recorded = False, time.monotonic()
        self._record(card)
        try:
            made = track(pool.map(self._make, missing), len(missing), f"packing at {self.size}x{self.size}")
            for number, (sums, faults) in zip(missing, made, strict=True):
                card.chunks[number] = sums
                card.faults |= faults
                if time.monotonic() - recorded > RECORDED:
                    self._record(card)
                    recorded = time.monotonic()
        finally:
            with suppress(OSError):  # of a full disk, say: that is told already
                self._record(card)
        for rows in self.rows.values():
            os.fsync(rows.file.fileno())
            if hasattr(os, "posix_fadvise"):  # so that it is read back from the disk
                os.posix_fadvise(rows.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if bad := self._damaged(pool, card, missing):
            raise UserError(f"{self.place}: chunk {bad[0]} is not read back as it was written; the disk is at fault")
        card.whole = True
        self._record(card)
        return card

    def _begin(self, pool: ThreadPoolExecutor) -> PackCard:
        """Return the card of what is there and still good, its other chunks None, and open the files."""
        new = PackCard(
            size=self.size,
            file_map=self.source.fingerprint(),
            opencv=cv2.__version__,
            source=str(self.source.path),
            folders=folder_times(self.source),
            chunks=[None] * -(-len(self.source) // CHUNK),
        )
        card = new
        try:
            before = read_pack_card(self.place)
            self._open_files()
            if all(getattr(before, key) == getattr(new, key) for key in ("size", "file_map", "opencv")):
                card = before
        except (UserError, OSError):
            pass
        if card is new:
            for path in self.place.glob("*.npy"):  # not emptied, since a training may have them open
                path.unlink()
            (self.place / PACK_CARD).unlink(missing_ok=True)
            self._open_files()
            return card
        done = [number for number, sums in enumerate(card.chunks) if sums is not None]
        items = [item for number in done for item in self._items(number)]
        changed = (stamps(self.source, items) != self.rows["stamp"].take(items)).any(1)
        again = {item // CHUNK for item in np.array(items, int)[changed].tolist()}
        damaged = self._damaged(pool, card, [number for number in done if number not in again])
        for number, why in [*((n, "pictures have changed") for n in again), *((n, "damaged") for n in damaged)]:
            say(f"note: {self.place}: {why}; chunk {number} is packed anew")
            card.chunks[number] = None
        card.faults = {item: fault for item, fault in card.faults.items() if card.chunks[item // CHUNK] is not None}
        card.folders, card.source = new.folders, new.source
        return card

    def _open_files(self) -> None:
        self.rows = {name: Rows(self.place / f"{name}.npy", *kind, create=True) for name, kind in self.kinds.items()}

    def _announce(self, pool: ThreadPoolExecutor, chunks: int) -> None:
        """Say size and time of so many chunks.

        Raises:
            UserError: there is too little room.
        """
        needed, free = self.missing_bytes(), shutil.disk_usage(self.place).free
        if chunks and needed * ROOM > free:
            mend = "make room, or pack into another folder"
            raise UserError(f"{self.place}: takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; {mend}")
        if chunks:
            tried = np.linspace(0, len(self.source) - 1, min(TRIED, len(self.source))).astype(int).tolist()
            start = time.perf_counter()
            list(pool.map(self._values, tried))
            minutes = (time.perf_counter() - start) / len(tried) * chunks * CHUNK / 60
            say(
                f"{self.place}: packing {len(self.source):,} items at {self.size}x{self.size}, {needed / 1e9:.2f} GB, "
                + (f"about {minutes:.0f} min" if minutes >= 1.5 else f"about {minutes * 60:.0f} s")
            )

    def _items(self, chunk: int) -> range:
        return range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(self.source)))

    def _make(self, chunk: int) -> tuple[dict[str, int], dict[int, str]]:
        """Pack a chunk, and return the checksum of its rows in each file, and the faults of its items."""
        sums, faults = dict.fromkeys(self.rows, 0), {}
        for item in self._items(chunk):
            values, fault = self._values(item)
            if fault:
                faults[item] = fault.removeprefix(f"{self.source.path}/")
            for name, row in self._rows_of(item).items():
                dtype, shape = self.kinds[name]
                row_values = np.ascontiguousarray(values.get(name, np.zeros(shape[1:])), dtype)
                self.rows[name].put(row, row_values)
                sums[name] = zlib.crc32(row_values.data, sums[name])
        return sums, faults

    def _values(self, item: int) -> tuple[dict[str, np.ndarray], str]:
        """Return what goes into the files, all that is to be had, and what is wrong with the item."""
        values = {"stamp": stamps(self.source, [item])[0]}  # first, so that a change while it is read is noticed
        try:
            placed = on_canvas(self.source.read(item), self.size)
            return values | dict(zip(("plate", "frame", "mask", "depth", "inner"), placed, strict=True)), ""
        except UserError as error:
            with suppress(UserError):  # others may stand before this plate
                plate = read_rgb(self.source.find(item, "plate"))
                values["plate"] = Canvas.square(plate.shape, self.size).place(plate)
            return values, str(error)

    def _rows_of(self, item: int) -> dict[str, int]:
        """Return the row that belongs to an item in each file; a plate belongs to the first item before it."""
        plate = int(self.plates.row[item])
        rows = dict.fromkeys(self.rows, item) | {"plate": plate}
        if self.plates.first[plate] != item:
            del rows["plate"]
        return rows

    def _damaged(self, pool: ThreadPoolExecutor, card: PackCard, chunks: Sequence[int]) -> list[int]:
        """Return those of some chunks that are not read back as they were written."""

        def sums_of(chunk: int) -> dict[str, int]:
            sums = dict.fromkeys(self.rows, 0)
            for item in self._items(chunk):
                for name, row in self._rows_of(item).items():
                    sums[name] = zlib.crc32(self.rows[name].take([row]).data, sums[name])
            return sums

        found = track(pool.map(sums_of, chunks), len(chunks), f"verifying at {self.size}x{self.size}")
        return [chunk for chunk, sums in zip(chunks, found, strict=True) if sums != card.chunks[chunk]]

    def _record(self, card: PackCard) -> None:
        write_bytes(self.place / PACK_CARD, card.model_dump_json().encode(), durable=card.whole)
