"""Furniture: each builder returns solids around the origin, standing on y = 0, with its front towards +z."""

from collections.abc import Callable

import numpy as np

from cleanplate.data.museum.decor import STRONG_COLOURS
from cleanplate.data.museum.material import BOOKS, MARBLE, PLAIN, WOOD, Material, colour
from cleanplate.data.museum.solids import Solid, box, cut_cone, ellipsoid, limb, turned
from cleanplate.data.museum.textures import CARPETS, STONES, WALL_COLOURS, WOODS, Colour, pick

Rng = np.random.Generator
METALS: list[Colour] = [(0.15, 0.15, 0.16), (0.62, 0.62, 0.64), (0.72, 0.60, 0.32), (0.86, 0.86, 0.86)]


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _wood(rng: Rng) -> Material:
    base = pick(rng, WOODS)
    return Material(_triple(base), _triple(base * 0.62), WOOD, 0.35, 0.04, 0.15)


def _stone(rng: Rng) -> Material:
    base = pick(rng, STONES)
    return Material(_triple(base), _triple(base * 0.6), MARBLE, 0.8, 0.03, 0.2)


def _paint(rng: Rng, colours: list[Colour], grain: float = 0.04, gloss: float = 0.1) -> Material:
    return Material(_triple(pick(rng, colours)), pattern=PLAIN, grain=grain, gloss=gloss)


def _at(*values: float) -> np.ndarray:
    return np.array(values)


def plinth(rng: Rng) -> list[Solid]:
    """Build a plinth with a vase, a bust, a ball or an abstract sculpture on it."""
    half, height = rng.uniform(0.17, 0.32), rng.uniform(0.6, 1.15)
    body = _stone(rng) if rng.random() < 0.3 else _paint(rng, [*WALL_COLOURS[:4], (0.95, 0.95, 0.94), (0.2, 0.2, 0.21)])
    solids = [box(_at(0, height / 2, 0), (half, height / 2, half), 0, body)]
    if rng.random() < 0.5:
        solids.append(box(_at(0, 0.05, 0), (half + 0.04, 0.05, half + 0.04), 0, body))
        solids.append(box(_at(0, height - 0.03, 0), (half + 0.03, 0.03, half + 0.03), 0, body))
    kind = rng.integers(5)
    ware = _stone(rng) if rng.random() < 0.4 else _paint(rng, STRONG_COLOURS + METALS + STONES, 0.06, 0.4)
    if kind == 0:
        radius = rng.uniform(0.1, half)
        solids.append(ellipsoid(_at(0, height + radius, 0), np.eye(3), (radius, radius, radius), ware))
    elif kind == 1:
        level = height
        radius = rng.uniform(0.06, 0.12)
        for _ in range(rng.integers(2, 5)):
            step, wider = rng.uniform(0.06, 0.2), rng.uniform(0.04, min(0.2, half))
            solids.append(cut_cone(_at(0, level, 0), step, radius, wider, ware))
            level, radius = level + step, wider
    elif kind == 2:
        solids += [
            limb(_at(0, height + 0.05, 0), _at(0, height + 0.3, 0), 0.13, 0.06, ware),
            limb(_at(-0.14, height + 0.22, 0), _at(0.14, height + 0.22, 0), 0.07, 0.07, ware),
            ellipsoid(_at(0, height + 0.45, 0.02), np.eye(3), (0.085, 0.125, 0.105), ware),
        ]
    elif kind == 3:
        start = _at(0, height + 0.08, 0)
        for _ in range(rng.integers(2, 6)):
            end = start + rng.uniform(-0.17, 0.17, 3) + _at(0, 0.14, 0)
            solids.append(limb(start, end, rng.uniform(0.03, 0.09), rng.uniform(0.03, 0.09), ware))
            start = end
    return solids


def bench(rng: Rng) -> list[Solid]:
    """Build a bench, some padded."""
    half, deep, height = rng.uniform(0.5, 1.0), rng.uniform(0.18, 0.3), rng.uniform(0.4, 0.5)
    seat = _paint(rng, CARPETS + STRONG_COLOURS[5:6], 0.07, 0.05) if rng.random() < 0.45 else _wood(rng)
    leg = _paint(rng, METALS) if rng.random() < 0.5 else _wood(rng)
    solids = [box(_at(0, height - 0.05, 0), (half, 0.05, deep), 0, seat)]
    inset = rng.uniform(0.05, 0.3)
    for x in (inset - half, half - inset):
        if rng.random() < 0.5:
            solids.append(box(_at(x, height / 2 - 0.05, 0), (0.03, height / 2 - 0.05, deep * 0.85), 0, leg))
        else:
            solids += [
                box(_at(x, height / 2 - 0.05, z), (0.025, height / 2 - 0.05, 0.025), 0, leg)
                for z in (-deep * 0.8, deep * 0.8)
            ]
    return solids


def table(rng: Rng) -> list[Solid]:
    """Build a table, square or round, with something on it."""
    top = _wood(rng) if rng.random() < 0.7 else _paint(rng, WALL_COLOURS)
    leg = top if rng.random() < 0.5 else _paint(rng, METALS)
    height = rng.uniform(0.7, 0.78)
    if rng.random() < 0.35:
        radius = rng.uniform(0.35, 0.65)
        solids = [
            cut_cone(_at(0, height - 0.03, 0), 0.03, radius, radius, top),
            cut_cone(_at(0, 0, 0), height, 0.04, 0.04, leg),
            cut_cone(_at(0, 0, 0), 0.03, radius * 0.6, radius * 0.5, leg),
        ]
        x = z = radius * 0.4
    else:
        x, z = rng.uniform(0.45, 0.95), rng.uniform(0.3, 0.5)
        solids = [box(_at(0, height - 0.02, 0), (x, 0.025, z), 0, top)]
        solids += [
            box(_at(a * (x - 0.05), height / 2, b * (z - 0.05)), (0.03, height / 2 - 0.02, 0.03), 0, leg)
            for a in (-1, 1)
            for b in (-1, 1)
        ]
    for _ in range(rng.integers(0, 4)):
        spot = _at(rng.uniform(-x, x) * 0.7, height, rng.uniform(-z, z) * 0.7)
        thing = _paint(rng, STRONG_COLOURS, 0.05, 0.3)
        if rng.random() < 0.5:
            solids.append(cut_cone(spot, rng.uniform(0.08, 0.3), rng.uniform(0.03, 0.08), rng.uniform(0.03, 0.1), thing))
        else:
            solids.append(box(spot + _at(0, 0.03, 0), (0.12, 0.03, 0.09), rng.uniform(0, 3), thing))
    return solids


def chair(rng: Rng) -> list[Solid]:
    """Build a chair with a back."""
    frame = _wood(rng) if rng.random() < 0.6 else _paint(rng, METALS)
    seat = frame if rng.random() < 0.5 else _paint(rng, CARPETS + STRONG_COLOURS, 0.07, 0.05)
    solids = [box(_at(0, 0.45, 0), (0.22, 0.03, 0.21), 0, seat)]
    solids += [box(_at(a * 0.19, 0.21, 0.18), (0.018, 0.21, 0.018), 0, frame) for a in (-1, 1)]
    solids += [box(_at(a * 0.19, 0.45, -0.19), (0.018, 0.45, 0.018), 0, frame) for a in (-1, 1)]
    solids.append(box(_at(0, 0.76, -0.19), (0.2, rng.uniform(0.06, 0.16), 0.015), 0, seat))
    return solids


def sofa(rng: Rng) -> list[Solid]:
    """Build an armchair or a sofa with cushions."""
    half = 0.42 if rng.random() < 0.4 else rng.uniform(0.7, 1.1)
    cloth = _paint(rng, CARPETS + STRONG_COLOURS, 0.08, 0.0)
    back = rng.uniform(0.75, 0.95)
    solids = [
        box(_at(0, 0.23, 0), (half, 0.15, 0.38), 0, cloth),
        box(_at(0, back / 2 + 0.05, -0.33), (half, back / 2 - 0.02, 0.09), 0, cloth),
    ]
    for side in (-1, 1):
        solids.append(box(_at(side * (half + 0.04), 0.33, 0), (0.09, 0.26, 0.4), 0, cloth))
        solids.append(limb(_at(side * (half + 0.04), 0.59, -0.38), _at(side * (half + 0.04), 0.59, 0.38), 0.095, 0.095, cloth))
    seats = 1 if half < 0.5 else 2
    lighter = cloth._replace(base=_triple(np.minimum(np.array(cloth.base) * 1.12, 0.95)))
    for i in range(seats):
        x = (i - (seats - 1) / 2) * 2 * half / seats
        solids.append(box(_at(x, 0.43, 0.04), (half / seats - 0.02, 0.06, 0.34), 0, lighter))
    if rng.random() < 0.6:
        cushion = _paint(rng, STRONG_COLOURS, 0.07, 0.0)
        lean = turned(rng.uniform(-0.4, 0.4))
        solids.append(ellipsoid(_at(rng.uniform(-0.6, 0.6) * half, 0.64, -0.14), lean, (0.2, 0.18, 0.08), cushion))
    return solids


def cabinet(rng: Rng) -> list[Solid]:
    """Build a chest or a tall cupboard with doors or drawers."""
    half, deep = rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.28)
    height = rng.uniform(0.7, 1.1) if rng.random() < 0.55 else rng.uniform(1.6, 2.1)
    wood = _wood(rng) if rng.random() < 0.65 else _paint(rng, WALL_COLOURS)
    front = wood._replace(base=_triple(np.array(wood.base) * 0.88), second=_triple(np.array(wood.second) * 0.88))
    foot = rng.uniform(0.04, 0.12)
    solids = [
        box(_at(0, (height + foot) / 2, 0), (half, (height - foot) / 2, deep), 0, wood),
        box(_at(0, foot / 2, 0), (half - 0.04, foot / 2, deep - 0.04), 0, front),
        box(_at(0, height, 0), (half + 0.02, 0.015, deep + 0.02), 0, wood),
    ]
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    metal = _paint(rng, METALS)
    w, h = 2 * half / columns, (height - foot) / rows
    for i in range(columns):
        for j in range(rows):
            middle = _at((i + 0.5) * w - half, foot + (j + 0.5) * h, deep)
            solids.append(box(middle, (w / 2 - 0.02, h / 2 - 0.02, 0.012), 0, front))
            solids.append(box(middle + _at(0.3 * w, 0.25 * h, 0.02), (0.03, 0.01, 0.012), 0, metal))
    if rng.random() < 0.6 and height < 1.3:
        solids.append(cut_cone(_at(rng.uniform(-0.6, 0.6) * half, height, 0), rng.uniform(0.12, 0.35), 0.07, rng.uniform(0.03, 0.11), _paint(rng, STRONG_COLOURS)))
    return solids


def bookcase(rng: Rng) -> list[Solid]:
    """Build shelves of books."""
    half, height, shelf = rng.uniform(0.4, 1.0), rng.uniform(1.3, 2.2), rng.uniform(0.3, 0.4)
    wood = _wood(rng)
    first, second = (_triple(pick(rng, STRONG_COLOURS + WOODS) * 0.8) for _ in range(2))
    books = Material(first, second, BOOKS, shelf, 0.1)
    rows = max(2, int(height / shelf))
    height = rows * shelf + 0.04
    solids = [box(_at(0, height / 2, -0.03), (half - 0.02, height / 2 - 0.02, 0.14), 0, books)]
    solids += [box(_at(a * half, height / 2, 0), (0.02, height / 2, 0.16), 0, wood) for a in (-1, 1)]
    solids += [box(_at(0, 0.02 + row * shelf, 0), (half, 0.018, 0.16), 0, wood) for row in range(rows + 1)]
    return solids


def plant(rng: Rng) -> list[Solid]:
    """Build a potted plant: a bush, a palm or a small tree."""
    pot = _paint(rng, STONES + STRONG_COLOURS + WOODS, 0.06, 0.15)
    height, radius = rng.uniform(0.25, 0.5), rng.uniform(0.13, 0.24)
    green = np.array(colour(*(np.array([0.24, 0.42, 0.2]) + rng.normal(0, 0.05, 3)).clip(0.05, 0.6)))
    solids = [cut_cone(_at(0, 0, 0), height, radius * 0.7, radius, pot)]
    top, palm = rng.uniform(0.35, 1.1), rng.random() < 0.5
    stem = Material(colour(0.36, 0.28, 0.2))
    crown = _at(0, height + top * (0.25 if palm else 0.7), 0)
    solids.append(limb(_at(0, height - 0.05, 0), crown, 0.025, 0.02, stem))
    for i in range(rng.integers(9, 15)):
        leaf = Material(_triple(green * rng.uniform(0.6, 1.4)), grain=0.2)
        angle = i * 2.4 + rng.uniform(-0.4, 0.4)
        out = _at(np.sin(angle), 0, np.cos(angle))
        if palm:
            tip = crown + out * rng.uniform(0.15, 0.45) * (0.5 + top / 2) + _at(0, rng.uniform(0.0, 0.75) * top, 0)
            along = limb(crown, tip, 1, 1, leaf)
            half = along.length / 2
            solids.append(ellipsoid((crown + tip) / 2, along.frame, (0.05 + 0.04 * top, half, 0.02), leaf))
        else:
            spot = crown + out * rng.uniform(0.03, 0.22) + _at(0, rng.uniform(-0.15, 0.25), 0)
            r = rng.uniform(0.08, 0.17)
            solids.append(ellipsoid(spot, turned(angle), (r, r * rng.uniform(0.5, 0.9), r), leaf))
    return solids


def column(rng: Rng, ceiling: float) -> list[Solid]:
    """Build a column that reaches the ceiling, round or square."""
    stone = _stone(rng) if rng.random() < 0.5 else _paint(rng, WALL_COLOURS)
    radius = rng.uniform(0.13, 0.26)
    if rng.random() < 0.4:
        return [box(_at(0, ceiling / 2, 0), (radius, ceiling / 2, radius), 0, stone)]
    return [
        box(_at(0, 0.06, 0), (radius * 1.35, 0.06, radius * 1.35), 0, stone),
        cut_cone(_at(0, 0.12, 0), 0.1, radius * 1.25, radius * 1.05, stone),
        cut_cone(_at(0, 0.2, 0), ceiling - 0.4, radius, radius * 0.86, stone),
        cut_cone(_at(0, ceiling - 0.22, 0), 0.12, radius * 0.9, radius * 1.25, stone),
        box(_at(0, ceiling - 0.05, 0), (radius * 1.35, 0.05, radius * 1.35), 0, stone),
    ]


def barrier(rng: Rng) -> list[Solid]:
    """Build two posts with a sagging rope."""
    metal, rope = _paint(rng, METALS, 0.02, 0.5), _paint(rng, [(0.5, 0.12, 0.14), (0.15, 0.18, 0.3), (0.12, 0.12, 0.12)])
    half = rng.uniform(0.5, 0.9)
    solids = []
    for x in (-half, half):
        solids += [
            cut_cone(_at(x, 0, 0), 0.04, 0.15, 0.13, metal),
            cut_cone(_at(x, 0.03, 0), 0.9, 0.025, 0.025, metal),
            ellipsoid(_at(x, 0.95, 0), np.eye(3), (0.045, 0.045, 0.045), metal),
        ]
    places = [_at(x * half, 0.62 + 0.24 * x * x, 0) for x in np.linspace(-1, 1, 6)]
    return solids + [limb(a, b, 0.02, 0.02, rope) for a, b in zip(places, places[1:], strict=False)]


def floor_lamp(rng: Rng) -> list[Solid]:
    """Build a lamp on a pole, lit."""
    metal, height = _paint(rng, METALS), rng.uniform(1.3, 1.75)
    shade = Material(colour(0.95, 0.86, 0.68), grain=0.02, glow=rng.uniform(0.8, 1.8))
    return [
        cut_cone(_at(0, 0, 0), 0.03, 0.16, 0.15, metal),
        cut_cone(_at(0, 0, 0), height, 0.014, 0.014, metal),
        cut_cone(_at(0, height - 0.15, 0), 0.26, rng.uniform(0.15, 0.24), rng.uniform(0.09, 0.16), shade),
    ]


def screen(rng: Rng) -> list[Solid]:
    """Build a free-standing partition with pictures on it."""
    half, height = rng.uniform(0.6, 1.3), rng.uniform(1.8, 2.3)
    solids = [box(_at(0, height / 2, 0), (half, height / 2, 0.06), 0, _paint(rng, WALL_COLOURS))]
    for side in (-1, 1):
        tall, wide = rng.uniform(0.25, 0.45), rng.uniform(0.2, half - 0.15)
        frame, canvas = _paint(rng, WOODS + METALS), _stone(rng)._replace(base=_triple(pick(rng, STRONG_COLOURS)))
        solids.append(box(_at(0, 1.5, side * 0.07), (wide + 0.04, tall + 0.04, 0.015), 0, frame))
        solids.append(box(_at(0, 1.5, side * 0.08), (wide, tall, 0.01), 0, canvas))
    return solids


def fitting(rng: Rng, kind: str, ceiling: np.ndarray, drop: float) -> list[Solid]:
    """Return what a lamp at `ceiling` `(3,)` burns in: a panel, a pendant that hangs `drop` metres, or a spot."""
    lit = Material(colour(1.0, 0.97, 0.9), grain=0.0, glow=3.0)
    metal = _paint(rng, METALS)
    if kind == "panel":
        return [box(ceiling - _at(0, 0.02, 0), (0.45, 0.02, 0.16), 0, lit)]
    if kind == "spots":
        return [cut_cone(ceiling - _at(0, 0.12, 0), 0.12, 0.07, 0.07, metal), cut_cone(ceiling - _at(0, 0.13, 0), 0.01, 0.06, 0.06, lit)]
    shade = lit._replace(base=colour(0.98, 0.92, 0.8), glow=1.3)
    return [
        cut_cone(ceiling - _at(0, drop, 0), drop, 0.008, 0.008, metal),
        cut_cone(ceiling - _at(0, drop + 0.18, 0), 0.2, 0.2, 0.1, shade),
    ]


AT_WALL: list[Callable[[Rng], list[Solid]]] = [bench, cabinet, cabinet, bookcase, sofa, plant, plinth, floor_lamp, chair]
FREE: list[Callable[[Rng], list[Solid]]] = [plinth, plinth, bench, table, chair, barrier, sofa, plant, screen]
