"""Compose photographs into a data set: RGBA cutouts pasted into plates."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
from pydantic import BaseModel

from cleanplate import __version__
from cleanplate.cores import count_cores
from cleanplate.data.writer import Item, write_dataset
from cleanplate.errors import UserError
from cleanplate.files import require_folder, require_vacant
from cleanplate.pictures import (
    Canvas,
    list_pictures,
    pictures_called,
    read_depth,
    read_rgb,
    read_rgba,
    require_multiple,
    rescale,
    write_picture,
)
from cleanplate.progress import track

T = TypeVar("T")

CUTOUTS_PER_JOB = 16
FAINT = 16
"""Alpha, of 255, below which a pixel at the rim of a cutout is cropped away."""
ASPECT_TOLERANCE = 0.02
FOOT_REACH = 2
"""The plate's depth at a foot is the median over so many pixels to each side."""


class Composed(BaseModel):
    """What `cleanplate data compose` made."""

    path: Path
    items: int
    plates: int
    cutouts: int
    skipped: list[str]
    """The files that could not be used, each with its fault in a line."""
    seconds: float


class Placed(NamedTuple):
    """A cutout at the size and place where it is pasted; it lies within the frame."""

    cutout: np.ndarray
    """`(h, w, 4)` float32: RGB of 0 to 255, multiplied by alpha; alpha of 0 to 1."""
    x: int
    y: int


class _Job(NamedTuple):
    """Some cutouts, from `first` on, pasted into one plate; numbers count from 0."""

    plate: Path
    plate_number: int
    depth: Path | None
    cutouts: tuple[Path, ...]
    """All there are: others than the frame's own stand in it too."""
    first: int
    size: int
    places: int
    scale: tuple[float, float]
    people: int
    seed: int


class _Scene(NamedTuple):
    """A plate as cutouts are pasted into it, and the canvas that tells how large its frames are."""

    plate: np.ndarray
    """`(h, w, 3)` uint8, no larger than the picture is: sharp people would stand in a soft room."""
    depth: np.ndarray | None
    """`(h, w)` uint16."""
    canvas: Canvas


def compose(
    plates: Path | str,
    cutouts: Path | str,
    out: Path | str,
    *,
    size: int = 224,
    places: int = 40,
    scale: tuple[float, float] = (0.3, 0.9),
    people: int = 1,
    seed: int = 1,
    workers: int | None = None,
) -> Composed:
    """Compose plates and cutouts into a data set folder of the MODEST Museum layout; equal settings give equal bytes.

    Every cutout goes into every plate, `places` times, every second time mirrored. Masks come from alpha. Where
    `PLATES/depth/NAME.png` lies beside a plate, a frame's depth is the plate's, and within a cutout that of the plate
    where the cutout's foot stands. A file that cannot be used is skipped and named in the result.

    Args:
        plates: folder of pictures of any sizes.
        cutouts: folder of pictures with alpha, of any sizes.
        out: the folder to make.
        size: pixels of a frame's longer side, a multiple of 32; the plate's aspect ratio is kept.
        places: frames for each pair of plate and cutout.
        scale: least and greatest height of a cutout, as a share of the frame's.
        people: at most so many cutouts stand in a frame.
        seed: of all that is drawn at random.
        workers: number of processes, one a core when None.

    Raises:
        UserError: a setting is out of its range, a folder is missing or holds nothing that can be used, or `out`
            holds something already.
    """
    start = time.perf_counter()
    _check_settings(size, places, scale, people, seed, workers)
    require_vacant(out := Path(out))
    skipped: list[str] = []
    plate_files = [path for path, _ in read_usable(plates, "plate", _try_plate, skipped)]
    cutout_files = [path for path, _ in read_usable(cutouts, "cutout", read_rgba, skipped)]
    jobs = [
        _Job(plate, number, _find_depth(plate), tuple(cutout_files), first, size, places, scale, people, seed)
        for number, plate in enumerate(plate_files)
        for first in range(0, len(cutout_files), CUTOUTS_PER_JOB)
    ]
    made_by = {
        "command": "data compose",
        "version": __version__,
        "settings": {"size": size, "places": places, "scale": list(scale), "people": people, "seed": seed},
        "plates": {_name("bg", number): path.name for number, path in enumerate(plate_files)},
        "cutouts": {_name("fg", number): path.name for number, path in enumerate(cutout_files)},
    }
    card = {"name": out.name, "made_by": made_by, "depth": {"kind": "relative"}}
    write_dataset(out, _make, jobs, card=card, frame_suffix=".jpg", workers=workers, description="composing")
    return Composed(
        path=out,
        items=len(plate_files) * len(cutout_files) * places,
        plates=len(plate_files),
        cutouts=len(cutout_files),
        skipped=skipped,
        seconds=round(time.perf_counter() - start, 2),
    )


def paste(
    plate: np.ndarray, depth: np.ndarray | None, placed: Iterable[Placed]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Paste cutouts into a plate, those whose foot is higher first: they stand farther away.

    Args:
        plate: `(H, W, 3)` RGB of 0 to 255, uint8 or float32.
        depth: `(H, W)` uint16 of the plate, or None.
        placed: the cutouts.

    Returns:
        Frame `(H, W, 3)` uint8, mask `(H, W)` uint8 (the alpha of all cutouts together), depth as given.
    """
    frame = plate.astype(np.float32)
    plate_share = np.ones(plate.shape[:2], np.float32)
    frame_depth = None if depth is None else depth.copy()
    for cutout, x, y in sorted(placed, key=lambda one: one.y + len(one.cutout)):
        area = np.s_[y : y + cutout.shape[0], x : x + cutout.shape[1]]
        through = 1 - cutout[..., 3:]
        frame[area] = frame[area] * through + cutout[..., :3]
        plate_share[area] *= through[..., 0]
        opaque = cutout[..., 3] >= 0.5
        if depth is not None and frame_depth is not None and opaque.any():
            frame_depth[area][opaque] = _depth_at_foot(depth, opaque, x, y)
    mask = ((1 - plate_share) * 255).round().astype(np.uint8)
    return frame.round().astype(np.uint8), mask, frame_depth


def _depth_at_foot(depth: np.ndarray, opaque: np.ndarray, x: int, y: int) -> int:
    left, top, width, height = cv2.boundingRect(opaque.astype(np.uint8))
    foot = (y + top + height - 1, x + left + (width - 1) // 2)
    near = tuple(slice(max(0, at - FOOT_REACH), at + FOOT_REACH + 1) for at in foot)
    return round(float(np.median(depth[near])))


def _check_settings(
    size: int, places: int, scale: tuple[float, float], people: int, seed: int, workers: int | None
) -> None:
    require_multiple(size, "--size")
    for flag, value, least in (("places", places, 1), ("people", people, 1), ("seed", seed, 0)):
        if value < least:
            raise UserError(f"--{flag} {value}: give {least} or more")
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: give 1 or more, or leave it out for one a core")
    low, high = scale
    if not 0 < low <= high <= 1:
        raise UserError(f"--scale {low} {high}: give two shares of the frame's height, above 0, at most 1, least first")


def read_usable(
    folder: Path | str, what: str, read: Callable[[Path], T], skipped: list[str]
) -> Iterator[tuple[Path, T]]:
    """Read every picture of a folder and yield those that can be read; the faults of the others go to `skipped`.

    Raises:
        UserError: there is no such folder, or nothing in it can be used.
    """
    paths, faults = list_pictures(require_folder(folder, f"folder of {what}s")), []
    with ThreadPoolExecutor(count_cores()) as pool:
        tried = pool.map(lambda path: _try_to_read(path, read), paths)
        for path, (picture, fault) in zip(paths, track(tried, len(paths), f"reading {what}s"), strict=True):
            if fault:
                faults.append(fault)
            else:
                yield path, picture
    if len(faults) == len(paths):
        raise UserError(f"{folder}: none of its {len(paths)} pictures can be used as a {what}; the first: {faults[0]}")
    skipped.extend(faults)


def _try_to_read(path: Path, read: Callable[[Path], Any]) -> tuple[Any, str]:
    try:
        return read(path), ""
    except UserError as error:
        return None, str(error)


def _try_plate(path: Path) -> None:
    """Read a plate and its depth, if it has one; with a faulty depth the plate is of no use either."""
    height, width = read_rgb(path).shape[:2]
    if not (depth_path := _find_depth(path)):
        return
    depth = read_depth(depth_path)
    if abs(depth.shape[0] * width / (depth.shape[1] * height) - 1) > ASPECT_TOLERANCE:
        raise UserError(f"{depth_path}: is not of the shape of its plate, {width}x{height}; the plate is left out")
    if depth.min() == depth.max():
        raise UserError(f"{depth_path}: has the same depth everywhere; the plate is left out")


def _find_depth(plate: Path) -> Path | None:
    return next(pictures_called(plate.parent / "depth", plate.stem), None)


def _name(kind: str, number: int) -> str:
    return f"{kind}{number + 1:03d}"


def _make(folder: Path, job: _Job) -> list[Item]:
    plate = read_rgb(job.plate)
    canvas = Canvas.square(plate.shape, job.size)
    seen = Canvas.square(plate.shape, min(job.size, max(plate.shape[:2])))
    depth = None if job.depth is None else seen.resize(read_depth(job.depth))
    scene = _Scene(seen.resize(plate), depth, canvas)
    if job.first == 0:
        write_picture(folder / "bg" / f"{_name('bg', job.plate_number)}.jpg", canvas.resize(scene.plate))
    items = []
    for own in range(job.first, min(job.first + CUTOUTS_PER_JOB, len(job.cutouts))):
        if job.plate_number == 0:
            _write_cutout(folder, _name("fg", own), _read_cutout(job.cutouts[own], job.size))
        items += [_make_item(folder, job, scene, own, place) for place in range(job.places)]
    return items


def _make_item(folder: Path, job: _Job, scene: _Scene, own: int, place: int) -> Item:
    rng = np.random.default_rng([job.seed, job.plate_number, own, place])
    others = rng.permutation(np.delete(np.arange(len(job.cutouts)), own))[: rng.integers(job.people)]
    mirrored = [place % 2 == 1, *(rng.random(len(others)) < 0.5)]
    present = [own, *others.tolist()]
    placed = [
        _place(_read_cutout(job.cutouts[number], job.size), mirror, scene.plate.shape, job.scale, rng)
        for number, mirror in zip(present, mirrored, strict=True)
    ]
    frame, mask, depth = paste(scene.plate, scene.depth, placed)
    frame, mask = scene.canvas.resize(frame), scene.canvas.resize(mask)
    plate_name = _name("bg", job.plate_number)
    name = f"{plate_name}_{_name('fg', own)}_{place + 1:02d}"
    write_picture(folder / "bg_fg" / f"{name}.jpg", frame)
    write_picture(folder / "bg_fg_mask" / f"{name}_mask.png", mask)
    depth_name = ""
    if depth is not None:
        depth_name = f"{name}_depth_map"
        write_picture(folder / "bg_fg_depth_map" / f"{depth_name}.png", scene.canvas.resize(depth))
    x, y, width, height = cv2.boundingRect((mask >= 128).astype(np.uint8))
    names = tuple(_name("fg", number) for number in present)
    return Item(plate_name, name, f"{name}_mask", depth_name, names, (x, y, width, height))


def _place(
    cutout: np.ndarray, mirror: bool, frame: tuple[int, ...], scale: tuple[float, float], rng: np.random.Generator
) -> Placed:
    """Draw a size and a place within the frame for a cutout; one that would be wider than the frame becomes smaller."""
    factor = min(rng.uniform(*scale) * frame[0] / cutout.shape[0], frame[1] / cutout.shape[1])
    cutout = rescale(cutout[:, ::-1] if mirror else cutout, factor)
    x, y = (int(rng.integers(frame[axis] - cutout.shape[axis], endpoint=True)) for axis in (1, 0))
    return Placed(cutout, x, y)


@lru_cache(maxsize=256)
def _read_cutout(path: Path, size: int) -> np.ndarray:
    return trim(read_rgba(path), size)


def trim(cutout: np.ndarray, size: int) -> np.ndarray:
    """Return an RGBA picture cropped to what can be seen, at most `size` pixels a side, as `Placed` wants it."""
    x, y, width, height = cv2.boundingRect((cutout[..., 3] >= FAINT).astype(np.uint8))
    cutout = cutout[y : y + height, x : x + width].astype(np.float32)
    # Colours count by their alpha from here on, else resizing would mix in the dark that lies beyond the edge.
    cutout[..., 3] /= 255
    cutout[..., :3] *= cutout[..., 3:]
    return rescale(cutout, min(1.0, size / max(width, height)))


def packed(cutout: np.ndarray) -> np.ndarray:
    """Return a cutout as `Placed` has it in a quarter of the memory: colours multiplied by alpha, all of 0 to 255."""
    return (cutout * np.array([1, 1, 1, 255], np.float32)).round().astype(np.uint8)


def unpacked(cutout: np.ndarray) -> np.ndarray:
    """Return a `packed` cutout as `Placed` has it."""
    cutout = cutout.astype(np.float32)
    cutout[..., 3] /= 255
    return cutout


def _write_cutout(folder: Path, name: str, cutout: np.ndarray) -> None:
    alpha = cutout[..., 3:]
    colours = cutout[..., :3] / np.maximum(alpha, 1 / 255)
    picture = np.concatenate([colours, alpha * 255], axis=2).clip(0, 255).round().astype(np.uint8)
    write_picture(folder / "fg" / f"{name}.png", picture)
    write_picture(folder / "fg_mask" / f"{name}_mask.png", picture[..., 3])
