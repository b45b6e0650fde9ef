"""Read a data set folder of the MODEST Museum layout."""

import csv
import hashlib
import re
import sys
from array import array
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from cleanplate.data.card import read_card
from cleanplate.data.source import Batch, Pictures
from cleanplate.errors import UserError
from cleanplate.files import require_file, require_folder
from cleanplate.pictures import PICTURE_SUFFIXES, Canvas, pictures_called, read_depth, read_mask, read_rgb

FIELDS = ("plate", "frame", "mask", "depth")
FOLDERS = {
    "plate": ("bg", "plate"),
    "frame": ("bg_fg", "frame"),
    "mask": ("bg_fg_mask", "mask"),
    "depth": ("bg_fg_depth_map", "depth"),
}
"""The folder of each field: MODEST Museum's name, or the field's own."""
FILE_MAP = "file_map.txt"
BOM = b"\xef\xbb\xbf"  # some editors begin a text with it
LONGEST_NAME = 250
"""Bytes: with its extension it is as long as file systems allow."""
CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
PLAIN_NAME = rb"[A-Za-z0-9_][A-Za-z0-9_.-]{0,%d}" % (LONGEST_NAME - 1)
PLAIN_ROW = re.compile(rb"(?:%s\t){3}(?:%s)?" % (PLAIN_NAME, PLAIN_NAME))
"""What nearly all lines are, and cannot be at fault."""
MODEST_FRAME = re.compile(r"bg\d+_(fg\d+)_\d+")


class ModestFolder:
    """A data set folder as a source: its index in memory, its pictures opened when they are asked for.

    The index takes some 100 bytes an item, so that 400,000 items need not fit a small machine's memory as pictures. The
    folder may be one within a zip, a `ZipPath`.

    Raises:
        UserError: there is no such folder, or its file map is missing, empty or broken.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = require_folder(path, "data set folder")
        self.card = read_card(self.path)
        # Fixed-width bytes, not str: a tenth of the memory, and worker processes share it.
        self._names, faults = read_file_map(self.path / FILE_MAP)
        if faults:
            more = f" (and {len(faults) - 1} more; see `cleanplate data check`)" if len(faults) > 1 else ""
            raise UserError(f"{faults[0]}{more}")
        self._labelled = self._names["depth"] != b""
        self.folders = self._find_folders()

    def _find_folders(self) -> dict[str, Path]:
        needed = FIELDS if self._labelled.any() else FIELDS[:3]
        return {field: find_folder(self.path, field) for field in needed}

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._names["frame"])

    def name(self, index: int, field: str = "frame") -> str:
        """Return the file name, without extension, of one field of one item; empty where it has no depth."""
        return self._names[field][index].decode()

    def find(self, index: int, field: str) -> Path:
        """Return the file of one field of one item.

        Raises:
            UserError: no file of that name is there, with any extension we read.
        """
        return find_picture(self.folders[field], self.name(index, field))

    def files(self, index: int) -> dict[str, Path]:
        """Return the files of one item, none for a depth that it has not.

        Raises:
            UserError: as `find` does.
        """
        return {field: self.find(index, field) for field in FIELDS if self.name(index, field)}

    def read(self, index: int) -> Pictures:
        """Read one item at its own size.

        Raises:
            UserError: a picture is missing, unreadable or of another size than its frame.
        """
        paths = self.files(index)
        pictures = Pictures(
            _read_plate(paths["plate"], paths["plate"].stat().st_mtime_ns),
            read_rgb(paths["frame"]),
            read_mask(paths["mask"]),
            read_depth(paths["depth"]) if "depth" in paths else None,
        )
        for field, path in paths.items():
            require_same_size(path, getattr(pictures, field), paths["frame"], pictures.frame)
        return pictures

    def batch(self, indices: Sequence[int], size: int, seed: int, epoch: int) -> Batch:
        """Return items on canvases of `size` x `size`; nothing here is drawn at random.

        Raises:
            UserError: as `read` does.
        """
        items = [on_canvas(self.read(index), size) for index in indices]
        plate, frame, mask, depth, inner = (np.stack(field) for field in zip(*items, strict=True))
        return Batch.of(plate, frame, mask, depth, inner, self.labelled()[list(indices)], indices)

    def plates(self) -> np.ndarray:
        """Return each item's plate, `(N,)`, as bytes that tell plates apart."""
        return self._names["plate"]

    def labelled(self) -> np.ndarray:
        """Return which items have a depth label, `(N,)` bool."""
        return self._labelled

    def cutouts(self) -> list[tuple[str, ...]]:
        """Return for each item the cutouts that stand in its frame, none for an empty frame.

        They come from `items.csv`, or from the frames' names where these follow MODEST Museum's.

        Raises:
            UserError: neither tells.
        """
        table = self.path / "items.csv"
        frames = [name.decode() for name in self._names["frame"]]
        if table.exists():
            known = _read_cutouts(table)
            missing = next((frame for frame in frames if frame not in known), None)
            if missing is not None:
                raise UserError(f"{table}: has no row for frame {missing}; add it, or use the split `random`")
            return [known[frame] for frame in frames]
        cutouts: list[tuple[str, ...]] = []
        for frame in frames:
            match = MODEST_FRAME.fullmatch(frame)
            if not match:
                text = "missing, so nobody knows which cutout is in which frame; use the split `random`"
                raise UserError(f"{table}: {text}")
            cutouts.append((sys.intern(match[1]),))
        return cutouts

    def fingerprint(self) -> str:
        """Return what tells this data set's items from another's: the SHA-256 of its file map."""
        return hashlib.sha256((self.path / FILE_MAP).read_bytes()).hexdigest()


def find_folder(path: Path, field: str) -> Path:
    """Return the folder of a field, under whichever of its names it stands.

    Raises:
        UserError: there is none.
    """
    names = FOLDERS[field]
    for name in names:
        if (path / name).is_dir():
            return path / name
    raise UserError(f"{path}: has no folder {' or '.join(names)}; it should hold the {field}s")


def find_picture(folder: Path, name: str) -> Path:
    """Return the picture `name`, with whichever extension it has.

    Raises:
        UserError: there is none.
    """
    if path := next(pictures_called(folder, name), None):
        return path
    raise UserError(f"{folder / name}: no such picture (looked for {', '.join(PICTURE_SUFFIXES)})")


def require_same_size(path: Path, picture: np.ndarray, frame_path: Path, frame: np.ndarray) -> None:
    """Refuse a picture whose height and width are not its frame's."""
    if picture.shape[:2] != frame.shape[:2]:
        size, wanted = ("{1}x{0}".format(*shape) for shape in (picture.shape, frame.shape))
        raise UserError(f"{path}: is {size}, but its frame {frame_path.name} is {wanted}; give both one size")


def read_file_map(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read `file_map.txt`: the names of each field, `(N,)` bytes, and the faults of its lines, each named in a line.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    faults: dict[int, str] = {}
    numbers = array("L")
    columns = {field: bytearray() for field in FIELDS}  # a list of 400,000 rows would take ten times the memory
    require_file(path, "missing; a data set folder needs one (plate, frame, mask, depth a line)")
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                line = line.rstrip(b"\r\n").removeprefix(BOM if number == 1 else b"")
                row = line.split(b"\t")
                if not PLAIN_ROW.fullmatch(line) and (fault := _fault_of(row)):
                    faults[number] = fault
                    continue
                numbers.append(number)
                for column, name in zip(columns.values(), row, strict=True):
                    column += name + b"\n"
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    names = {field: np.array(bytes(column).split(b"\n")[:-1], dtype=np.bytes_) for field, column in columns.items()}

    frames = names["frame"]
    order = np.argsort(frames, kind="stable")
    again = np.flatnonzero(frames[order][1:] == frames[order][:-1])
    for first, second in zip(order[again], order[again + 1], strict=True):
        named = f"frame {frames[second].decode()} stands in line {numbers[first]} already; remove one"
        faults[numbers[second]] = named
    if len(again):
        names = {field: np.delete(column, order[again + 1]) for field, column in names.items()}
    if not len(numbers) and not faults:
        return names, [f"{path}: lists no items; add a line for each frame"]
    return names, [f"{path}:{number}: {fault}" for number, fault in sorted(faults.items())]


def _fault_of(row: list[bytes]) -> str | None:
    if len(row) != 4 or not all(row[:3]):
        return "expected four names with tabs between (plate, frame, mask, depth)"
    if any(b"/" in name or b"\\" in name or name == b".." for name in row):
        return "a name leaves its folder; give plain names without extension"
    if any(map(CONTROLS.search, row)):
        return "a name holds control characters; give plain names without extension"
    if max(map(len, row)) > LONGEST_NAME:
        return f"a name is longer than {LONGEST_NAME} bytes; give names that a file can have"
    try:
        b"".join(row).decode()
    except UnicodeDecodeError:
        return "not UTF-8 text; save the file as UTF-8"
    return None


def _read_cutouts(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the cutouts of each frame in `items.csv`."""
    try:
        with require_file(path, "missing").open(encoding="utf-8", newline="") as lines:
            return {row.get("frame") or "": tuple((row.get("cutouts") or "").split()) for row in csv.DictReader(lines)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a table ({error}); write it anew") from None


@lru_cache(maxsize=128)
def _read_plate(path: Path, _changed: int) -> np.ndarray:
    plate = read_rgb(path)
    plate.flags.writeable = False  # shared by all items of this plate
    return plate


def on_canvas(item: Pictures, size: int) -> tuple[np.ndarray, ...]:
    """Return plate, frame, mask, depth (0 where there is no label) and inner size, as `Batch.of` takes them."""
    canvas = Canvas.square(item.frame.shape, size)
    depth = np.zeros((size, size), np.uint16) if item.depth is None else canvas.place(item.depth)
    inner = np.array([canvas.inner_height, canvas.inner_width], np.uint16)
    return canvas.place(item.plate), canvas.place(item.frame), canvas.place(item.mask), depth, inner
