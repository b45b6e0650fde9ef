"""Paint the pictures that hang in the rooms."""

import cv2
import numpy as np

from cleanplate.data.museum.palettes import STRONG, WALLS, WOODS, Colour, linear, pick
from cleanplate.data.museum.textures import blur, noise, sheet

LONGER_SIDE = 96
"""Texels of a picture before it is hung."""
SKIES: list[Colour] = [(0.55, 0.70, 0.88), (0.90, 0.75, 0.55), (0.60, 0.60, 0.66)]
HILLS: list[Colour] = [(0.30, 0.42, 0.26), (0.45, 0.42, 0.30), (0.25, 0.32, 0.40)]
FACE: Colour = (0.82, 0.64, 0.52)


def paint_picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a picture `(height, width, 3)` float32 of linear colour, in one of six manners."""
    scale = LONGER_SIDE / max(height, width)
    canvas = np.empty((max(8, int(height * scale)), max(8, int(width * scale)), 3), np.float32)
    canvas[:] = pick(rng, STRONG + WALLS)
    MANNERS[rng.integers(len(MANNERS))](rng, canvas)
    picture = cv2.resize(blur(canvas, 0.7), (width, height), interpolation=cv2.INTER_LINEAR)
    brush = noise(rng, sheet(width / 100, height / 100, 100), (300, 300), 0.8)
    return picture * (1 + 0.12 * brush[:height, :width])[..., None]


def _landscape(rng: np.random.Generator, canvas: np.ndarray) -> None:
    h, w = canvas.shape[:2]
    canvas[:] = np.linspace(0.5, 1, h, dtype=np.float32)[:, None, None] * pick(rng, SKIES)
    for level in np.sort(rng.uniform(0.35, 0.9, rng.integers(2, 5))):
        waves = 0.07 * np.sin(np.arange(w) / w * rng.uniform(3, 14) + rng.uniform(0, 6))
        canvas[np.arange(h)[:, None] > h * (level + waves)] = pick(rng, HILLS)


def _portrait(rng: np.random.Generator, canvas: np.ndarray) -> None:
    h, w = canvas.shape[:2]
    canvas[:] *= 0.4
    x, y = w // 2 + int(rng.normal(0, w * 0.04)), int(h * 0.4)
    _oval(canvas, w // 2, h, 0.38 * w, 0.38 * h, pick(rng, STRONG))
    _oval(canvas, x, y, 0.2 * w, 0.22 * h, pick(rng, WOODS))
    _oval(canvas, x, y + int(0.04 * h), 0.15 * w, 0.17 * h, np.array(linear(*FACE)))


def _blocks(rng: np.random.Generator, canvas: np.ndarray) -> None:
    h, w = canvas.shape[:2]
    for _ in range(rng.integers(3, 9)):
        start, end = (rng.uniform(0, 1, (2, 2)) * (w, h)).astype(int).tolist()
        cv2.rectangle(canvas, start, end, pick(rng, STRONG).tolist(), -1)


def _poster(rng: np.random.Generator, canvas: np.ndarray) -> None:
    h, w = canvas.shape[:2]
    _blocks(rng, canvas)
    for line in range(int(h * 0.65), int(h * 0.92), 5):
        cv2.line(canvas, (w // 8, line), (int(w * rng.uniform(0.5, 0.88)), line), (0.02, 0.02, 0.02), 1)


def _strokes(rng: np.random.Generator, canvas: np.ndarray) -> None:
    h, w = canvas.shape[:2]
    for _ in range(rng.integers(8, 26)):
        start, end = (rng.uniform(-0.2, 1.2, (2, 2)) * (w, h)).astype(int).tolist()
        cv2.line(canvas, start, end, pick(rng, STRONG).tolist(), int(rng.integers(1, 9)))


def _still_life(rng: np.random.Generator, canvas: np.ndarray) -> None:
    h, w = canvas.shape[:2]
    canvas[int(h * 0.65) :] *= 0.5
    for _ in range(rng.integers(3, 7)):
        radius = rng.uniform(0.06, 0.16) * w + 1
        x, y = int(rng.uniform(0.2, 0.8) * w), int(h * 0.68 - radius / 2)
        _oval(canvas, x, y, radius, radius * rng.uniform(0.9, 1.8), pick(rng, STRONG))


def _oval(canvas: np.ndarray, x: int, y: int, across: float, up: float, paint: np.ndarray) -> None:
    cv2.ellipse(canvas, (x, y), (int(across), int(up)), 0, 0, 360, paint.tolist(), -1)


MANNERS = [_landscape, _portrait, _blocks, _poster, _strokes, _still_life]
