"""How much light falls where on the sides of a room, and the shadows on them."""

import cv2
import numpy as np

from cleanplate.data.museum.light import Light, Sun, dot
from cleanplate.data.museum.rooms import Room, Surface
from cleanplate.data.museum.solids import Solids
from cleanplate.data.museum.textures import blur, sheet

LIGHT_MAP_DENSITY = 14
"""Texels per metre of light and shadow maps."""
SUBPIXEL_BITS = 4


def light_map(room: Room, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the light that comes off a side of the room, `(h, w, 3)` at its paint's resolution, furniture's shadows
    included, and which share of it is due to each lamp, `(lamps, h, w)` at the light map's.
    """
    side, light = room.surfaces[number], room.light
    grid = sheet(side.width, side.height, LIGHT_MAP_DENSITY)
    h, w = grid.shape
    u, v = np.broadcast_to(grid.across[None], (h, w)).ravel(), np.broadcast_to(grid.along[:, None], (h, w)).ravel()
    points = (side.origin[:, None] + side.across[:, None] * u + side.along[:, None] * v).astype(np.float32)
    normals = np.broadcast_to(side.normal.astype(np.float32)[:, None], points.shape)
    even = Light((), light.above, light.below).irradiance(points, normals)
    single = [Light((lamp,), np.zeros(3), np.zeros(3)).irradiance(points, normals) for lamp in light.lamps]
    whole = even + sum(single)
    shares = np.stack([part.sum(0) / whole.sum(0) for part in single]).reshape(-1, h, w)
    total = whole.reshape(3, h, w).transpose(1, 2, 0) * _corners_darken(grid.across, grid.along)[..., None]
    if room.solids is not None:
        dark = shadow_map(room, number, room.solids, shares)
        if dark is not None:
            total = total * (1 - dark)[..., None]
    if light.sun is not None:
        total += _sunshine(room, light.sun, points, side.normal).reshape(h, w, 1) * light.sun.colour.astype(np.float32)
    full = cv2.resize(total, side.grid.shape[::-1], interpolation=cv2.INTER_LINEAR)
    full *= side.paint
    return (full if side.glow is None else full + side.glow), shares


def _sunshine(room: Room, sun: Sun, points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return which of the points `(3, N)` see the sun through a window, times how squarely they face it."""
    wall = room.surfaces[sun.surface]
    speed = float(sun.direction @ wall.normal)
    way = dot(wall.normal, points, -(wall.normal @ wall.origin)) / -speed
    toward = points + sun.direction.astype(np.float32)[:, None] * way
    u, v = wall.place(toward)
    through = np.zeros(len(u), bool)
    for left, top, right, bottom in sun.panes:
        through |= (u > left) & (u < right) & (v > top) & (v < bottom)
    return through * (way > 0.01) * np.float32(max(0.0, float(sun.direction @ normal)))


def _corners_darken(across: np.ndarray, along: np.ndarray) -> np.ndarray:
    def one(axis: np.ndarray) -> np.ndarray:
        end = axis[-1] + axis[0]
        return (1 - 0.32 * np.exp(-axis / 0.28)) * (1 - 0.32 * np.exp(-(end - axis) / 0.28))

    return one(along)[:, None] * one(across)[None]


def shadow_map(room: Room, number: int, solids: Solids, shares: np.ndarray) -> np.ndarray | None:
    """Return how much darker solids make a side of the room, `(h, w)`: 0 is not at all; None is nowhere."""
    side = room.surfaces[number]
    shape = shares.shape[1:]
    corners = solids.corners
    level = (corners - side.origin) @ side.normal
    dark, touched = np.zeros(shape, np.float32), False
    for lamp, share in zip(room.light.lamps, shares, strict=True):
        height = float((lamp.position - side.origin) @ side.normal)
        cast = _cast(side, corners, level, lamp.position, height, shape)
        if cast is not None:
            dark += blur(cast, 1.3) * share * 0.85
            touched = True
    contact = _contact(side, corners, level, shape)
    if contact is not None:
        dark += (1 - dark) * contact
        touched = True
    return np.minimum(dark, 0.92) if touched else None


def _cast(
    side: Surface, corners: np.ndarray, level: np.ndarray, lamp: np.ndarray, height: float, shape: tuple[int, ...]
) -> np.ndarray | None:
    """Draw what lies between the lamp and the surface."""
    if height < 0.3:
        return None
    # Shadows of what stands far from a wall are too soft there to be seen.
    near = (level.max(1) < 0.9 * height) & (level.max(1) > -0.01) & (level.min(1) < 1.3)
    if not near.any():
        return None
    stretch = height / (height - level[near])
    return _draw(side, lamp + (corners[near] - lamp) * stretch[..., None], shape)


def _contact(side: Surface, corners: np.ndarray, level: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Draw the soft dark where something stands on the surface or close before it."""
    near = level.min(1) < 0.1
    if not near.any():
        return None
    drawn = _draw(side, corners[near], shape)
    return None if drawn is None else np.maximum(0.45 * blur(drawn, 2.2), 0.6 * blur(drawn, 0.8))


def _draw(side: Surface, points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Fill the outline of each set of points `(n, k, 3)` as it lies on the surface."""
    from_origin = points - side.origin
    places = np.stack([from_origin @ side.across, from_origin @ side.along], -1) * LIGHT_MAP_DENSITY - 0.5
    low, high = places.min(1), places.max(1)
    inside = (high[:, 0] > 0) & (high[:, 1] > 0) & (low[:, 0] < shape[1]) & (low[:, 1] < shape[0])
    if not inside.any():
        return None
    drawn = np.zeros(shape, np.float32)
    fixed = (np.clip(places[inside], -2000, 2000) * (1 << SUBPIXEL_BITS)).astype(np.int32)
    for outline in fixed:
        cv2.fillConvexPoly(drawn, cv2.convexHull(outline), 1.0, cv2.LINE_8, SUBPIXEL_BITS)
    return drawn
