"""Busy places made of calm ones: a plate filled with pieces of itself, and with cutouts that nobody is to find."""

from collections.abc import Sequence

import cv2
import numpy as np

from cleanplate.data.compose import unpacked
from cleanplate.data.recolour import recoloured
from cleanplate.pictures import rescale
from cleanplate.recipe_pictures import Clutter, Recolour

ANY_COLOUR = Recolour(probability=1, gain=0.4, offset=0.15, saturation=0.6, hue=90)


def cluttered(
    plate: np.ndarray, cutouts: Sequence[np.ndarray], settings: Clutter | None, rng: np.random.Generator
) -> np.ndarray:
    """Return a plate with things in it, drawn at random as the settings say.

    Pictures of overlapping things of all sizes have the statistics of photographs: Lee, Mumford and Huang, "Occlusion
    models for natural images", 2001.

    Args:
        plate: `(H, H, 3)` uint8 RGB.
        cutouts: `(h, w, 4)` uint8, RGB multiplied by alpha; of those in the frame, as others may be held out.
        settings: how many, how large.
        rng: where the draws come from.
    """
    if not settings or rng.random() >= settings.probability:
        return plate
    plate, size, (low, high) = plate.copy(), len(plate), settings.size
    for _ in range(rng.integers(1, settings.pieces, endpoint=True)):
        of_plate, large, turn, across, down = rng.random(5).tolist()
        piece = cutouts[int(rng.integers(len(cutouts)))] if cutouts and of_plate < 0.5 else _patch(plate, rng)
        piece = np.rot90(piece, int(4 * turn))
        piece = rescale(np.ascontiguousarray(piece), (low + large**2 * (high - low)) * size / max(piece.shape[:2]))
        piece = recoloured(unpacked(piece), ANY_COLOUR, rng)
        height, width = piece.shape[:2]
        x, y = round(across * (size - width)), round(down * (size - height))
        behind = plate[y : y + height, x : x + width]
        behind[:] = (behind * (1 - piece[..., 3:]) + piece[..., :3]).round()
    return plate


def _patch(plate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a rectangle or an ellipse of a plate, as a cutout."""
    size = len(plate)
    height, width = (1 + rng.integers(size // 16, max(1, size // 2), 2)).tolist()
    top, left = round(rng.random() * (size - height)), round(rng.random() * (size - width))
    alpha = np.full((height, width), 255, np.uint8)
    if rng.random() < 0.5:
        alpha[:] = 0
        cv2.ellipse(alpha, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 255, -1, cv2.LINE_AA)
    colours = plate[top : top + height, left : left + width] * (alpha[..., None] / np.float32(255))
    return np.dstack([colours.round().astype(np.uint8), alpha])
