"""Change the colours of a cutout, RGB multiplied by alpha: each change is one affine map of (R, G, B, alpha)."""

import math

import cv2
import numpy as np

from cleanplate.recipe_pictures import Fit, Recolour

LUMA = np.array([0.299, 0.587, 0.114])
GREYNESS = np.tile(LUMA, (3, 1))
"""Turns a colour into the grey of its brightness."""
OPAQUE = 0.9


def recoloured(cutout: np.ndarray, settings: Recolour | None, rng: np.random.Generator) -> np.ndarray:
    """Return a cutout `(h, w, 4)` in other colours, drawn at random as the settings say."""
    if not settings or rng.random() >= settings.probability:
        return cutout
    gain, saturation, hue, *offset = (2 * rng.random(6) - 1).tolist()
    mix = GREYNESS + (1 + saturation * settings.saturation) * (np.eye(3) - GREYNESS)
    turn, _ = cv2.Rodrigues(np.full(3, math.radians(hue * settings.hue) / math.sqrt(3)))
    return _mapped(cutout, (1 + gain * settings.gain) * turn @ mix, np.array(offset) * settings.offset * 255)


def fitted(cutout: np.ndarray, plate: np.ndarray, settings: Fit | None, rng: np.random.Generator) -> np.ndarray:
    """Return a cutout whose colours have come nearer to those of the plate `(H, W, 3)` uint8 in mean and deviation."""
    if not settings or rng.random() >= settings.probability:
        return cutout
    low, high = settings.share
    share = low + rng.random() * (high - low)
    opaque = (cutout[..., 3] >= OPAQUE).astype(np.uint8)
    if not opaque.any():
        return cutout
    mean, deviation = (figures[:3, 0] for figures in cv2.meanStdDev(cutout, mask=opaque))
    wanted_mean, wanted_deviation = (figures[:, 0] for figures in cv2.meanStdDev(plate))
    contrast = float((wanted_deviation.mean() + 5) / (deviation.mean() + 5)) ** share
    contrast = min(max(contrast, 0.6), 1.5)
    return _mapped(cutout, contrast * np.eye(3), mean + share * (wanted_mean - mean) - contrast * mean)


def _mapped(cutout: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    affine = np.zeros((4, 4), np.float32)
    affine[:3, :3], affine[:3, 3], affine[3, 3] = matrix, offset, 1
    changed = cv2.transform(cutout, affine)
    # a colour is at most white, and one that is multiplied by alpha at most alpha times white
    most = cutout[..., 3:] * np.float32(255)
    np.clip(changed[..., :3], 0, most, out=changed[..., :3])
    return changed
