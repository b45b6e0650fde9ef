"""Footage of a camera that stands still, with masks made by hand: two folder layouts, read frame by frame.

`frames/` and `masks/` pair by equal names. `input/` and `groundtruth/`, the layout of CDnet 2014 and SBI2015, pair by
the number that ends a name (`in000470.jpg`, `gt000470.png`); `ROI.bmp` and `temporalROI.txt` beside them are kept to.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cleanplate.errors import UserError
from cleanplate.files import read_file, require_folder
from cleanplate.pictures import list_pictures, read_bitmap, read_mask, read_rgb

LAYOUTS = {"frames": "masks", "input": "groundtruth"}
"""The folder of frames, and that of their masks."""
FOREGROUND = 255
BACKGROUND = (0, 50)
"""CDnet's shadows, 50, are background. Its 85, outside the region of interest, and 170, in doubt, count for nothing."""
LEVELS = 2
"""How far below a folder that is none sequences are looked for: CDnet has them in categories."""


class Labels(NamedTuple):
    """What is known of a frame: bool `(H, W)` each; pixels in neither do not count."""

    foreground: np.ndarray
    background: np.ndarray


class Shot(NamedTuple):
    """A frame of a sequence."""

    name: str
    frame: np.ndarray
    """`(H, W, 3)` uint8 RGB."""
    labels: Labels | None
    """None where there is no mask, or no pixel of it counts."""


@dataclass(frozen=True)
class FootageFolder:
    """The frames of one camera in their order, and masks of all of them or some."""

    path: Path
    frames: tuple[Path, ...]
    masks: dict[Path, Path]
    """The mask of a frame, where it has one."""

    @classmethod
    def open(cls, path: Path) -> "FootageFolder":
        """Pair frames and masks.

        Raises:
            UserError: a folder is missing, names do not pair, or no frame has a mask.
        """
        frames_name = next(name for name in LAYOUTS if (path / name).is_dir())
        folders = path / frames_name, require_folder(path / LAYOUTS[frames_name], "folder of masks")
        frames, masks = (_by_key(folder, numbered=frames_name == "input") for folder in folders)
        if alone := masks.keys() - frames.keys():
            mask = masks[min(alone)]
            raise UserError(
                f"{mask}: is the mask of no frame in {folders[0]}; a frame and its mask share {_SHARED[frames_name]}"
            )
        first, last = _read_range(path / "temporalROI.txt")
        paired = {frames[key]: masks[key] for key in sorted(masks) if isinstance(key, str) or first <= key <= last}
        if not paired:
            raise UserError(f"{path / 'temporalROI.txt'}: leaves no mask in its range of frames; mend or remove it")
        return cls(path, tuple(frames[key] for key in sorted(frames, key=_in_order)), paired)

    @property
    def plate(self) -> Path:
        """The picture of the scene with nobody in it."""
        return self.path / "plate.png"

    def read_plate(self) -> np.ndarray:
        """Return the plate, `(H, W, 3)` uint8 RGB, of the frames' size."""
        plate, frame = read_rgb(self.plate), read_rgb(self.frames[0])
        _require_shape(self.plate, plate, frame.shape, "remove it, and one is made of the frames")
        return plate

    def read(self) -> Iterator[Shot]:
        """Read all frames in their order."""
        shape, region = None, self._read_region()
        for path in self.frames:
            shot = self._read_shot(path, region)
            _require_shape(path, shot.frame, shape or shot.frame.shape, "a sequence is of one camera")
            shape = shot.frame.shape
            yield shot

    def read_shot(self, name: str) -> Shot:
        """Read one frame by its name."""
        return self._read_shot(next(path for path in self.frames if path.name == name), self._read_region())

    def _read_shot(self, path: Path, region: np.ndarray | None) -> Shot:
        frame = read_rgb(path)
        if path not in self.masks:
            return Shot(path.name, frame, None)
        mask = read_mask(self.masks[path])
        _require_shape(self.masks[path], mask, frame.shape, "a mask is of its frame's size")
        if mask.max() == 1:  # some of SBI2015's
            mask = mask * FOREGROUND
        labels = Labels(mask == FOREGROUND, np.isin(mask, BACKGROUND))
        if region is not None:
            _require_shape(self.path / "ROI.bmp", region, frame.shape, "it is of the frames' size")
            labels = Labels(labels.foreground & region, labels.background & region)
        return Shot(path.name, frame, labels if labels.foreground.any() or labels.background.any() else None)

    def _read_region(self) -> np.ndarray | None:
        path = self.path / "ROI.bmp"
        return read_bitmap(path) > 0 if path.exists() else None


def find_footage(folders: Iterable[Path | str]) -> dict[str, FootageFolder]:
    """Open sequences, by the names of their folders.

    Args:
        folders: each is a sequence, or holds some up to two levels below.

    Raises:
        UserError: there are none, one is given twice, or one is at fault.
    """
    paths = [path for folder in folders for path in _sequences_in(require_folder(folder))]
    counts = Counter(path.resolve().name for path in paths)
    found = {}
    for path in paths:
        place = path.resolve()
        name = place.name if counts[place.name] == 1 else f"{place.parent.name}/{place.name}"
        if name in found:
            raise UserError(f"{path}: a sequence {name} is given already; give each once, under a name of its own")
        found[name] = FootageFolder.open(path)
    return found


def _sequences_in(folder: Path) -> list[Path]:
    if found := _sequences_within(folder, LEVELS):
        return found
    layouts = " nor ".join(f"{frames}/ with {masks}/" for frames, masks in LAYOUTS.items())
    raise UserError(f"{folder}: holds no footage, neither {layouts}; docs/footage.md shows the folders")


def _sequences_within(folder: Path, levels: int) -> list[Path]:
    if any((folder / name).is_dir() for name in LAYOUTS):
        return [folder]
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if levels else []
    return [found for path in below for found in _sequences_within(path, levels - 1)]


_SHARED = {"frames": "their name", "input": "the number at the end of their names"}


def _by_key(folder: Path, numbered: bool) -> dict[int | str, Path]:
    """Return the pictures by what pairs them, a number or a name."""
    found: dict[int | str, Path] = {}
    for path in list_pictures(folder):
        number = re.search(r"\d+$", path.stem)
        if numbered and not number:
            raise UserError(f"{path}: ends in no number, by which frames and masks pair; rename or remove it")
        key = int(number[0]) if numbered and number else path.stem
        if key in found:
            raise UserError(f"{path}: pairs as {found[key].name} does; rename or remove one of the two")
        found[key] = path
    return found


def _in_order(key: int | str) -> list[str | int]:
    """Return what puts `frame2` before `frame10`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(key))]


def _read_range(path: Path) -> tuple[float, float]:
    """Return the first and last number of the frames that are scored."""
    if not path.exists():
        return 0, float("inf")
    words = read_file(path, "missing").decode(errors="replace").split()
    try:
        first, last = map(int, words)
    except ValueError:
        raise UserError(f"{path}: expected two frame numbers, such as 470 1700; mend or remove it") from None
    return first, last


def _require_shape(path: Path, picture: np.ndarray, shape: tuple[int, ...], mend: str) -> None:
    if picture.shape[:2] != shape[:2]:
        sizes = " and not ".join(f"{width}x{height}" for height, width in (picture.shape[:2], shape[:2]))
        raise UserError(f"{path}: is {sizes}; {mend}")
