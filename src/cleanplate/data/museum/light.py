"""Lamps, and the light that reaches a point."""

from typing import NamedTuple

import numpy as np


class Lamp(NamedTuple):
    """A soft lamp: `position` `(3,)` in metres, `colour` `(3,)` linear."""

    position: np.ndarray
    colour: np.ndarray


class Sun(NamedTuple):
    """Sunshine through the windows of one wall."""

    direction: np.ndarray
    """`(3,)`, unit, towards the sun."""
    colour: np.ndarray
    surface: int
    """The number of the surface with the windows."""
    panes: np.ndarray
    """`(n, 4)`: left, top, right, bottom on that surface in metres."""


class Light(NamedTuple):
    """All the light of a room."""

    lamps: tuple[Lamp, ...]
    above: np.ndarray
    """`(3,)`: what comes evenly from above, and below what comes off the floor."""
    below: np.ndarray
    sun: Sun | None = None

    def irradiance(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Return the light `(3, N)` on surfaces at `points` `(3, N)` with unit `normals` `(3, N)`."""
        upward = 0.5 + 0.5 * normals[1]
        total = _column(self.below) + _column(self.above - self.below) * upward
        for lamp in self.lamps:
            total += _column(lamp.colour) * _falloff(lamp, points, normals)
        return total


def _falloff(lamp: Lamp, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    toward = _column(lamp.position) - points
    squared = (toward * toward).sum(0)
    facing = (toward * normals).sum(0) / np.sqrt(squared + 1e-6)
    # A lamp of some size still reaches surfaces that are turned a little away from its middle.
    return np.maximum(facing + 0.2, 0) / 1.2 / (1 + 0.35 * squared)


def dot(vector: np.ndarray, points: np.ndarray, start: float = 0.0) -> np.ndarray:
    """Return `start` plus the product of `vector` `(3,)` with each of `points` `(3, N)`, float32.

    Not left to BLAS, whose threads and order of summing differ from run to run.
    """
    a, b, c = (np.float32(value) for value in vector)
    return a * points[0] + b * points[1] + (c * points[2] + np.float32(start))


def _column(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None]


def display(radiance: np.ndarray) -> np.ndarray:
    """Return linear light as display values, 0 to 255 float32: bright parts roll off as on film, gamma is 2."""
    curve = radiance * (1 + radiance * np.float32(0.12)) / (1 + radiance)
    return np.sqrt(np.clip(curve, 0, 1, out=curve), out=curve) * np.float32(255)
