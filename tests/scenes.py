"""A data set that a network learns within seconds: rectangles before plain walls, drawn by code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from cleanplate.data.writer import Item, write_dataset
from cleanplate.pictures import write_picture
from cleanplate.recipe import Compute

PLAIN = Compute(precision="float32", layout="contiguous", kernels="plain", workers=0)
"""Settings that keep a training from trying out which are fastest."""

FRAMES_OF_A_PLATE = 6
PEOPLE = 5
NEAR, FAR = 1.0, 5.0


def write_scenes(
    out: Path, plates: int = 8, *, shape: tuple[int, int] = (64, 64), depth: bool = True, seed: int = 0
) -> Path:
    """Make a data set of `6 * plates` items of `shape` (H, W), PNG throughout, with metric depth if any."""

    def make(folder: Path, plate: int) -> list[Item]:
        rng = np.random.default_rng([seed, plate])
        return [_make_item(folder, rng, plate, number, shape, depth) for number in range(FRAMES_OF_A_PLATE)]

    card = {"name": "scenes", "depth": {"kind": "metric", "near": NEAR, "far": FAR}} if depth else {"name": "scenes"}
    return write_dataset(out, make, list(range(plates)), card=card, frame_suffix=".png", workers=1)


def draw_wall(plate: int, shape: tuple[int, int]) -> np.ndarray:
    """Return a plate `(H, W, 3)` uint8 RGB, dark, of a colour of its own."""
    wall = np.random.default_rng(plate).integers(20, 90, 3)
    return (np.linspace(0.6, 1, shape[0])[:, None, None] * wall * np.ones((*shape, 1))).astype(np.uint8)


def draw_room(number: int, shape: tuple[int, int]) -> np.ndarray:
    """Return a plate `(H, W, 3)` uint8 RGB full of texture, by which its view can be known."""
    noise = np.random.default_rng(number).integers(0, 256, (*shape, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


@contextmanager
def broken_file(path: Path) -> Iterator[None]:
    """Let a file end early for a while."""
    content = path.read_bytes()
    path.write_bytes(content[:-30])
    yield
    path.write_bytes(content)


def _make_item(
    folder: Path, rng: np.random.Generator, plate: int, number: int, shape: tuple[int, int], depth: bool
) -> Item:
    height, width = shape
    person = (plate + number) % PEOPLE
    wall = draw_wall(plate, shape)
    left, top = int(rng.integers(2, width // 2)), int(rng.integers(2, height // 3))
    corner = left + width // 3, top + height // 2
    mask = np.zeros(shape, np.uint8)
    cv2.rectangle(mask, (left, top), corner, 255, -1)
    frame = wall.copy()
    frame[mask > 0] = np.random.default_rng(person).integers(170, 256, 3)
    name = f"bg{plate:03d}_fg{person:03d}_{number:02d}"
    write_picture(folder / "bg" / f"bg{plate:03d}.png", wall)
    write_picture(folder / "bg_fg" / f"{name}.png", frame)
    write_picture(folder / "bg_fg_mask" / f"{name}.png", mask)
    if depth:
        far = np.linspace(60000, 30000, height).astype(np.uint16)[:, None].repeat(width, 1)
        far[mask > 0] = 9000
        write_picture(folder / "bg_fg_depth_map" / f"{name}.png", far)
    box = (left, top, corner[0] - left + 1, corner[1] - top + 1)
    return Item(f"bg{plate:03d}", name, name, name if depth else "", (f"fg{person:03d}",), box)
