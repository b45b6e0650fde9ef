"""What museums have besides furniture: plinths with works on them, columns, screens, ropes, plants, lamps.

As in `furniture`, each builder returns solids around the origin, standing on y = 0, with the front towards +z.
"""

from itertools import pairwise

import numpy as np

from cleanplate.data.museum.finishes import paint, stone
from cleanplate.data.museum.material import Material
from cleanplate.data.museum.palettes import METALS, STONES, STRONG, WALLS, WOODS, linear, pick, triple
from cleanplate.data.museum.solids import Solid, box, cut_cone, ellipsoid, limb, turned

Rng = np.random.Generator


def at(*values: float) -> np.ndarray:
    """Return a point `(3,)`."""
    return np.array(values)


def plinth(rng: Rng) -> list[Solid]:
    """Build a plinth with a vase, a bust, a ball or an abstract sculpture on it."""
    half, height = rng.uniform(0.17, 0.32), rng.uniform(0.6, 1.15)
    body = stone(rng) if rng.random() < 0.3 else paint(rng, [*WALLS[:4], (0.95, 0.95, 0.94), (0.2, 0.2, 0.21)])
    solids = [box(at(0, height / 2, 0), (half, height / 2, half), 0, body)]
    if rng.random() < 0.5:
        solids.append(box(at(0, 0.05, 0), (half + 0.04, 0.05, half + 0.04), 0, body))
        solids.append(box(at(0, height - 0.03, 0), (half + 0.03, 0.03, half + 0.03), 0, body))
    kind = rng.integers(5)
    ware = stone(rng) if rng.random() < 0.4 else paint(rng, STRONG + METALS + STONES, 0.06, 0.4)
    if kind == 0:
        radius = rng.uniform(0.1, half)
        solids.append(ellipsoid(at(0, height + radius, 0), np.eye(3), (radius, radius, radius), ware))
    elif kind == 1:
        level = height
        radius = rng.uniform(0.06, 0.12)
        for _ in range(rng.integers(2, 5)):
            step, wider = rng.uniform(0.06, 0.2), rng.uniform(0.04, min(0.2, half))
            solids.append(cut_cone(at(0, level, 0), step, radius, wider, ware))
            level, radius = level + step, wider
    elif kind == 2:
        solids += [
            limb(at(0, height + 0.05, 0), at(0, height + 0.3, 0), 0.13, 0.06, ware),
            limb(at(-0.14, height + 0.22, 0), at(0.14, height + 0.22, 0), 0.07, 0.07, ware),
            ellipsoid(at(0, height + 0.45, 0.02), np.eye(3), (0.085, 0.125, 0.105), ware),
        ]
    elif kind == 3:
        start = at(0, height + 0.08, 0)
        for _ in range(rng.integers(2, 6)):
            end = start + rng.uniform(-0.17, 0.17, 3) + at(0, 0.14, 0)
            solids.append(limb(start, end, rng.uniform(0.03, 0.09), rng.uniform(0.03, 0.09), ware))
            start = end
    return solids


def column(rng: Rng, ceiling: float) -> list[Solid]:
    """Build a column that reaches the ceiling, round or square."""
    body = stone(rng) if rng.random() < 0.5 else paint(rng, WALLS)
    radius = rng.uniform(0.13, 0.26)
    if rng.random() < 0.4:
        return [box(at(0, ceiling / 2, 0), (radius, ceiling / 2, radius), 0, body)]
    return [
        box(at(0, 0.06, 0), (radius * 1.35, 0.06, radius * 1.35), 0, body),
        cut_cone(at(0, 0.12, 0), 0.1, radius * 1.25, radius * 1.05, body),
        cut_cone(at(0, 0.2, 0), ceiling - 0.4, radius, radius * 0.86, body),
        cut_cone(at(0, ceiling - 0.22, 0), 0.12, radius * 0.9, radius * 1.25, body),
        box(at(0, ceiling - 0.05, 0), (radius * 1.35, 0.05, radius * 1.35), 0, body),
    ]


def barrier(rng: Rng) -> list[Solid]:
    """Build two posts with a sagging rope."""
    metal, rope = (
        paint(rng, METALS, 0.02, 0.5),
        paint(rng, [(0.5, 0.12, 0.14), (0.15, 0.18, 0.3), (0.12, 0.12, 0.12)]),
    )
    half = rng.uniform(0.5, 0.9)
    solids = []
    for x in (-half, half):
        solids += [
            cut_cone(at(x, 0, 0), 0.04, 0.15, 0.13, metal),
            cut_cone(at(x, 0.03, 0), 0.9, 0.025, 0.025, metal),
            ellipsoid(at(x, 0.95, 0), np.eye(3), (0.045, 0.045, 0.045), metal),
        ]
    places = [at(x * half, 0.62 + 0.24 * x * x, 0) for x in np.linspace(-1, 1, 6)]
    return solids + [limb(a, b, 0.02, 0.02, rope) for a, b in pairwise(places)]


def screen(rng: Rng) -> list[Solid]:
    """Build a free-standing partition with pictures on it."""
    half, height = rng.uniform(0.6, 1.3), rng.uniform(1.8, 2.3)
    solids = [box(at(0, height / 2, 0), (half, height / 2, 0.06), 0, paint(rng, WALLS))]
    for side in (-1, 1):
        tall, wide = rng.uniform(0.25, 0.45), rng.uniform(0.2, half - 0.15)
        frame, canvas = paint(rng, WOODS + METALS), stone(rng)._replace(base=triple(pick(rng, STRONG)))
        solids.append(box(at(0, 1.5, side * 0.07), (wide + 0.04, tall + 0.04, 0.015), 0, frame))
        solids.append(box(at(0, 1.5, side * 0.08), (wide, tall, 0.01), 0, canvas))
    return solids


def plant(rng: Rng) -> list[Solid]:
    """Build a potted plant: a bush, a palm or a small tree."""
    pot = paint(rng, STONES + STRONG + WOODS, 0.06, 0.15)
    height, radius = rng.uniform(0.25, 0.5), rng.uniform(0.13, 0.24)
    green = np.array(linear(*(np.array([0.24, 0.42, 0.2]) + rng.normal(0, 0.05, 3)).clip(0.05, 0.6)))
    solids = [cut_cone(at(0, 0, 0), height, radius * 0.7, radius, pot)]
    top, palm = rng.uniform(0.35, 1.1), rng.random() < 0.5
    stem = Material(linear(0.36, 0.28, 0.2))
    crown = at(0, height + top * (0.25 if palm else 0.7), 0)
    solids.append(limb(at(0, height - 0.05, 0), crown, 0.025, 0.02, stem))
    for i in range(rng.integers(9, 15)):
        leaf = Material(triple(green * rng.uniform(0.6, 1.4)), grain=0.2)
        angle = i * 2.4 + rng.uniform(-0.4, 0.4)
        out = at(np.sin(angle), 0, np.cos(angle))
        if palm:
            tip = crown + out * rng.uniform(0.15, 0.45) * (0.5 + top / 2) + at(0, rng.uniform(0.0, 0.75) * top, 0)
            along = limb(crown, tip, 1, 1, leaf)
            half = along.length / 2
            solids.append(ellipsoid((crown + tip) / 2, along.frame, (0.05 + 0.04 * top, half, 0.02), leaf))
        else:
            spot = crown + out * rng.uniform(0.03, 0.22) + at(0, rng.uniform(-0.15, 0.25), 0)
            r = rng.uniform(0.08, 0.17)
            solids.append(ellipsoid(spot, turned(angle), (r, r * rng.uniform(0.5, 0.9), r), leaf))
    return solids


def floor_lamp(rng: Rng) -> list[Solid]:
    """Build a lamp on a pole, lit."""
    metal, height = paint(rng, METALS), rng.uniform(1.3, 1.75)
    shade = Material(linear(0.95, 0.86, 0.68), grain=0.02, glow=rng.uniform(0.8, 1.8))
    return [
        cut_cone(at(0, 0, 0), 0.03, 0.16, 0.15, metal),
        cut_cone(at(0, 0, 0), height, 0.014, 0.014, metal),
        cut_cone(at(0, height - 0.15, 0), 0.26, rng.uniform(0.15, 0.24), rng.uniform(0.09, 0.16), shade),
    ]


def fitting(rng: Rng, kind: str, ceiling: np.ndarray, drop: float) -> list[Solid]:
    """Return what a lamp at `ceiling` `(3,)` burns in: a panel, a pendant that hangs `drop` metres, or a spot."""
    lit = Material(linear(1.0, 0.97, 0.9), grain=0.0, glow=3.0)
    metal = paint(rng, METALS)
    if kind == "panel":
        return [box(ceiling - at(0, 0.02, 0), (0.45, 0.02, 0.16), 0, lit)]
    if kind == "spots":
        return [
            cut_cone(ceiling - at(0, 0.12, 0), 0.12, 0.07, 0.07, metal),
            cut_cone(ceiling - at(0, 0.13, 0), 0.01, 0.06, 0.06, lit),
        ]
    shade = lit._replace(base=linear(0.98, 0.92, 0.8), glow=1.3)
    return [
        cut_cone(ceiling - at(0, drop, 0), drop, 0.008, 0.008, metal),
        cut_cone(ceiling - at(0, drop + 0.18, 0), 0.2, 0.2, 0.1, shade),
    ]
