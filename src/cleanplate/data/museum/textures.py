"""Floors, walls and ceilings, painted flat: arrays `(h, w, 3)` float32 of linear colour."""

from typing import NamedTuple

import cv2
import numpy as np

from cleanplate.data.museum.material import NOISE_SIZE, noise_tile
from cleanplate.data.museum.palettes import CARPETS, STONES, WALLS, WHITE, WOODS, linear, pick


class Sheet(NamedTuple):
    """The flat grid a surface is painted on: texel centres in metres."""

    across: np.ndarray
    """`(w,)`"""
    along: np.ndarray
    """`(h,)`"""
    density: float
    """Texels per metre."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in texels."""
        return len(self.along), len(self.across)


def sheet(width: float, height: float, density: float) -> Sheet:
    """Return the grid of a surface of `width` x `height` metres."""
    columns, rows = (max(2, round(side * density)) for side in (width, height))
    across = (np.arange(columns, dtype=np.float32) + 0.5) * np.float32(width / columns)
    along = (np.arange(rows, dtype=np.float32) + 0.5) * np.float32(height / rows)
    return Sheet(across, along, density)


def noise(
    rng: np.random.Generator, grid: Sheet, fineness: tuple[float, float] = (60.0, 60.0), power: float = 1.2
) -> np.ndarray:
    """Return noise `(h, w)` with deviation 1; `fineness` is tile texels per metre, across and along."""
    tile = noise_tile(power)
    columns, rows = (
        (np.floor(axis * fine).astype(np.int32) + int(rng.integers(NOISE_SIZE))) & (NOISE_SIZE - 1)
        for axis, fine in zip((grid.across, grid.along), fineness, strict=True)
    )
    return tile[rows[:, None], columns[None]]


def _tinted(base: np.ndarray, shade: np.ndarray) -> np.ndarray:
    return np.maximum(shade, 0.05)[..., None] * base


def _cells(grid: Sheet, width: float, height: float, shift: np.ndarray | float = 0.0) -> tuple[np.ndarray, ...]:
    """Return column and row numbers of a brick-like pattern, and the distances to the nearest joint in metres."""
    row = np.floor(grid.along / height)
    v = grid.along - row * height
    rows = row.astype(np.int32)[:, None]
    offset = np.asarray(shift)[rows % np.size(shift)] if np.size(shift) > 1 else shift * (rows % 2)
    u = grid.across[None] / width + offset
    column = np.floor(u)
    u = (u - column) * width
    joint = np.minimum(np.minimum(u, width - u), np.minimum(v, height - v)[:, None])
    return column.astype(np.int32), np.broadcast_to(rows, column.shape), joint


def _mixed(rng: np.random.Generator, column: np.ndarray, row: np.ndarray, spread: float) -> np.ndarray:
    """Return a factor per cell."""
    table = rng.normal(1, spread, (64, 64)).astype(np.float32)
    return table[row & 63, column & 63]


def planks(rng: np.random.Generator, grid: Sheet, base: np.ndarray | None = None, along: bool = False) -> np.ndarray:
    """Paint boards that run across, or along, the sheet."""
    if along:
        turned = planks(rng, Sheet(grid.along, grid.across, grid.density), base)
        return np.ascontiguousarray(turned.swapaxes(0, 1))
    base = pick(rng, WOODS) if base is None else base
    width, length = rng.uniform(0.09, 0.2), rng.uniform(0.9, 2.2)
    column, row, joint = _cells(grid, length, width, rng.uniform(0, 1, 61))
    shade = _mixed(rng, column, row, rng.uniform(0.05, 0.16))
    shade = shade * (1 + rng.uniform(0.05, 0.13) * noise(rng, grid, (14, 160)))
    shade *= 1 - 0.45 * (joint < 0.6 / grid.density)
    return _tinted(base, shade)


def tiles(rng: np.random.Generator, grid: Sheet) -> np.ndarray:
    """Paint square tiles: one colour, a chequer, or stone slabs."""
    side = rng.uniform(0.25, 0.9)
    column, row, joint = _cells(grid, side, side)
    first, second = pick(rng, STONES), pick(rng, STONES + CARPETS)
    chequer = rng.random() < 0.4
    veins = noise(rng, grid, (90, 90), 1.6)
    shade = _mixed(rng, column, row, 0.02 if chequer else 0.06) * (1 + rng.uniform(0.03, 0.12) * veins)
    painted = _tinted(first, shade)
    if chequer:
        painted = np.where(((column + row) & 1)[..., None] == 1, _tinted(second, shade), painted)
    painted[joint < 0.006] *= rng.uniform(0.45, 0.9)
    return painted


def marble(rng: np.random.Generator, grid: Sheet) -> np.ndarray:
    """Paint large slabs with veins."""
    side = rng.uniform(0.8, 1.6)
    column, row, joint = _cells(grid, side, side * rng.uniform(0.5, 1), 0.5)
    veins = np.exp(-7 * np.abs(noise(rng, grid, (70, 50), 1.7))) * rng.uniform(0.2, 0.45)
    painted = _tinted(pick(rng, STONES, 0.03), _mixed(rng, column, row, 0.04) * (1 - veins))
    painted[joint < 0.005] *= 0.7
    return painted


def carpet(rng: np.random.Generator, grid: Sheet) -> np.ndarray:
    """Paint a carpet, some with a small repeat."""
    shade = 1 + 0.09 * noise(rng, grid, (220, 220), 0.6)
    painted = _tinted(pick(rng, CARPETS), shade)
    if rng.random() < 0.35:
        side = rng.uniform(0.3, 0.7)
        u, v = (np.mod(axis / side, 1) - 0.5 for axis in (grid.across, grid.along))
        lozenge = np.abs(u)[None] + np.abs(v)[:, None]
        ring = (np.abs(lozenge - 0.33) < 0.06) | (lozenge < 0.1)
        painted[ring] = painted[ring] * 0.4 + 0.6 * pick(rng, CARPETS + STONES)
    return painted


def concrete(rng: np.random.Generator, grid: Sheet) -> np.ndarray:
    """Paint blotchy screed."""
    shade = 1 + 0.1 * noise(rng, grid, (40, 40), 1.5) + 0.04 * noise(rng, grid, (200, 200), 0.6)
    return _tinted(pick(rng, [(0.58, 0.57, 0.55), (0.68, 0.66, 0.62), (0.42, 0.42, 0.43)], 0.03), shade)


def rug(rng: np.random.Generator, painted: np.ndarray, grid: Sheet) -> None:
    """Lay a rug with a border on a painted floor."""
    height, width = painted.shape[:2]
    w, h = (int(rng.uniform(0.3, 0.6) * side) for side in (width, height))
    left, top = int(rng.uniform(0.1, 0.9) * (width - w)), int(rng.uniform(0.25, 0.9) * (height - h))
    part = painted[top : top + h, left : left + w]
    first, second = pick(rng, CARPETS), pick(rng, CARPETS + STONES)
    across = np.minimum(np.arange(w), w - 1 - np.arange(w))[None] / grid.density
    along = np.minimum(np.arange(h), h - 1 - np.arange(h))[:, None] / grid.density
    edge = np.minimum(across, along)
    motif = np.sin(across * rng.uniform(8, 30)) * np.sin(along * rng.uniform(8, 30)) > rng.uniform(-0.2, 0.6)
    second_here = ((edge > 0.08) & (edge < 0.14)) | ((edge > 0.25) & motif & (rng.random() < 0.7))
    shade = 1 + 0.1 * noise(rng, Sheet(grid.across[:w], grid.along[:h], grid.density), (220, 220), 0.6)
    part[:] = np.where(second_here[..., None], _tinted(second, shade), _tinted(first, shade))


def paint_floor(rng: np.random.Generator, grid: Sheet) -> tuple[np.ndarray, float]:
    """Return a painted floor and how much it mirrors, 0 to 1."""
    kind = rng.choice(["planks", "tiles", "marble", "carpet", "concrete"], p=[0.38, 0.2, 0.12, 0.18, 0.12])
    if kind == "planks":
        painted, gloss = planks(rng, grid, along=bool(rng.random() < 0.6)), rng.uniform(0, 0.22)
    elif kind == "tiles":
        painted, gloss = tiles(rng, grid), rng.uniform(0, 0.22)
    elif kind == "marble":
        painted, gloss = marble(rng, grid), rng.uniform(0.1, 0.3)
    elif kind == "carpet":
        painted, gloss = carpet(rng, grid), 0.0
    else:
        painted, gloss = concrete(rng, grid), rng.uniform(0, 0.15)
    if kind != "carpet" and rng.random() < 0.3:
        rug(rng, painted, grid)
    return painted, float(gloss)


class WallStyle(NamedTuple):
    """What the walls of one room share."""

    kind: str
    base: np.ndarray
    second: np.ndarray
    skirting: np.ndarray
    seed: int
    """Of what repeats from wall to wall, such as the width of stripes."""


def draw_wall_style(rng: np.random.Generator) -> WallStyle:
    """Draw how the walls of a room look."""
    kinds = ["plain", "stripes", "motif", "bricks", "panels", "dado", "boards", "concrete"]
    kind = str(rng.choice(kinds, p=[0.36, 0.12, 0.1, 0.08, 0.1, 0.12, 0.06, 0.06]))
    base, second = pick(rng, WALLS), pick(rng, WALLS + WOODS)
    if kind in ("stripes", "motif"):
        second = base * rng.uniform(0.6, 0.85) + 0.1 * second
    skirting = pick(rng, WOODS) if rng.random() < 0.5 else pick(rng, [WHITE])
    return WallStyle(kind, base, second, skirting, int(rng.integers(1 << 31)))


def paint_wall(rng: np.random.Generator, grid: Sheet, style: WallStyle) -> np.ndarray:
    """Return a painted wall; its rows go down from the ceiling."""
    repeat = np.random.default_rng(style.seed)
    shade = 1 + 0.03 * noise(rng, grid, (50, 50), 1.4) + 0.012 * noise(rng, grid, (200, 200), 0.6)
    height = float(grid.along[-1])
    painted = _tinted(style.base, shade)
    if style.kind == "stripes":
        width = repeat.uniform(0.06, 0.4)
        painted[:, np.mod(grid.across / width, 1) < repeat.uniform(0.2, 0.5)] *= style.second / style.base
    elif style.kind == "motif":
        side = repeat.uniform(0.2, 0.5)
        u = np.mod(grid.across / side, 1)[None] - 0.5
        v = np.mod(grid.along / side, 1)[:, None] - 0.5
        petals = np.hypot(u, v) - 0.26 - 0.12 * np.cos(repeat.integers(3, 7) * np.arctan2(v, u))
        painted[(np.abs(petals) < 0.05) | (petals < -0.2)] *= style.second / style.base
    elif style.kind == "bricks":
        column, row, joint = _cells(grid, 0.24, 0.08, 0.5)
        brick = style.base if repeat.random() < 0.5 else np.array(linear(0.62, 0.36, 0.28), np.float32)
        painted = _tinted(brick, shade * _mixed(repeat, column, row, 0.1))
        painted[joint < 0.007] = brick * 0.5 + 0.15
    elif style.kind == "boards":
        painted = planks(repeat, grid, style.second, along=bool(repeat.random() < 0.5))
    elif style.kind == "concrete":
        painted = _tinted(style.base, 1 + 0.09 * noise(rng, grid, (35, 35), 1.5))
        _, _, joint = _cells(grid, 1.3, 1.1)
        painted[joint < 0.008] *= 0.75
    elif style.kind in ("panels", "dado"):
        level = repeat.uniform(0.8, 1.2)
        lower = grid.along > height - level
        painted[lower] *= style.second / style.base
        if style.kind == "panels":
            _bevel(painted, grid, height, level, repeat.uniform(0.5, 0.9))
        rail = np.abs(grid.along - (height - level)) < 0.035
        painted[rail] = style.skirting
    _edge(painted, grid, height, style, repeat)
    return painted


def _bevel(painted: np.ndarray, grid: Sheet, height: float, level: float, width: float) -> None:
    u = np.mod(grid.across, width)[None]
    v = (grid.along - (height - level))[:, None]
    distance = np.minimum(np.minimum(u, width - u), np.minimum(v, level - 0.1 - v))
    ridge = np.abs(distance - 0.09) < 0.012
    painted[ridge & (v > 0)] *= 0.72
    painted[(np.abs(distance - 0.112) < 0.01) & (v > 0)] *= 1.12


def _edge(painted: np.ndarray, grid: Sheet, height: float, style: WallStyle, repeat: np.random.Generator) -> None:
    """Paint skirting board and, in some rooms, a cornice."""
    board = repeat.uniform(0.06, 0.18)
    painted[grid.along > height - board] = style.skirting
    painted[np.abs(grid.along - (height - board)) < 0.012] *= 0.6
    if repeat.random() < 0.4:
        depth = repeat.uniform(0.06, 0.16)
        painted[grid.along < depth] = style.skirting * 0.5 + 0.4
        painted[np.abs(grid.along - depth) < 0.015] *= 0.7


def paint_ceiling(rng: np.random.Generator, grid: Sheet) -> np.ndarray:
    """Return a painted ceiling: plain, a grid of panels, or beams."""
    base = pick(rng, [(0.93, 0.92, 0.90), (0.88, 0.86, 0.82), (0.70, 0.68, 0.66), (0.35, 0.35, 0.37)], 0.02)
    painted = _tinted(base, 1 + 0.02 * noise(rng, grid, (60, 60)))
    kind = rng.choice(["plain", "panels", "beams", "boards"], p=[0.5, 0.22, 0.18, 0.1])
    if kind == "panels":
        _, _, joint = _cells(grid, 0.6, 0.6)
        painted[joint < 0.015] *= 0.75
    elif kind == "beams":
        gap, beam = rng.uniform(0.7, 1.6), pick(rng, WOODS)
        place = np.mod(grid.along, gap)
        painted[place < 0.16] = beam
        painted[(place >= 0.16) & (place < 0.24)] *= 0.75
    elif kind == "boards":
        painted = planks(rng, grid)
    return painted


def blur(values: np.ndarray, sigma: float) -> np.ndarray:
    """Return `values` after a Gaussian blur of `sigma` texels."""
    return cv2.GaussianBlur(values, (0, 0), max(sigma, 0.3), borderType=cv2.BORDER_REPLICATE)
