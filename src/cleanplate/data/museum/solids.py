"""Solids of which furniture and figures are built, and the exact intersection of rays with them.

Three kinds, each under an affine frame, so that boxes turn, cylinders become oval and balls become ellipsoids:
a unit box; a rounded cone (all points within a radius that goes from `r1` to `r2` along a segment); a cut cone (the
same with flat ends).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cleanplate.data.museum.camera import Camera, Window
from cleanplate.data.museum.material import Material

BOX, ROUND, CUT = 0, 1, 2


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
    length = float(np.linalg.norm(along))
    y = along / length
    side = np.array([0.0, 0.0, 1.0]) if abs(y[2]) < 0.8 else np.array([1.0, 0.0, 0.0])
    x = np.cross(y, side)
    x /= np.linalg.norm(x)
    return Solid(kind, np.stack([x, y, np.cross(x, y)], 1), start, length, r1, r2, material)


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
        self.length, self.r1, self.r2 = np.array([(s.length, s.r1, s.r2) for s in solids]).T
        self.materials = [solid.material for solid in solids]
        run = np.where(self.length > 0, self.length, 1.0)
        slope = np.where(self.length > 0, (self.r1 - self.r2) / run, 0.0)
        # A rounded cone's side is squared radius * cos2 == (r1 - slope * y)^2 with slope the sine of its half angle.
        self.slope = slope
        self.cos2 = np.where(self.kind == CUT, 1.0, 1 - slope**2)
        self.low = np.where(self.kind == CUT, 0.0, self.r1 * slope)
        self.high = np.where(self.kind == CUT, self.length, self.length + self.r2 * slope)

    def __len__(self) -> int:
        return len(self.kind)

    def corners(self) -> np.ndarray:
        """Return the corners `(solids, 8, 3)` of a box around each, in metres."""
        wide = np.maximum(self.r1, self.r2)
        bottom = np.select([self.kind == BOX, self.kind == CUT], [-1.0, 0.0], -self.r1)
        top = np.select([self.kind == BOX, self.kind == CUT], [1.0, self.length], self.length + self.r2)
        signs = np.array([(x, y, z) for x in (-1, 1) for y in (0, 1) for z in (-1, 1)])
        local = np.stack(
            [
                signs[:, 0] * wide[:, None],
                np.where(signs[:, 1] == 1, top[:, None], bottom[:, None]),
                signs[:, 2] * wide[:, None],
            ],
            -1,
        )
        return np.einsum("pij,pcj->pci", self.frame, local) + self.origin[:, None]

    def windows(self, camera: Camera) -> tuple[list[Window], np.ndarray]:
        """Return the pixels that each solid can touch and the depth of its nearest corner in metres."""
        seen = camera.project(self.corners())
        nearest = seen[..., 2].min(1)
        low = np.clip(np.floor(seen[..., :2].min(1)) - 1, 0, camera.size).astype(int)
        high = np.clip(np.ceil(seen[..., :2].max(1)) + 1, 0, camera.size).astype(int)
        low[nearest < 0.05], high[nearest < 0.05] = 0, camera.size
        return [Window(*a, *b) for a, b in zip(low.tolist(), high.tolist(), strict=True)], nearest


def trace(solids: Solids, camera: Camera, depth: np.ndarray, owner: np.ndarray, first: int) -> Window:
    """Draw solids into `depth` `(5, H, W)`, metres, and `owner`, which gets `first` plus the solid's number.

    Returns:
        The window that all of them lie in.
    """
    toward = solids.inverse @ camera.rotation
    start = np.einsum("pij,pj->pi", solids.inverse, camera.position - solids.origin)
    windows, _ = solids.windows(camera)
    middle = camera.project(solids.corners().mean(1))[:, 2]
    with np.errstate(all="ignore"):
        for i, window in enumerate(windows):
            if window.right <= window.left or window.bottom <= window.top:
                continue
            # Distances are counted from the solid's own depth: float32 would be too coarse from the camera.
            x, y = camera.rays(window)
            base = middle[i]
            ray = [_linear(toward[i, k], x, y) for k in range(3)]
            at = [_linear(base * toward[i, k] + [0, 0, start[i, k]], x, y) for k in range(3)]
            hit = _hit_box(at, ray) if solids.kind[i] == BOX else _hit_cone(solids, i, at, ray)
            hit += np.float32(base)
            old = window.of(depth)
            nearer = hit < old
            nearer &= hit > 0.05
            np.copyto(old, hit, where=nearer)
            np.copyto(window.of(owner), first + i, where=nearer)
    used = [window for window in windows if window.right > window.left and window.bottom > window.top]
    if not used:
        return Window(0, 0, 0, 0)
    left, top, right, bottom = zip(*used, strict=True)
    return Window(min(left), min(top), max(right), max(bottom))


def _linear(row: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    a, b, c = (np.float32(value) for value in row)
    return a * x + (b * y + c)


def _hit_box(at: list[np.ndarray], ray: list[np.ndarray]) -> np.ndarray:
    enter, leave = None, None
    for o, d in zip(at, ray, strict=True):
        inverse = 1 / d
        middle, reach = -o * inverse, np.abs(inverse)
        enter = middle - reach if enter is None else np.maximum(enter, middle - reach)
        leave = middle + reach if leave is None else np.minimum(leave, middle + reach)
    return np.where(enter <= leave, enter, np.float32(np.inf))


def _hit_cone(solids: Solids, i: int, at: list[np.ndarray], ray: list[np.ndarray]) -> np.ndarray:
    (ox, oy, oz), (dx, dy, dz) = at, ray
    r1, r2, length = (np.float32(values[i]) for values in (solids.r1, solids.r2, solids.length))
    dd, od, oo = dx * dx + dz * dz, ox * dx + oz * dz, ox * ox + oz * oz
    if solids.kind[i] == ROUND:
        hit = _root(dd + dy * dy, od + oy * dy, oo + oy * oy - r1 * r1)
        if length == 0:
            return hit
        up = oy - length
        hit = np.fmin(hit, _root(dd + dy * dy, od + up * dy, oo + up * up - r2 * r2))
    else:
        hit = np.full(dd.shape, np.inf, np.float32)
        for level, radius in ((0, r1), (length, r2)):
            cap = (level - oy) / dy
            hit = np.where(oo + cap * (2 * od + cap * dd) <= radius * radius, np.fmin(hit, cap), hit)
    slope, cos2 = np.float32(solids.slope[i]), np.float32(solids.cos2[i])
    k, m = r1 - slope * oy, -slope * dy
    side = _root(cos2 * dd - m * m, cos2 * od - k * m, cos2 * oo - k * k)
    level = oy + side * dy
    return np.where(
        (level >= np.float32(solids.low[i])) & (level <= np.float32(solids.high[i])), np.fmin(hit, side), hit
    )


def _root(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return where a ray enters `a t^2 + 2 b t + c = 0`; NaN, written as infinity, where it passes by."""
    root = (-b - np.sqrt(b * b - a * c)) / a
    return np.where(np.isnan(root), np.float32(np.inf), root)


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
