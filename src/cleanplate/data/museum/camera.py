"""A pinhole camera, and the rays that a pixel is made of."""

import math
from typing import NamedTuple

import numpy as np

SAMPLES = np.array([(-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25), (0, 0)], np.float32)
"""Offsets (x, y) of a pixel's rays from its centre, in pixels: four are averaged into its colour, and the last one,
through the centre, alone gives its mask and depth."""
COLOUR_SAMPLES = 4
CENTRE = 4


class Window(NamedTuple):
    """A rectangle of pixels; the ends are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, planes: np.ndarray) -> np.ndarray:
        """Return this part of `(samples, H, W, ...)`, as a view."""
        return planes[:, self.top : self.bottom, self.left : self.right]


class Camera(NamedTuple):
    """Where the camera stands and looks; pictures are square."""

    position: np.ndarray
    """`(3,)`, metres: x to the right of the room, y up, z away from the wall behind the camera."""
    rotation: np.ndarray
    """`(3, 3)`, world from camera: the columns are the camera's right, up and forward."""
    focal: float
    """In pixels."""
    size: int

    @property
    def frame(self) -> Window:
        """The whole picture."""
        return Window(0, 0, self.size, self.size)

    def rays(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return x `(5, 1, w)` and y `(5, h, 1)` of ray directions (x, y, 1) in camera axes, one per sample.

        A point at distance t on such a ray has depth t along the camera's axis.
        """
        columns = np.arange(window.left, window.right, dtype=np.float32) + np.float32(0.5 - self.size / 2)
        rows = np.arange(window.top, window.bottom, dtype=np.float32) + np.float32(0.5 - self.size / 2)
        scale = np.float32(1 / self.focal)
        x = (columns[None, None, :] + SAMPLES[:, 0, None, None]) * scale
        y = -(rows[None, :, None] + SAMPLES[:, 1, None, None]) * scale
        return x, y

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return `(..., 3)` world points as `(..., 3)`: column and row in pixels, depth in metres."""
        seen = (points - self.position) @ self.rotation
        depth = np.maximum(seen[..., 2], 1e-3)
        column = seen[..., 0] / depth * self.focal + self.size / 2
        row = self.size / 2 - seen[..., 1] / depth * self.focal
        return np.stack([column, row, seen[..., 2]], -1)


def look(position: np.ndarray, target: np.ndarray, roll: float, fov: float, size: int) -> Camera:
    """Return a camera at `position` that looks at `target`; `roll` and the horizontal `fov` are in degrees."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    up = np.cross(forward, right)
    tilt = math.radians(roll)
    tilted_right = math.cos(tilt) * right + math.sin(tilt) * up
    tilted_up = math.cos(tilt) * up - math.sin(tilt) * right
    focal = size / 2 / math.tan(math.radians(fov) / 2)
    return Camera(position, np.stack([tilted_right, tilted_up, forward], 1), focal, size)
