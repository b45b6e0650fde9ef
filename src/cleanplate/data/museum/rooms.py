"""Lay out a room: its size, camera, lamps, painted surfaces and furniture."""

from typing import NamedTuple

import numpy as np

from cleanplate.data.museum import exhibits, furniture
from cleanplate.data.museum.camera import Camera, look
from cleanplate.data.museum.decor import Pane, Wall
from cleanplate.data.museum.light import Lamp, Light, Sun, dot
from cleanplate.data.museum.solids import Solid, Solids, turned
from cleanplate.data.museum.textures import Sheet, draw_wall_style, paint_ceiling, paint_floor, paint_wall, sheet

FOV = 58.0
"""Of every camera, horizontally, in degrees."""
NEAR, FAR = 0.5, 12.5
"""Depth 0 and depth 1 in metres along the camera's axis; no geometry in view lies outside."""


FLOOR, CEILING, FIRST_WALL, SURFACES = 0, 1, 2, 5
"""Numbers of a room's surfaces; the walls are left, right and far."""


class Surface(NamedTuple):
    """One of the flat sides of a room."""

    origin: np.ndarray
    """`(3,)`: the world position of the sheet's corner."""
    across: np.ndarray
    along: np.ndarray
    normal: np.ndarray
    """Unit vectors `(3,)`: the sheet's columns and rows, and into the room."""
    width: float
    height: float
    grid: Sheet
    paint: np.ndarray
    """`(h, w, 3)` linear colour."""
    glow: np.ndarray | None
    """Light that the surface gives off itself, as `paint`."""

    def place(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where points `(3, N)` lie on the surface: across and along, in metres."""
        across = dot(self.across, points, -(self.across @ self.origin))
        return across, dot(self.along, points, -(self.along @ self.origin))


class Piece(NamedTuple):
    """A piece of furniture that stands in the room."""

    spot: tuple[float, float]
    """x and z of its middle."""
    radius: float
    height: float
    solids: list[Solid]


class Room(NamedTuple):
    """All of a room but the people."""

    width: float
    depth: float
    height: float
    camera: Camera
    light: Light
    surfaces: tuple[Surface, ...]
    """Floor, ceiling, left wall, right wall, far wall."""
    gloss: float
    """How much the floor mirrors."""
    pieces: tuple[Piece, ...]
    solids: Solids | None
    brightness: float
    """Mean light of the picture after exposure."""


def draw_room(rng: np.random.Generator, size: int) -> Room:
    """Draw a room for pictures of `size` pixels."""
    width = rng.uniform(4.0, 8.5)
    depth = 4.6 + 5.6 * rng.beta(1.3, 1.1)
    height = rng.uniform(2.5, 3.2) + (rng.uniform(0, 1.1) if width * depth > 35 else 0)
    camera = _draw_camera(rng, width, depth, height, size)
    surfaces, gloss, panes = _paint(rng, width, depth, height, 64 * min(2.0, max(0.6, size / 224)))
    lamps, fittings = _hang_lamps(rng, width, depth, height)
    light = _collect_light(rng, lamps, panes, width, depth, height)
    pieces = _furnish(rng, width, depth, height, camera)
    solids = fittings + [solid for piece in pieces for solid in piece.solids]
    stacked = Solids(solids) if solids else None
    brightness = float(rng.uniform(0.24, 0.62))
    return Room(width, depth, height, camera, light, surfaces, gloss, tuple(pieces), stacked, brightness)


def _draw_camera(rng: np.random.Generator, width: float, depth: float, height: float, size: int) -> Camera:
    level = np.clip(rng.normal(1.65, 0.32), 1.05, min(2.6, height - 0.3))
    at = np.array([rng.uniform(-0.5, 0.5) * (width - 1.9), level, rng.uniform(0.3, 1.0)])
    target = np.array([rng.uniform(-0.36, 0.36) * width, rng.normal(1.0, 0.18), depth * rng.uniform(0.5, 0.9)])
    return look(at, target, float(rng.normal(0, 1.2)), FOV, size)


def _paint(
    rng: np.random.Generator, width: float, depth: float, height: float, density: float
) -> tuple[tuple[Surface, ...], float, list[tuple[int, Pane]]]:
    x, y, z = np.eye(3)
    left, right = -width / 2 * x, width / 2 * x
    floor_grid, side_grid, far_grid = (
        sheet(width, depth, density), sheet(depth, height, density), sheet(width, height, density)
    )  # fmt: skip
    paint, gloss = paint_floor(rng, floor_grid)
    surfaces = [Surface(left, x, z, y, width, depth, floor_grid, paint, None)]
    paint = paint_ceiling(rng, floor_grid)
    surfaces.append(Surface(left + height * y, x, z, -y, width, depth, floor_grid, paint, None))
    style = draw_wall_style(rng)
    panes: list[tuple[int, Pane]] = []
    corners = [(left + height * y, z, x, side_grid), (right + height * y, z, -x, side_grid)]
    corners.append((left + height * y + depth * z, x, -z, far_grid))
    windows_on = int(rng.choice([-1, 0, 1, 2], p=[0.4, 0.22, 0.22, 0.16]))
    accent = int(rng.integers(3)) if rng.random() < 0.25 else -1
    for number, (origin, across, normal, grid) in enumerate(corners):
        chosen = draw_wall_style(rng)._replace(skirting=style.skirting) if number == accent else style
        length = depth if number < 2 else width
        wall = Wall(paint_wall(rng, grid, chosen), grid, length, height)
        _decorate(rng, wall, number == windows_on)
        panes += [(number, pane) for pane in wall.panes]
        glow = wall.glow if wall.panes else None
        surfaces.append(Surface(origin, across, -y, normal, length, height, grid, wall.paint, glow))
    return tuple(surfaces), gloss, panes


def _decorate(rng: np.random.Generator, wall: Wall, windows: bool) -> None:
    if windows:
        style = np.random.default_rng(int(rng.integers(1 << 31)))
        count = int(rng.integers(1, max(2, int(wall.length / 2)) + 1))
        breadth = min(rng.uniform(0.8, 2.2), wall.length / count - 0.5)
        for i in range(count):
            wall.hang_window(rng, (i + 0.5) * wall.length / count - breadth / 2, breadth, style)
    if rng.random() < 0.5:
        wall.hang_door(rng)
    if rng.random() < 0.12:
        wall.hang_boards(rng)
    for _ in range(rng.integers(0, 2 + int(wall.length))):
        wall.hang_picture(rng)
    wall.hang_small_things(rng)


def _hang_lamps(rng: np.random.Generator, width: float, depth: float, height: float) -> tuple[list[Lamp], list[Solid]]:
    """Return one to four lamps below the ceiling and the fittings that they burn in."""
    rows, columns = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    warmth = rng.uniform(-0.5, 1.0)
    tint = np.array([1.0, 1.0 - 0.12 * max(warmth, 0), 1.0 - 0.3 * warmth if warmth > 0 else 1.0])
    tint[0] += 0.14 * min(warmth, 0)
    kind = str(rng.choice(["panel", "pendant", "spots"]))
    drop = rng.uniform(0.3, 0.7) if kind == "pendant" and height > 2.8 else 0.02
    power = width * depth / (rows * columns) ** 0.5 * rng.uniform(0.09, 0.18)
    lamps, fittings = [], []
    for i in range(columns):
        for j in range(rows):
            x = ((i + 0.5) / columns - 0.5) * width + rng.normal(0, 0.15)
            z = (j + 0.5 + 0.15) / (rows + 0.3) * depth + rng.normal(0, 0.15)
            strength = power * rng.uniform(0.7, 1.3)
            lamps.append(Lamp(np.array([x, height - drop - 0.12, z]), tint * strength))
            fittings += exhibits.fitting(rng, kind, np.array([x, height, z]), drop)
    return lamps, fittings


def _collect_light(
    rng: np.random.Generator,
    lamps: list[Lamp],
    panes: list[tuple[int, Pane]],
    width: float,
    depth: float,
    height: float,
) -> Light:
    if panes:
        by_day = rng.uniform(0.15, 0.8)
        lamps = [lamp._replace(colour=lamp.colour * by_day) for lamp in lamps]
        # Neighbouring panes light the room as one.
        for wall in {number for number, _ in panes}:
            group = [pane for number, pane in panes if number == wall]
            along = float(np.mean([pane.left + pane.width / 2 for pane in group]))
            area = sum(pane.width * pane.height * pane.brightness for pane in group)
            level = height - group[0].top - group[0].height * 0.45
            place = [
                np.array([-width / 2 + 0.15, level, along]),
                np.array([width / 2 - 0.15, level, along]),
                np.array([along - width / 2, level, depth - 0.15]),
            ][wall]
            lamps.append(Lamp(place, np.array([0.95, 0.98, 1.05]) * area * rng.uniform(0.25, 0.5)))
    ambient = rng.uniform(0.12, 0.4)
    sun = _draw_sun(rng, panes) if panes and rng.random() < 0.6 else None
    return Light(tuple(lamps), np.full(3, ambient), np.array([0.9, 0.83, 0.75]) * ambient * 0.8, sun)


def _draw_sun(rng: np.random.Generator, panes: list[tuple[int, Pane]]) -> Sun:
    """Draw a sun that shines through the panes, all of one wall."""
    wall = panes[0][0]
    out = np.array([(-1.0, 0, 0), (1.0, 0, 0), (0, 0, 1.0)][wall])
    aside = np.array([out[2], 0, out[0]])
    direction = out + rng.uniform(-0.9, 0.9) * aside + np.array([0, rng.uniform(0.45, 1.1), 0])
    places = np.array([(p.left, p.top, p.left + p.width, p.top + p.height) for _, p in panes])
    strength = rng.uniform(0.8, 2.4) * np.array([1.0, 0.93, 0.8])
    return Sun(direction / np.linalg.norm(direction), strength, FIRST_WALL + wall, places)


def _furnish(rng: np.random.Generator, width: float, depth: float, height: float, camera: Camera) -> list[Piece]:
    pieces: list[Piece] = []
    for _ in range(rng.integers(2, 5 + int(width * depth / 12))):
        if rng.random() < 0.62:
            solids = furniture.AT_WALL[rng.integers(len(furniture.AT_WALL))](rng)
            at_wall = True
        else:
            is_column = rng.random() < 0.14
            solids = (
                exhibits.column(rng, height) if is_column else furniture.FREE[rng.integers(len(furniture.FREE))](rng)
            )
            at_wall = False
        corners = Solids(solids).corners.reshape(-1, 3)
        reach, back = np.abs(corners[:, 0]).max(), -corners[:, 2].min()
        radius = float(np.hypot(corners[:, 0], corners[:, 2]).max())
        for _ in range(4):
            if at_wall:
                x, z, turn = _against_wall(rng, width, depth, reach, back)
            else:
                x, z = (
                    rng.uniform(-0.5, 0.5) * (width - 2 * radius - 0.3),
                    rng.uniform(2.3, max(2.4, depth - radius - 0.3)),
                )
                turn = rng.uniform(0, 2 * np.pi)
            seen = (np.array([x, 0, z]) - camera.position) @ camera.rotation
            clear = np.hypot(x - camera.position[0], z - camera.position[2]) > 1.35 + radius
            apart = all(np.hypot(x - p.spot[0], z - p.spot[1]) > 0.8 * (radius + p.radius) for p in pieces)
            if clear and apart and seen[2] > 0:
                pieces.append(Piece((x, z), radius, float(corners[:, 1].max()), _placed(solids, x, z, turn)))
                break
    return pieces


def _against_wall(
    rng: np.random.Generator, width: float, depth: float, reach: float, back: float
) -> tuple[float, float, float]:
    side = rng.choice(3, p=[0.3, 0.3, 0.4])
    gap = back + 0.02
    if side == 2:
        return rng.uniform(-0.5, 0.5) * max(0.0, width - 2 * reach - 0.1), depth - gap, np.pi
    z = rng.uniform(1.5, max(1.6, depth - reach - 0.1))
    return (gap - width / 2, z, np.pi / 2) if side == 0 else (width / 2 - gap, z, -np.pi / 2)


def _placed(solids: list[Solid], x: float, z: float, turn: float) -> list[Solid]:
    rotation, place = turned(turn), np.array([x, 0.0, z])
    return [s._replace(frame=rotation @ s.frame, origin=rotation @ s.origin + place) for s in solids]
