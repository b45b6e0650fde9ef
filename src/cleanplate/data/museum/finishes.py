"""What furniture is finished with: wood, stone, paint, metal."""

import numpy as np

from cleanplate.data.museum.material import MARBLE, PLAIN, WOOD, Material
from cleanplate.data.museum.palettes import STONES, WOODS, Colour, pick, triple


def wood(rng: np.random.Generator) -> Material:
    """Draw a wood."""
    base = pick(rng, WOODS)
    return Material(triple(base), triple(base * 0.62), WOOD, 0.35, 0.04, 0.15)


def stone(rng: np.random.Generator) -> Material:
    """Draw a stone with veins."""
    base = pick(rng, STONES)
    return Material(triple(base), triple(base * 0.6), MARBLE, 0.8, 0.03, 0.2)


def paint(rng: np.random.Generator, colours: list[Colour], grain: float = 0.04, gloss: float = 0.1) -> Material:
    """Draw a plain finish, near one of `colours`."""
    return Material(triple(pick(rng, colours)), pattern=PLAIN, grain=grain, gloss=gloss)
