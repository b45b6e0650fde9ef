"""What hangs on walls: pictures, posters, doors, windows, curtains, radiators, clocks."""

from typing import NamedTuple

import cv2
import numpy as np

from cleanplate.data.museum.paintings import paint_picture
from cleanplate.data.museum.palettes import CARPETS, WALLS, WHITE, WOODS, Colour, linear, pick
from cleanplate.data.museum.textures import Sheet, blur, noise, planks

FRAMES: list[Colour] = [*WOODS, (0.10, 0.10, 0.10), (0.75, 0.62, 0.30), (0.93, 0.93, 0.92)]


class Pane(NamedTuple):
    """A window pane's place on its wall, metres: from the left, from the ceiling."""

    left: float
    top: float
    width: float
    height: float
    brightness: float


class Wall:
    """A wall while it is being decorated: `paint` takes light, `glow` gives it."""

    def __init__(self, paint: np.ndarray, grid: Sheet, length: float, height: float) -> None:
        """Take the painted wall, its grid and its size in metres."""
        self.paint, self.grid, self.length, self.height = paint, grid, length, height
        self.glow = np.zeros_like(paint)
        self.panes: list[Pane] = []
        self.taken: list[tuple[float, float]] = []

    def part(self, left: float, top: float, width: float, height: float) -> tuple[slice, slice]:
        """Return the texels of a rectangle in metres; `top` counts from the ceiling."""
        density = self.grid.density
        rows, columns = self.paint.shape[:2]
        first_row, first_column = (
            int(np.clip(round(v * density), 0, n - 2)) for v, n in ((top, rows), (left, columns))
        )
        last_row = int(np.clip(round((top + height) * density), first_row + 1, rows))
        last_column = int(np.clip(round((left + width) * density), first_column + 1, columns))
        return slice(first_row, last_row), slice(first_column, last_column)

    def fill(self, left: float, top: float, width: float, height: float, paint: np.ndarray | float) -> None:
        """Paint a rectangle."""
        self.paint[self.part(left, top, width, height)] = paint

    def shadow(self, left: float, top: float, width: float, height: float, strength: float = 0.35) -> None:
        """Darken the wall around something that stands out from it, more below than above."""
        reach = 0.07
        rows, columns = self.part(left - reach, top - reach / 2, width + 2 * reach, height + 2.5 * reach)
        dark = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        edge = int(reach * self.grid.density)
        dark[edge : -edge or None, edge : -edge or None] = strength
        self.paint[rows, columns] *= 1 - blur(dark, edge / 2)[..., None]

    def free(self, width: float) -> list[float]:
        """Return left edges at which something of `width` would still stand clear."""
        places = np.arange(0.15, self.length - width - 0.15, 0.1)
        return [p for p in places.tolist() if all(p + width + 0.12 < a or p > b + 0.12 for a, b in self.taken)]

    def hang_picture(self, rng: np.random.Generator) -> None:
        """Hang a framed picture where there is room, or do nothing."""
        tall = min(self.height - 1.1, 1.9)
        width, height = rng.uniform(0.35, 1.7), rng.uniform(0.35, tall)
        places = self.free(width)
        if not places:
            return
        left = float(rng.choice(places))
        top = float(np.clip(self.height - rng.uniform(1.45, 1.75) - height / 2, 0.25, self.height - height - 0.6))
        self.taken.append((left, left + width))
        self.shadow(left, top, width, height)
        border = rng.uniform(0.02, 0.09)
        self.fill(left, top, width, height, pick(rng, FRAMES))
        self.fill(left, top, width, border * 0.35, 0.7)
        inset = border
        if rng.random() < 0.35:
            self.fill(
                left + inset, top + inset, width - 2 * inset, height - 2 * inset, np.array(linear(0.93, 0.92, 0.88))
            )
            inset += rng.uniform(0.04, 0.12)
        rows, columns = self.part(
            left + inset, top + inset, max(0.05, width - 2 * inset), max(0.05, height - 2 * inset)
        )
        self.paint[rows, columns] = paint_picture(rng, rows.stop - rows.start, columns.stop - columns.start)

    def hang_door(self, rng: np.random.Generator) -> None:
        """Set a door where there is room, or do nothing: shut, panelled, glazed, or open on a dim room."""
        width, height = rng.uniform(0.85, 1.5), min(rng.uniform(2.0, 2.4), self.height - 0.25)
        places = self.free(width)
        if not places:
            return
        left, top = float(rng.choice(places)), self.height - height
        self.taken.append((left - 0.1, left + width + 0.1))
        self.shadow(left, top, width, height, 0.2)
        case, leaf = pick(rng, [*WOODS, WHITE]), pick(rng, [*WOODS, *WALLS])
        self.fill(left - 0.08, top - 0.08, width + 0.16, height + 0.08, case)
        self.fill(left - 0.01, top - 0.01, width + 0.02, height + 0.01, case * 0.5)
        if rng.random() < 0.25:
            rows, columns = self.part(left, top, width, height)
            shade = np.linspace(0.5, 0.2, rows.stop - rows.start, dtype=np.float32)[:, None, None]
            self.paint[rows, columns] = pick(rng, WALLS) * shade * 0.5
            self.fill(left, self.height - 0.25, width, 0.25, pick(rng, WOODS) * 0.3)
            return
        self.fill(left, top, width, height, leaf)
        leaves = 2 if width > 1.2 else 1
        count, glazed = int(rng.integers(1, 4)), rng.random() < 0.25
        for side in range(leaves):
            x, step = left + side * width / leaves, (height - 0.3) / count
            for level in range(count):
                y = top + 0.12 + level * step
                inner = (x + 0.12, y, width / leaves - 0.24, step - 0.1)
                self.fill(*inner, leaf * 0.62)
                core = (inner[0] + 0.02, y + 0.025, inner[2] - 0.03, inner[3] - 0.04)
                self.fill(*core, np.array(linear(0.5, 0.58, 0.62)) if glazed else leaf * 0.96)
            knob = x + width / leaves - 0.09 if side == 0 else x + 0.05
            self.fill(
                knob, self.height - 1.05, 0.05, 0.03 if rng.random() < 0.5 else 0.14, np.array(linear(0.7, 0.66, 0.55))
            )
            self.fill(x, top, 0.012, height, leaf * 0.4)

    def hang_window(self, rng: np.random.Generator, left: float, width: float, style: np.random.Generator) -> None:
        """Set a window with a view of sky and trees, some with curtains; `style` is the same for a wall's windows."""
        sill, top = style.uniform(0.2, 1.0), style.uniform(0.2, 0.45)
        height, bright = max(0.8, self.height - sill - top), float(style.uniform(1.3, 3.0))
        self.taken.append((left - 0.25, left + width + 0.25))
        case = pick(style, [*WOODS, WHITE, WHITE])
        self.fill(left - 0.09, top - 0.09, width + 0.18, height + 0.18, case)
        self.fill(left - 0.13, top + height + 0.04, width + 0.26, 0.06, case * 1.05)
        self.shadow(left - 0.13, top + height + 0.02, width + 0.26, 0.08, 0.3)
        self.panes.append(Pane(left, top, width, height, bright))
        rows, columns = self.part(left, top, width, height)
        h, w = rows.stop - rows.start, columns.stop - columns.start
        view = np.empty((h, w, 3), np.float32)
        view[:] = np.linspace(1, 0.75, h, dtype=np.float32)[:, None, None] * pick(
            style, [(0.85, 0.92, 1.0), (0.95, 0.95, 0.93)]
        )
        grid = Sheet(self.grid.across[:w], self.grid.along[:h], self.grid.density)
        trees = style.uniform(0.35, 0.8) * h + 0.1 * h * noise(rng, grid, (120, 120), 1.4)
        view[np.arange(h)[:, None] > trees] = pick(style, [(0.35, 0.48, 0.28), (0.55, 0.52, 0.48), (0.40, 0.46, 0.46)])
        bars = np.zeros((h, w), bool)
        thick = max(1, round(0.035 * self.grid.density))
        for count, axis, size in ((style.integers(1, 4), 1, w), (style.integers(1, 4), 0, h)):
            for bar in range(1, count):
                place = slice(size * bar // count, size * bar // count + thick)
                bars[(slice(None), place) if axis == 1 else (place, slice(None))] = True
        self.paint[rows, columns] = 0
        self.paint[rows, columns][bars] = case * 0.8
        self.glow[rows, columns] = np.where(bars[..., None], 0.0, view * bright)
        if style.random() < 0.4:
            self._curtains(rng, left, width, top, pick(style, CARPETS + WALLS))

    def _curtains(self, rng: np.random.Generator, left: float, width: float, top: float, cloth: np.ndarray) -> None:
        breadth = width * 0.22 + 0.15
        for edge in (left - 0.2, left + width + 0.2 - breadth):
            rows, columns = self.part(edge, max(0.05, top - 0.15), breadth, self.height - top - 0.02)
            across = self.grid.across[: columns.stop - columns.start]
            folds = 0.75 + 0.3 * np.sin(across * 48 + 2 * np.sin(across * 13 + rng.uniform(0, 6)))
            self.paint[rows, columns] = folds.astype(np.float32)[None, :, None] * cloth
            self.glow[rows, columns] = 0

    def hang_boards(self, rng: np.random.Generator) -> None:
        """Clad a stretch of the wall with boards, as behind a counter, or do nothing."""
        width = rng.uniform(1.0, 2.4)
        places = self.free(width)
        if places:
            left, height = float(rng.choice(places)), rng.uniform(1.0, self.height - 0.2)
            self.taken.append((left, left + width))
            rows, columns = self.part(left, self.height - height, width, height - 0.05)
            grid = Sheet(self.grid.across[columns], self.grid.along[rows], self.grid.density)
            self.shadow(left, self.height - height, width, height, 0.25)
            self.paint[rows, columns] = planks(rng, grid, along=bool(rng.random() < 0.5))

    def hang_small_things(self, rng: np.random.Generator) -> None:
        """Add what walls have besides: a radiator, a clock, a switch, a label."""
        if rng.random() < 0.35 and (places := self.free(1.0)):
            left = float(rng.choice(places))
            self.shadow(left, self.height - 0.75, 0.9, 0.6, 0.3)
            rows, columns = self.part(left, self.height - 0.75, 0.9, 0.6)
            ribs = 0.62 + 0.2 * np.sin(self.grid.across[: columns.stop - columns.start] * 90)
            self.paint[rows, columns] = ribs.astype(np.float32)[None, :, None]
        if rng.random() < 0.2 and (places := self.free(0.4)):
            centre = (float(rng.choice(places)) + 0.2, self.height - 2.1)
            at = tuple(round(v * self.grid.density) for v in centre)
            radius = round(0.16 * self.grid.density)
            cv2.circle(self.paint, at, radius, pick(rng, FRAMES).tolist(), -1)
            cv2.circle(self.paint, at, round(radius * 0.85), (0.85, 0.84, 0.8), -1)
            cv2.line(self.paint, at, (at[0], at[1] - round(radius * 0.7)), (0.02, 0.02, 0.02), 1)
            cv2.line(self.paint, at, (at[0] + round(radius * 0.5), at[1]), (0.02, 0.02, 0.02), 1)
        for a, b in list(self.taken):
            if rng.random() < 0.4:
                self.fill(
                    b + 0.13,
                    self.height - rng.uniform(1.15, 1.4),
                    0.08 if b > a else 0.1,
                    0.1,
                    np.array(linear(0.9, 0.9, 0.88)),
                )
