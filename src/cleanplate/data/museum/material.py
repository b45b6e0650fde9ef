"""What solids are made of: colours, woven, printed and grown patterns, and a face."""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np

PLAIN, BANDS, PINSTRIPES, CHECK, DOTS, WOOD, MARBLE, BOOKS, FACE = range(9)
NOISE_SIZE = 512


class Material(NamedTuple):
    """Colours are linear, 0 to 1."""

    base: tuple[float, float, float]
    second: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the pattern; of the hair on a face."""
    pattern: int = PLAIN
    scale: float = 0.1
    """Of the pattern, metres; how high the hair line sits on a face."""
    grain: float = 0.05
    """How far noise moves the brightness."""
    gloss: float = 0.0
    glow: float = 0.0
    """Light given off, as a share of the base colour."""


@cache
def noise_tile(power: float = 1.2) -> np.ndarray:
    """Return tileable noise `(512, 512)` float32 with mean 0 and deviation 1 whose amplitude falls as 1 / f^power."""
    rng = np.random.default_rng(20)
    frequency = np.hypot(np.fft.fftfreq(NOISE_SIZE)[:, None], np.fft.rfftfreq(NOISE_SIZE)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((NOISE_SIZE, NOISE_SIZE))) / frequency**power
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (NOISE_SIZE, NOISE_SIZE))
    return np.clip(field / field.std(), -3, 3).astype(np.float32)


def noise_at(across: np.ndarray, up: np.ndarray, power: float = 1.2) -> np.ndarray:
    """Return noise at `(N,)` coordinates counted in texels of the tile."""
    column = np.floor(across).astype(np.int32) & (NOISE_SIZE - 1)
    row = np.floor(up).astype(np.int32) & (NOISE_SIZE - 1)
    return noise_tile(power)[row, column]


def sample(picture: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return `picture` `(h, w, 3)` at `(N,)` texel coordinates, interpolated: `(N, 3)`."""
    count = len(column)
    wide = 1024  # OpenCV takes maps of at most 32767 rows
    rows = -(-count // wide)
    maps = np.zeros((2, rows * wide), np.float32)
    maps[0, :count], maps[1, :count] = column, row
    u, v = maps.reshape(2, rows, wide)
    found = cv2.remap(picture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(rows * wide, -1)[:count]


def albedo(materials: list[Material], ids: np.ndarray, texture: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Return colours `(3, N)` of surface points.

    Args:
        materials: of every solid.
        ids: the solid of each point, `(N,)`.
        texture: pattern coordinates `(2, N)` in metres.
        local: coordinates `(3, N)` within the solid, for faces.
    """
    base = np.array([m.base for m in materials], np.float32).T[:, ids]
    second = np.array([m.second for m in materials], np.float32).T[:, ids]
    pattern = np.array([m.pattern for m in materials])[ids]
    scale = np.array([m.scale for m in materials], np.float32)[ids]
    grain = np.array([m.grain for m in materials], np.float32)[ids]
    across, up = texture
    share = np.zeros(len(ids), np.float32)
    for kind in {m.pattern for m in materials} - {PLAIN}:
        here = np.flatnonzero(pattern == kind)
        if len(here) == 0:
            continue
        if kind == FACE:
            base[:, here] = _face(local[:, here], base[:, here], second[:, here], scale[here])
        else:
            share[here] = _pattern(kind, across[here] / scale[here], up[here] / scale[here])
    # Stretched upwards, noise reads as the folds of cloth on figures and as wear on furniture.
    shade = 1 + grain * noise_at(across * 260, up * 90 + ids * 37)
    return (base + (second - base) * share) * np.maximum(shade, 0.2)


def _pattern(kind: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return how much of the second colour there is; one unit is one repeat."""
    if kind == BANDS:
        return np.mod(v, 1) < 0.45
    if kind == PINSTRIPES:
        return np.mod(u, 1) < 0.35
    if kind == CHECK:
        return 0.5 * (np.mod(u, 1) < 0.5) + 0.5 * (np.mod(v, 1) < 0.5)
    if kind == DOTS:
        shifted = u + 0.5 * np.mod(np.floor(v), 2)
        return (np.mod(shifted, 1) - 0.5) ** 2 + (np.mod(v, 1) - 0.5) ** 2 < 0.08
    if kind == WOOD:
        return np.clip(0.5 + 0.35 * noise_at(u * 9, v * 90), 0, 1)
    if kind == MARBLE:
        return np.exp(-6 * np.abs(noise_at(u * 60, v * 60, 1.8)))
    shelf, book = np.floor(v), np.floor(u * 9)
    mixed = np.mod(np.sin(book * 12.99 + shelf * 78.2) * 43758.5, 1)
    return np.where(np.mod(v, 1) < 0.12 + 0.25 * mixed, 0.05, mixed)


def _face(local: np.ndarray, skin: np.ndarray, hair: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Paint a face on the unit ball: z is ahead, y up."""
    x, y, z = local
    eye = ((np.abs(x) - 0.36) / 0.13) ** 2 + ((y - 0.06) / 0.075) ** 2
    brow = ((np.abs(x) - 0.38) / 0.22) ** 2 + ((y - 0.24) / 0.05) ** 2
    mouth = (x / 0.28) ** 2 + ((y + 0.5) / 0.06) ** 2
    cheek = ((np.abs(x) - 0.45) / 0.3) ** 2 + ((y + 0.25) / 0.25) ** 2
    ahead = z > 0
    face = skin * (1 + np.array([[0.12], [-0.08], [-0.08]], np.float32) * np.exp(-cheek))
    face = np.where(ahead & (mouth < 1), skin * np.array([[0.75], [0.38], [0.4]], np.float32), face)
    face = np.where(ahead & (brow < 1), 0.5 * skin * 0.4 + 0.5 * hair, face)
    face = np.where(ahead & (eye < 1), np.array([[0.05], [0.04], [0.035]], np.float32), face)
    covered = (line < 2) & (y > line + 0.9 * np.clip(z, -0.65, 0.5) - 0.25 * np.abs(x))
    return np.where(covered, hair, face)
