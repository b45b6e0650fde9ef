"""Solids of which furniture and figures are built, and the exact intersection of rays with them.

Three kinds, each under an affine frame, so that boxes turn, cylinders become oval and balls become ellipsoids:
a unit box; a rounded cone (all points within a radius that goes from `r1` to `r2` along a segment); a cut cone (the
same with flat ends).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cleanplate.data.museum.camera import Camera, Window
from cleanplate.data.museum.material import Material

BOX, ROUND, CUT = 0, 1, 2
STEEPEST = 0.95
"""The sine of the greatest half angle of a rounded cone."""
_CUBE = np.indices((2, 2, 2)).reshape(3, 8).T.astype(bool)


class Solid(NamedTuple):
    """One solid; its axis is the local y, from the local origin upwards."""

    kind: int
    frame: np.ndarray
    """`(3, 3)`, world from local; may scale."""
    origin: np.ndarray
    """`(3,)` in metres."""
    length: float
    r1: float
    r2: float
    material: Material


def box(centre: np.ndarray, half: Sequence[float], turn: float, material: Material) -> Solid:
    """Return a box with half extents `half`, turned by `turn` radians about the vertical."""
    return Solid(BOX, turned(turn) * np.asarray(half), np.asarray(centre, float), 0.0, 1.0, 1.0, material)


def cut_cone(
    foot: np.ndarray, height: float, r1: float, r2: float, material: Material, flat: float = 1.0, turn: float = 0.0
) -> Solid:
    """Return an upright cone with flat ends; `flat` scales its local z."""
    return Solid(CUT, turned(turn) * np.array([1, 1, flat]), np.asarray(foot, float), height, r1, r2, material)


def limb(start: np.ndarray, end: np.ndarray, r1: float, r2: float, material: Material, kind: int = ROUND) -> Solid:
    """Return a tapered limb between two points."""
    along = end - start
    length = math.hypot(*along)
    # Written out: NumPy's cross product of two short vectors takes longer than the rest together.
    a, b, c = (along / length).tolist()
    if abs(c) < 0.8:
        flat = math.hypot(a, b)
        x = (b / flat, -a / flat, 0.0)
    else:
        flat = math.hypot(b, c)
        x = (0.0, c / flat, -b / flat)
    z = (x[1] * c - x[2] * b, x[2] * a - x[0] * c, x[0] * b - x[1] * a)
    return Solid(kind, np.array([x, (a, b, c), z]).T, start, length, r1, r2, material)


def ellipsoid(centre: np.ndarray, frame: np.ndarray, radii: Sequence[float], material: Material) -> Solid:
    """Return an ellipsoid whose axes are the columns of `frame`."""
    return Solid(ROUND, frame * np.asarray(radii), np.asarray(centre, float), 0.0, 1.0, 1.0, material)


def turned(angle: float) -> np.ndarray:
    """Return the rotation by `angle` radians about the vertical: local z goes to (sin, 0, cos)."""
    sin, cos = np.sin(angle), np.cos(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


class Solids:
    """Many solids as arrays."""

    def __init__(self, solids: Sequence[Solid]) -> None:
        """Stack `solids`; there must be at least one."""
        self.kind = np.array([solid.kind for solid in solids])
        self.frame = np.stack([solid.frame for solid in solids])
        self.inverse = np.linalg.inv(self.frame)
        self.origin = np.stack([solid.origin for solid in solids])
        self.length, self.r1, r2 = np.array([(s.length, s.r1, s.r2) for s in solids]).T
        # A short cone whose one ball would swallow the other has no side: the second ball gives way.
        room = np.where((self.kind == ROUND) & (self.length > 0), STEEPEST * self.length, np.inf)
        self.r2 = np.clip(r2, self.r1 - room, self.r1 + room)
        self.materials = [solid.material for solid in solids]
        run = np.where(self.length > 0, self.length, 1.0)
        slope = np.where(self.length > 0, (self.r1 - self.r2) / run, 0.0)
        # A rounded cone's side is squared radius * cos2 == (r1 - slope * y)^2 with slope the sine of its half angle.
        self.slope = slope
        self.cos2 = np.where(self.kind == CUT, 1.0, 1 - slope**2)
        self.low = np.where(self.kind == CUT, 0.0, self.r1 * slope)
        self.high = np.where(self.kind == CUT, self.length, self.length + self.r2 * slope)
        self.corners = self._corners()
        """`(solids, 8, 3)`: the corners of a box around each, in metres."""

    def _corners(self) -> np.ndarray:
        wide = np.maximum(self.r1, self.r2)
        bottom = np.select([self.kind == BOX, self.kind == CUT], [-1.0, 0.0], -self.r1)
        top = np.select([self.kind == BOX, self.kind == CUT], [1.0, self.length], self.length + self.r2)
        low, high = np.stack([-wide, bottom, -wide], 1), np.stack([wide, top, wide], 1)
        local = np.where(_CUBE, high[:, None], low[:, None])
        return local @ self.frame.transpose(0, 2, 1) + self.origin[:, None]


def trace(solids: Solids, camera: Camera, depth: np.ndarray, owner: np.ndarray, first: int) -> Window:
    """Draw solids into `depth` `(5, H, W)`, metres, and `owner`, which gets `first` plus the solid's number.

    Returns:
        The window that all of them lie in.
    """
    toward = solids.inverse @ camera.rotation
    start = np.einsum("pij,pj->pi", solids.inverse, camera.position - solids.origin)
    corners = camera.project(solids.corners)
    windows = _windows(corners, camera.size)
    # Distances are counted from the solid's own depth: float32 would be too coarse from the camera.
    middle = corners[..., 2].mean(1)
    at = toward * middle[:, None, None]
    at[..., 2] += start
    lines = np.concatenate([toward, at], 1).astype(np.float32)[..., None, None, None]
    x, y = camera.rays(camera.frame)
    with np.errstate(all="ignore"):
        for i, window in enumerate(windows):
            if window.right <= window.left or window.bottom <= window.top:
                continue
            along_y = lines[i, :, 1] * y[:, window.top : window.bottom] + lines[i, :, 2]
            rays = lines[i, :, 0] * x[:, :, window.left : window.right] + along_y
            hit = _hit_box(rays) if solids.kind[i] == BOX else _hit_cone(solids, i, rays)
            hit += np.float32(middle[i])
            old = window.of(depth)
            nearer = hit < old  # never where the ray misses: that is NaN or infinite
            nearer &= hit > 0.05
            np.copyto(old, hit, where=nearer)
            np.copyto(window.of(owner), first + i, where=nearer)
    used = [window for window in windows if window.right > window.left and window.bottom > window.top]
    if not used:
        return Window(0, 0, 0, 0)
    left, top, right, bottom = zip(*used, strict=True)
    return Window(min(left), min(top), max(right), max(bottom))


def _windows(corners: np.ndarray, size: int) -> list[Window]:
    """Return the pixels that solids can touch whose projected corners are `(solids, 8, 3)`."""
    low = np.clip(np.floor(corners[..., :2].min(1)) - 1, 0, size).astype(int)
    high = np.clip(np.ceil(corners[..., :2].max(1)) + 1, 0, size).astype(int)
    reaches_camera = corners[..., 2].min(1) < 0.05
    low[reaches_camera], high[reaches_camera] = 0, size
    return [Window(*a, *b) for a, b in zip(low.tolist(), high.tolist(), strict=True)]


def _hit_box(rays: np.ndarray) -> np.ndarray:
    inverse = 1 / rays[:3]
    middle, reach = -rays[3:] * inverse, np.abs(inverse)
    enter, leave = (middle - reach).max(0), (middle + reach).min(0)
    return np.where(enter <= leave, enter, np.float32(np.inf))


def _hit_cone(solids: Solids, i: int, rays: np.ndarray) -> np.ndarray:
    dx, dy, dz, ox, oy, oz = rays
    r1, r2, length = (np.float32(values[i]) for values in (solids.r1, solids.r2, solids.length))
    dd, od, oo = dx * dx + dz * dz, ox * dx + oz * dz, ox * ox + oz * oz
    if solids.kind[i] == ROUND:
        a, b = dd + dy * dy, od + oy * dy
        hit = _root(a, b, oo + oy * oy - r1 * r1)
        if length == 0:
            return hit
        up = oy - length
        hit = np.fmin(hit, _root(a, b - length * dy, oo + up * up - r2 * r2))
    else:
        hit = np.full(dd.shape, np.inf, np.float32)
        for level, radius in ((0, r1), (length, r2)):
            cap = (level - oy) / dy
            hit = np.where(oo + cap * (2 * od + cap * dd) <= radius * radius, np.fmin(hit, cap), hit)
    slope, cos2 = np.float32(solids.slope[i]), np.float32(solids.cos2[i])
    k, m = r1 - slope * oy, -slope * dy
    side = _root(cos2 * dd - m * m, cos2 * od - k * m, cos2 * oo - k * k)
    level = oy + side * dy
    on_side = (level >= np.float32(solids.low[i])) & (level <= np.float32(solids.high[i]))
    return np.where(on_side, np.fmin(hit, side), hit)


def _root(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return where a ray enters `a t^2 + 2 b t + c = 0`; NaN where it passes by."""
    return (-b - np.sqrt(b * b - a * c)) / a


def surface(solids: Solids, ids: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Describe the surface at `points` `(3, N)` of the solids `ids` `(N,)`.

    Returns:
        Unit normals `(3, N)`, pattern coordinates `(2, N)` in metres and local coordinates `(3, N)`.
    """
    inverse = solids.inverse.astype(np.float32).transpose(1, 2, 0)[:, :, ids]
    rx, ry, rz = points - solids.origin.T.astype(np.float32)[:, ids]
    local = np.stack([inverse[k, 0] * rx + inverse[k, 1] * ry + inverse[k, 2] * rz for k in range(3)])
    x, y, z = local
    kind = solids.kind[ids]
    length, slope, cos2 = (v.astype(np.float32)[ids] for v in (solids.length, solids.slope, solids.cos2))
    radius = np.hypot(x, z)
    normal = np.stack([x, y - np.clip(y - slope * radius / np.sqrt(cos2), 0, length), z])
    flat_ends = kind == CUT
    if flat_ends.any():
        r1 = solids.r1.astype(np.float32)[ids]
        on_side = np.abs(radius - (r1 - slope * y)) < 2e-3 + 1e-3 * r1
        normal[1] = np.where(flat_ends, np.where(on_side, slope * radius, np.sign(y - length / 2)), normal[1])
        normal[:, flat_ends & ~on_side] *= np.array([[0], [1], [0]], np.float32)
    boxes = kind == BOX
    scale = np.linalg.norm(solids.frame, axis=1).astype(np.float32)[ids]
    across, up = np.arctan2(x, z) * (radius * scale[:, 0]), y * scale[:, 1]
    if boxes.any():
        face = np.abs(local).argmax(0)
        axes = np.eye(3, dtype=np.float32)[:, face]
        normal = np.where(boxes, axes * np.sign(local), normal)
        across = np.where(boxes, np.where(face == 0, z * scale[:, 2], x * scale[:, 0]), across)
        up = np.where(boxes, np.where(face == 1, z * scale[:, 2], up), up)
    nx, ny, nz = normal
    world = np.stack([inverse[0, k] * nx + inverse[1, k] * ny + inverse[2, k] * nz for k in range(3)])
    world /= np.sqrt((world * world).sum(0)) + 1e-12
    return world, np.stack([across, up]), local
