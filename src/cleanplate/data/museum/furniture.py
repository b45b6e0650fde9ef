"""Furniture: each builder returns solids around the origin, standing on y = 0, with its front towards +z."""

from collections.abc import Callable

import numpy as np

from cleanplate.data.museum.exhibits import at, barrier, floor_lamp, plant, plinth, screen
from cleanplate.data.museum.finishes import paint, wood
from cleanplate.data.museum.material import BOOKS, Material
from cleanplate.data.museum.palettes import CARPETS, METALS, STRONG, WALLS, WOODS, pick, triple
from cleanplate.data.museum.solids import Solid, box, cut_cone, ellipsoid, limb, turned

Rng = np.random.Generator


def bench(rng: Rng) -> list[Solid]:
    """Build a bench, some padded."""
    half, deep, height = rng.uniform(0.5, 1.0), rng.uniform(0.18, 0.3), rng.uniform(0.4, 0.5)
    seat = paint(rng, CARPETS + STRONG[5:6], 0.07, 0.05) if rng.random() < 0.45 else wood(rng)
    leg = paint(rng, METALS) if rng.random() < 0.5 else wood(rng)
    solids = [box(at(0, height - 0.05, 0), (half, 0.05, deep), 0, seat)]
    inset = rng.uniform(0.05, 0.3)
    for x in (inset - half, half - inset):
        if rng.random() < 0.5:
            solids.append(box(at(x, height / 2 - 0.05, 0), (0.03, height / 2 - 0.05, deep * 0.85), 0, leg))
        else:
            solids += [
                box(at(x, height / 2 - 0.05, z), (0.025, height / 2 - 0.05, 0.025), 0, leg)
                for z in (-deep * 0.8, deep * 0.8)
            ]
    return solids


def table(rng: Rng) -> list[Solid]:
    """Build a table, square or round, with something on it."""
    top = wood(rng) if rng.random() < 0.7 else paint(rng, WALLS)
    leg = top if rng.random() < 0.5 else paint(rng, METALS)
    height = rng.uniform(0.7, 0.78)
    if rng.random() < 0.35:
        radius = rng.uniform(0.35, 0.65)
        solids = [
            cut_cone(at(0, height - 0.03, 0), 0.03, radius, radius, top),
            cut_cone(at(0, 0, 0), height, 0.04, 0.04, leg),
            cut_cone(at(0, 0, 0), 0.03, radius * 0.6, radius * 0.5, leg),
        ]
        x = z = radius * 0.4
    else:
        x, z = rng.uniform(0.45, 0.95), rng.uniform(0.3, 0.5)
        solids = [box(at(0, height - 0.02, 0), (x, 0.025, z), 0, top)]
        solids += [
            box(at(a * (x - 0.05), height / 2, b * (z - 0.05)), (0.03, height / 2 - 0.02, 0.03), 0, leg)
            for a in (-1, 1)
            for b in (-1, 1)
        ]
    for _ in range(rng.integers(0, 4)):
        spot = at(rng.uniform(-x, x) * 0.7, height, rng.uniform(-z, z) * 0.7)
        thing = paint(rng, STRONG, 0.05, 0.3)
        if rng.random() < 0.5:
            solids.append(
                cut_cone(spot, rng.uniform(0.08, 0.3), rng.uniform(0.03, 0.08), rng.uniform(0.03, 0.1), thing)
            )
        else:
            solids.append(box(spot + at(0, 0.03, 0), (0.12, 0.03, 0.09), rng.uniform(0, 3), thing))
    return solids


def chair(rng: Rng) -> list[Solid]:
    """Build a chair with a back."""
    frame = wood(rng) if rng.random() < 0.6 else paint(rng, METALS)
    seat = frame if rng.random() < 0.5 else paint(rng, CARPETS + STRONG, 0.07, 0.05)
    solids = [box(at(0, 0.45, 0), (0.22, 0.03, 0.21), 0, seat)]
    solids += [box(at(a * 0.19, 0.21, 0.18), (0.018, 0.21, 0.018), 0, frame) for a in (-1, 1)]
    solids += [box(at(a * 0.19, 0.45, -0.19), (0.018, 0.45, 0.018), 0, frame) for a in (-1, 1)]
    solids.append(box(at(0, 0.76, -0.19), (0.2, rng.uniform(0.06, 0.16), 0.015), 0, seat))
    return solids


def sofa(rng: Rng) -> list[Solid]:
    """Build an armchair or a sofa with cushions."""
    half = 0.42 if rng.random() < 0.4 else rng.uniform(0.7, 1.1)
    cloth = paint(rng, CARPETS + STRONG, 0.08, 0.0)
    back = rng.uniform(0.75, 0.95)
    solids = [
        box(at(0, 0.23, 0), (half, 0.15, 0.38), 0, cloth),
        box(at(0, back / 2 + 0.05, -0.33), (half, back / 2 - 0.02, 0.09), 0, cloth),
    ]
    for side in (-1, 1):
        solids.append(box(at(side * (half + 0.04), 0.33, 0), (0.09, 0.26, 0.4), 0, cloth))
        solids.append(
            limb(at(side * (half + 0.04), 0.59, -0.38), at(side * (half + 0.04), 0.59, 0.38), 0.095, 0.095, cloth)
        )
    seats = 1 if half < 0.5 else 2
    lighter = cloth._replace(base=triple(np.minimum(np.array(cloth.base) * 1.12, 0.95)))
    for i in range(seats):
        x = (i - (seats - 1) / 2) * 2 * half / seats
        solids.append(box(at(x, 0.43, 0.04), (half / seats - 0.02, 0.06, 0.34), 0, lighter))
    if rng.random() < 0.6:
        cushion = paint(rng, STRONG, 0.07, 0.0)
        lean = turned(rng.uniform(-0.4, 0.4))
        solids.append(ellipsoid(at(rng.uniform(-0.6, 0.6) * half, 0.64, -0.14), lean, (0.2, 0.18, 0.08), cushion))
    return solids


def cabinet(rng: Rng) -> list[Solid]:
    """Build a chest or a tall cupboard with doors or drawers."""
    half, deep = rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.28)
    height = rng.uniform(0.7, 1.1) if rng.random() < 0.55 else rng.uniform(1.6, 2.1)
    body = wood(rng) if rng.random() < 0.65 else paint(rng, WALLS)
    front = body._replace(base=triple(np.array(body.base) * 0.88), second=triple(np.array(body.second) * 0.88))
    foot = rng.uniform(0.04, 0.12)
    solids = [
        box(at(0, (height + foot) / 2, 0), (half, (height - foot) / 2, deep), 0, body),
        box(at(0, foot / 2, 0), (half - 0.04, foot / 2, deep - 0.04), 0, front),
        box(at(0, height, 0), (half + 0.02, 0.015, deep + 0.02), 0, body),
    ]
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    metal = paint(rng, METALS)
    w, h = 2 * half / columns, (height - foot) / rows
    for i in range(columns):
        for j in range(rows):
            middle = at((i + 0.5) * w - half, foot + (j + 0.5) * h, deep)
            solids.append(box(middle, (w / 2 - 0.02, h / 2 - 0.02, 0.012), 0, front))
            solids.append(box(middle + at(0.3 * w, 0.25 * h, 0.02), (0.03, 0.01, 0.012), 0, metal))
    if rng.random() < 0.6 and height < 1.3:
        solids.append(
            cut_cone(
                at(rng.uniform(-0.6, 0.6) * half, height, 0),
                rng.uniform(0.12, 0.35),
                0.07,
                rng.uniform(0.03, 0.11),
                paint(rng, STRONG),
            )
        )
    return solids


def bookcase(rng: Rng) -> list[Solid]:
    """Build shelves of books."""
    half, height, shelf = rng.uniform(0.4, 1.0), rng.uniform(1.3, 2.2), rng.uniform(0.3, 0.4)
    body = wood(rng)
    first, second = (triple(pick(rng, STRONG + WOODS) * 0.8) for _ in range(2))
    books = Material(first, second, BOOKS, shelf, 0.1)
    rows = max(2, int(height / shelf))
    height = rows * shelf + 0.04
    solids = [box(at(0, height / 2, -0.03), (half - 0.02, height / 2 - 0.02, 0.14), 0, books)]
    solids += [box(at(a * half, height / 2, 0), (0.02, height / 2, 0.16), 0, body) for a in (-1, 1)]
    solids += [box(at(0, 0.02 + row * shelf, 0), (half, 0.018, 0.16), 0, body) for row in range(rows + 1)]
    return solids


Builder = Callable[[Rng], list[Solid]]
AT_WALL: list[Builder] = [bench, cabinet, cabinet, bookcase, sofa, plant, plinth, floor_lamp, chair]
FREE: list[Builder] = [plinth, plinth, bench, table, chair, barrier, sofa, plant, screen]
