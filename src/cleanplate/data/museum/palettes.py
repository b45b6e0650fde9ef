"""Colours of walls, wood, stone, cloth, skin and hair, as display values; and drawing one of them, as linear light."""

import numpy as np

Colour = tuple[float, float, float]

# fmt: off
WALLS: list[Colour] = [
    (0.93, 0.92, 0.89), (0.88, 0.86, 0.80), (0.80, 0.82, 0.84), (0.75, 0.70, 0.62), (0.62, 0.66, 0.60),
    (0.50, 0.58, 0.66), (0.66, 0.42, 0.36), (0.42, 0.22, 0.22), (0.24, 0.36, 0.34), (0.84, 0.76, 0.56),
    (0.30, 0.34, 0.44), (0.86, 0.74, 0.70), (0.58, 0.56, 0.55), (0.70, 0.76, 0.80), (0.46, 0.44, 0.34),
]
WOODS: list[Colour] = [
    (0.62, 0.44, 0.28), (0.50, 0.33, 0.20), (0.74, 0.58, 0.40), (0.36, 0.24, 0.16), (0.80, 0.70, 0.56),
    (0.56, 0.50, 0.44),
]
STONES: list[Colour] = [
    (0.80, 0.78, 0.74), (0.60, 0.58, 0.56), (0.40, 0.40, 0.42), (0.74, 0.66, 0.56), (0.88, 0.87, 0.85),
    (0.55, 0.48, 0.42),
]
CARPETS: list[Colour] = [
    (0.46, 0.20, 0.20), (0.30, 0.34, 0.42), (0.44, 0.43, 0.42), (0.34, 0.40, 0.34), (0.60, 0.54, 0.46),
    (0.24, 0.22, 0.26),
]
METALS: list[Colour] = [(0.15, 0.15, 0.16), (0.62, 0.62, 0.64), (0.72, 0.60, 0.32), (0.86, 0.86, 0.86)]
STRONG: list[Colour] = [
    (0.75, 0.20, 0.18), (0.18, 0.36, 0.62), (0.90, 0.72, 0.20), (0.16, 0.45, 0.32), (0.92, 0.90, 0.84),
    (0.14, 0.14, 0.18), (0.86, 0.48, 0.20), (0.50, 0.30, 0.52), (0.55, 0.70, 0.76), (0.80, 0.62, 0.60),
]
DARKS: list[Colour] = [
    (0.12, 0.13, 0.17), (0.17, 0.22, 0.34), (0.24, 0.24, 0.25), (0.30, 0.25, 0.20), (0.10, 0.10, 0.11),
]
DENIMS: list[Colour] = [(0.24, 0.34, 0.48), (0.36, 0.46, 0.58), (0.62, 0.57, 0.46), (0.46, 0.46, 0.47)]
SKINS: list[Colour] = [
    (0.95, 0.80, 0.70), (0.90, 0.73, 0.60), (0.84, 0.65, 0.51), (0.74, 0.54, 0.40), (0.58, 0.40, 0.29),
    (0.40, 0.27, 0.20),
]
HAIRS: list[Colour] = [
    (0.10, 0.08, 0.07), (0.20, 0.14, 0.10), (0.36, 0.24, 0.15), (0.55, 0.40, 0.24), (0.80, 0.66, 0.42),
    (0.62, 0.60, 0.58), (0.50, 0.22, 0.12), (0.85, 0.84, 0.82),
]
# fmt: on
WHITE: Colour = (0.92, 0.91, 0.89)


def linear(red: float, green: float, blue: float) -> Colour:
    """Return display values, 0 to 1, as linear ones."""
    return red * red, green * green, blue * blue


def triple(values: np.ndarray) -> Colour:
    """Return a colour `(3,)` as a plain tuple."""
    return float(values[0]), float(values[1]), float(values[2])


def pick(rng: np.random.Generator, colours: list[Colour], spread: float = 0.05) -> np.ndarray:
    """Return one of the display colours, moved a little, as linear `(3,)`."""
    hue, moves = colours[rng.integers(len(colours))], rng.normal(0, spread, 4).tolist()
    display = (min(max(part + 0.5 * move + moves[3], 0.05), 0.97) for part, move in zip(hue, moves, strict=False))
    return np.array(linear(*display), np.float32)
