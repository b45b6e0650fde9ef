"""Render a room into its plate, and people into a frame of it."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from cleanplate.data.museum.camera import CENTRE, COLOUR_SAMPLES, Camera, Window
from cleanplate.data.museum.light import Light, display, dot
from cleanplate.data.museum.material import albedo, sample
from cleanplate.data.museum.rooms import CEILING, FLOOR, SURFACES, Room
from cleanplate.data.museum.shadows import LIGHT_MAP_DENSITY, light_map, shadow_map
from cleanplate.data.museum.solids import Solid, Solids, surface, trace


class Plate(NamedTuple):
    """A room as the camera sees it; arrays of five samples a pixel, the last through its centre."""

    room: Room
    depth: np.ndarray
    """`(5, H, W)` float32 metres."""
    owner: np.ndarray
    """`(5, H, W)` int16: 0 to 4 for the room's surfaces, then its solids."""
    colours: np.ndarray
    """`(4, H, W, 3)` float32 display values, 0 to 255."""
    exposure: float
    places: np.ndarray
    """`(2, H, W)` float32: where each pixel's centre lies on its surface, in texels of the light maps."""
    shares: list[np.ndarray]
    """For each surface `(lamps, h, w)`: which share of its light comes from each lamp."""

    picture: np.ndarray
    """`(H, W, 3)` uint8."""


class Sight(NamedTuple):
    """People in a room as the camera sees them, not yet coloured."""

    solids: Solids | None
    """Of everybody; None of nobody."""
    window: Window
    """That they lie in."""
    depth: np.ndarray
    owner: np.ndarray
    """As in Plate; `owner` counts the people's solids and is -1 elsewhere."""
    who: np.ndarray
    """`(H, W)` int16: the number of the person seen at each pixel's centre, -1 for none."""


def _quantise(colours: np.ndarray) -> np.ndarray:
    """Return the mean of a pixel's colour samples as uint8."""
    return np.round(colours.mean(0)).astype(np.uint8)


def render_plate(room: Room) -> Plate:
    """Render a room with nobody in it."""
    camera = room.camera
    depth, owner = _room_depth(room)
    if room.solids is not None:
        trace(room.solids, camera, depth, owner, SURFACES)
    x, y = camera.rays(camera.frame)
    baked, shares = zip(*(light_map(room, number) for number in range(SURFACES)), strict=True)
    radiance = np.zeros((*depth.shape[:1], depth.shape[1] * depth.shape[2], 3), np.float32)[:COLOUR_SAMPLES].reshape(
        -1, 3
    )
    flat_owner = owner[:COLOUR_SAMPLES].ravel()
    points = _points(camera, x, y, depth, COLOUR_SAMPLES)
    for number in range(SURFACES):
        here = np.flatnonzero(flat_owner == number)
        if len(here):
            radiance[here] = _surface_radiance(room, number, baked, points[:, here])
    here = np.flatnonzero(flat_owner >= SURFACES)
    if room.solids is not None and len(here):
        seen = flat_owner[here] - SURFACES
        radiance[here] = shade(room.solids, seen, points[:, here], room.light, camera.position).T
    exposure = room.brightness / float(np.minimum(radiance, 2.0).mean())
    colours = display(radiance * np.float32(exposure)).reshape(COLOUR_SAMPLES, *depth.shape[1:], 3)
    places = _light_map_places(room, owner[CENTRE], _centre_points(camera, x, y, depth))
    return Plate(room, depth, owner, colours, exposure, places, list(shares), _quantise(colours))


def see(plate: Plate, people: Sequence[Sequence[Solid]]) -> Sight:
    """Find out what of people, each given by its solids, the camera sees."""
    if not people:
        nobody = np.full(plate.owner.shape, -1, np.int16)
        return Sight(None, Window(0, 0, 0, 0), plate.depth, nobody, nobody[CENTRE])
    depth, owner = plate.depth.copy(), np.full_like(plate.owner, -1)
    solids = Solids([solid for person in people for solid in person])
    window = trace(solids, plate.room.camera, depth, owner, 0)
    person_of_solid = np.repeat(np.arange(len(people), dtype=np.int16), [len(person) for person in people])
    who = np.where(owner[CENTRE] >= 0, person_of_solid[owner[CENTRE]], np.int16(-1))
    return Sight(solids, window, depth, owner, who)


def render_frame(plate: Plate, sight: Sight) -> np.ndarray:
    """Return the picture `(H, W, 3)` uint8: the plate, the shadows of people on it, and the people."""
    if sight.solids is None:
        return plate.picture
    camera = plate.room.camera
    shadow = _shadow(plate, sight.solids)
    window = _around(shadow < 1, sight.window)
    colours = window.of(plate.colours) * window.of(shadow[None])[..., None]
    seen = window.of(sight.owner)[:COLOUR_SAMPLES].ravel()
    here = np.flatnonzero(seen >= 0)
    if len(here):
        points = _points(camera, *camera.rays(window), window.of(sight.depth), COLOUR_SAMPLES, here)
        light = shade(sight.solids, seen[here], points, plate.room.light, camera.position)
        colours.reshape(-1, 3)[here] = display(light.T * np.float32(plate.exposure))
    picture = plate.picture.copy()
    picture[window.top : window.bottom, window.left : window.right] = _quantise(colours)
    return picture


def _around(touched: np.ndarray, window: Window) -> Window:
    """Return a window around `window` and all that is true in `touched` `(H, W)`."""
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    if len(rows) == 0:
        return window
    return Window(
        min(window.left, int(columns[0])),
        min(window.top, int(rows[0])),
        max(window.right, int(columns[-1]) + 1),
        max(window.bottom, int(rows[-1]) + 1),
    )


def shade(solids: Solids, ids: np.ndarray, points: np.ndarray, light: Light, eye: np.ndarray) -> np.ndarray:
    """Return the light `(3, N)` that comes from surface points `(3, N)` of the solids `ids` towards `eye`."""
    normals, texture, local = surface(solids, ids, points)
    colours = albedo(solids.materials, ids, texture, local)
    irradiance = light.irradiance(points, normals)
    toward = eye.astype(np.float32)[:, None] - points
    toward /= np.sqrt((toward * toward).sum(0))
    facing = np.clip((toward * normals).sum(0), 0, 1)
    gloss = np.array([m.gloss for m in solids.materials], np.float32)[ids]
    glow = np.array([m.glow for m in solids.materials], np.float32)[ids]
    # Crevices and edges seen at a slant are a little darker; close to the floor less light arrives.
    closeness = (1 - 0.4 * np.exp(-6 * np.maximum(points[1], 0))) * (0.72 + 0.28 * facing)
    lit = colours * (irradiance * closeness + glow)
    if gloss.any():
        mirrored = 2 * facing * normals - toward
        for lamp in light.lamps:
            to_lamp = lamp.position.astype(np.float32)[:, None] - points
            squared = (to_lamp * to_lamp).sum(0)
            highlight = np.clip((mirrored * to_lamp).sum(0) / np.sqrt(squared), 0, 1) ** 16
            lit += lamp.colour.astype(np.float32)[:, None] * (gloss * highlight / (1 + 0.35 * squared))
    return lit


def _room_depth(room: Room) -> tuple[np.ndarray, np.ndarray]:
    camera = room.camera
    x, y = camera.rays(camera.frame)
    depth = np.full((5, camera.size, camera.size), np.inf, np.float32)
    owner = np.zeros(depth.shape, np.int16)
    for number, side in enumerate(room.surfaces):
        a, b, c = side.normal @ camera.rotation
        distance = np.float32(side.normal @ (side.origin - camera.position))
        with np.errstate(divide="ignore"):
            reached = distance / (np.float32(a) * x + (np.float32(b) * y + np.float32(c)))
        reached[reached <= 0] = np.inf
        nearer = reached < depth
        np.copyto(depth, reached, where=nearer)
        np.copyto(owner, number, where=nearer)
    return depth, owner


def _points(
    camera: Camera, x: np.ndarray, y: np.ndarray, depth: np.ndarray, samples: int, here: np.ndarray | None = None
) -> np.ndarray:
    """Return world points `(3, N)` of the first `samples` planes of `depth`, of those numbered `here`."""
    t = depth[:samples]
    ahead = np.stack([x[:samples] * t, y[:samples] * t, t]).reshape(3, -1)
    if here is not None:
        ahead = ahead[:, here]
    return np.stack([dot(row, ahead, at) for row, at in zip(camera.rotation, camera.position, strict=True)])


def _centre_points(camera: Camera, x: np.ndarray, y: np.ndarray, depth: np.ndarray) -> np.ndarray:
    return _points(camera, x[CENTRE:], y[CENTRE:], depth[CENTRE:], 1)


def _surface_radiance(room: Room, number: int, baked: Sequence[np.ndarray], points: np.ndarray) -> np.ndarray:
    found = _look_up(room, number, baked[number], points)
    if number != FLOOR or room.gloss == 0:
        return found
    eye = room.camera.position.astype(np.float32)[:, None]
    ray = points - eye
    slant = -ray[1] / np.sqrt((ray * ray).sum(0))
    share = np.float32(room.gloss) * (0.35 + 0.65 * (1 - np.clip(slant, 0, 1)) ** 3)
    ray[1] *= -1
    best, owner = np.full(len(slant), np.inf, np.float32), np.zeros(len(slant), np.int16)
    for other in range(1, SURFACES):
        wall = room.surfaces[other]
        distance = -dot(wall.normal, points, -(wall.normal @ wall.origin))
        speed = dot(wall.normal, ray)
        reached = np.where(speed < -1e-6, distance / np.minimum(speed, -1e-6), np.float32(np.inf))
        nearer = reached < best
        best[nearer], owner[nearer] = reached[nearer], other
    mirrored = np.zeros_like(found)
    hits = points + ray * np.minimum(best, 100)
    for other in range(1, SURFACES):
        here = np.flatnonzero(owner == other)
        if len(here):
            mirrored[here] = _look_up(room, other, baked[other], hits[:, here], blurred=True)
    return found + (mirrored - found) * share[:, None]


def _look_up(room: Room, number: int, baked: np.ndarray, points: np.ndarray, blurred: bool = False) -> np.ndarray:
    """Return the baked light `(N, 3)` at points of a surface; far away from a coarser copy, against shimmer."""
    side, camera = room.surfaces[number], room.camera
    u, v = side.place(points)
    h, w = baked.shape[:2]
    column, row = u * np.float32(w / side.width) - 0.5, v * np.float32(h / side.height) - 0.5
    coarse = cv2.resize(baked, (max(1, w // 4), max(1, h // 4)), interpolation=cv2.INTER_AREA)
    from_coarse = sample(coarse, (column + 0.5) / 4 - 0.5, (row + 0.5) / 4 - 0.5)
    if blurred:
        return from_coarse
    ray = points - camera.position.astype(np.float32)[:, None]
    squared = (ray * ray).sum(0)
    footprint = squared / np.abs(dot(side.normal, ray)) * np.float32(w / side.width / camera.focal / 2)
    mix = np.clip((footprint - 1.2) / 3, 0, 1)[:, None]
    fine = sample(baked, column, row)
    return fine + (from_coarse - fine) * mix


def _light_map_places(room: Room, owner: np.ndarray, points: np.ndarray) -> np.ndarray:
    places = np.zeros((2, owner.size), np.float32)
    flat = owner.ravel()
    for number, side in enumerate(room.surfaces):
        here = flat == number
        places[:, here] = np.stack(side.place(points[:, here])) * LIGHT_MAP_DENSITY - 0.5
    return places.reshape(2, *owner.shape)


def _shadow(plate: Plate, solids: Solids) -> np.ndarray:
    """Return by what to multiply each pixel `(H, W)`, 1 where no shadow falls."""
    factor = np.ones(plate.owner.shape[1:], np.float32)
    owner = plate.owner[CENTRE]
    for number in range(SURFACES):
        if number == CEILING or not (owner == number).any():
            continue
        dark = shadow_map(plate.room, number, solids, plate.shares[number])
        if dark is None:
            continue
        found = cv2.remap(dark, plate.places[0], plate.places[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # Display values go with the square root of light.
        np.copyto(factor, np.sqrt(1 - found), where=owner == number)
    return factor


def cut_out(solids: Sequence[Solid], camera: Camera, light: Light) -> np.ndarray:
    """Render a figure alone: `(H, W, 4)` uint8 RGBA, smooth at its edge."""
    stacked = Solids(solids)
    depth = np.full((5, camera.size, camera.size), np.inf, np.float32)
    owner = np.full(depth.shape, -1, np.int16)
    trace(stacked, camera, depth, owner, 0)
    x, y = camera.rays(camera.frame)
    seen = owner[:COLOUR_SAMPLES].ravel()
    here = np.flatnonzero(seen >= 0)
    points = _points(camera, x, y, np.where(np.isinf(depth), 1, depth), COLOUR_SAMPLES, here)
    colours = np.zeros((len(seen), 3), np.float32)
    colours[here] = display(shade(stacked, seen[here], points, light, camera.position).T)
    covered = (seen >= 0).reshape(COLOUR_SAMPLES, camera.size, camera.size).sum(0)
    summed = colours.reshape(COLOUR_SAMPLES, camera.size, camera.size, 3).sum(0)
    mean = summed / np.maximum(covered, 1)[..., None]
    return np.dstack([mean, covered * (255 / COLOUR_SAMPLES)]).round().astype(np.uint8)
