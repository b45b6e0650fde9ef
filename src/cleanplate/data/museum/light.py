"""Lamps, and the light that reaches a point."""

from typing import NamedTuple

import numpy as np


class Lamp(NamedTuple):
    """A soft lamp: `position` `(3,)` in metres, `colour` `(3,)` linear."""

    position: np.ndarray
    colour: np.ndarray


class Light(NamedTuple):
    """All the light of a room."""

    lamps: tuple[Lamp, ...]
    above: np.ndarray
    """`(3,)`: what comes evenly from above, and below what comes off the floor."""
    below: np.ndarray

    def irradiance(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Return the light `(3, N)` on surfaces at `points` `(3, N)` with unit `normals` `(3, N)`."""
        upward = 0.5 + 0.5 * normals[1]
        total = _column(self.below) + _column(self.above - self.below) * upward
        for lamp in self.lamps:
            total += _column(lamp.colour) * _falloff(lamp, points, normals)
        return total

    def lamp_shares(self, point: np.ndarray) -> list[float]:
        """Return which share of the light on the floor at `point` `(3,)` comes from each lamp."""
        at, up = point[:, None].astype(np.float32), np.array([[0], [1], [0]], np.float32)
        whole = float(self.irradiance(at, up).sum())
        return [float(_falloff(lamp, at, up)[0] * lamp.colour.sum()) / whole for lamp in self.lamps]


def _falloff(lamp: Lamp, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    toward = _column(lamp.position) - points
    squared = (toward * toward).sum(0)
    facing = (toward * normals).sum(0) / np.sqrt(squared + 1e-6)
    # A lamp of some size still reaches surfaces that are turned a little away from its middle.
    return np.maximum(facing + 0.2, 0) / 1.2 / (1 + 0.35 * squared)


def _column(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None]


def display(radiance: np.ndarray) -> np.ndarray:
    """Return linear light as display values, 0 to 255 float32: bright parts roll off as on film, gamma is 2."""
    curve = radiance * (1 + radiance * np.float32(0.12)) / (1 + radiance)
    return np.sqrt(np.clip(curve, 0, 1, out=curve), out=curve) * np.float32(255)
