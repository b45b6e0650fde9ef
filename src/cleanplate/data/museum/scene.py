"""Draw what a room's pictures show: the room, who is in each frame, and where they stand."""

import math
from functools import lru_cache

import numpy as np

from cleanplate.data.museum.bodies import build_body
from cleanplate.data.museum.camera import CENTRE
from cleanplate.data.museum.figures import Figure, draw_figure
from cleanplate.data.museum.poses import draw_pose
from cleanplate.data.museum.render import Plate, Sight, render_plate, see
from cleanplate.data.museum.rooms import FAR, FOV, NEAR, Piece, draw_room
from cleanplate.data.museum.solids import Solid

EMPTY_SHARE = 0.03
"""Of frames with nobody in them."""
LEAST_FOREGROUND = 0.01
"""Share of the pixels of every other frame."""
LEAST_PERSON = 0.002
"""Share of the pixels that each person shows, so that all who are listed can be seen."""
MOST_TRIES = 200
"""To find a free spot on the floor, before standing in one that is not."""
ROOM_KIND, FIGURE_KIND = 0, 1


def room_seed(seed: int, number: int) -> list[int]:
    """Return what seeds all that is drawn for the room of this number, counted from 0, and for its frames."""
    return [seed, ROOM_KIND, number]


@lru_cache(4096)
def figure_of(seed: int, number: int) -> Figure:
    """Return who the figure of this number is, counted from 0."""
    return draw_figure(np.random.default_rng([seed, FIGURE_KIND, number]))


def draw_plate(rng: np.random.Generator, size: int) -> Plate:
    """Draw a room and render it; a room that reaches outside NEAR to FAR is drawn again."""
    while True:
        plate = render_plate(draw_room(rng, size))
        if plate.depth.min() > NEAR + 0.1 and plate.depth.max() < FAR - 0.1:
            return plate


def draw_frame(rng: np.random.Generator, plate: Plate, seed: int, figures: int) -> tuple[list[int], Sight]:
    """Draw who is in a frame and where they stand; drawn again until enough of them can be seen.

    Returns:
        The numbers of the figures, counted from 0, none for an empty frame, and what the camera sees.
    """
    numbers = [int(number) for number in rng.choice(figures, min(draw_count(rng), figures), replace=False)]
    if not numbers:
        return [], see(plate, [])
    attempts = 0
    while True:
        sight = see(plate, _place_people(rng, plate, [figure_of(seed, number) for number in numbers]))
        shown = np.bincount(sight.who[sight.who >= 0], minlength=len(numbers)) / sight.who.size
        if shown.sum() >= LEAST_FOREGROUND and shown.min() >= LEAST_PERSON and sight.depth[CENTRE].min() > NEAR:
            return numbers, sight
        attempts += 1
        # Where three find no place that shows them all, two may, or one.
        if attempts % 8 == 0:
            numbers = numbers[: max(1, len(numbers) - 1)]


def draw_count(rng: np.random.Generator) -> int:
    """Draw how many people are in a frame; nobody in EMPTY_SHARE of them."""
    if rng.random() < EMPTY_SHARE:
        return 0
    return int(rng.choice([1, 2, 3], p=[0.68, 0.22, 0.1]))


def _place_people(rng: np.random.Generator, plate: Plate, people: list[Figure]) -> list[list[Solid]]:
    spots: list[tuple[float, float]] = []
    placed = []
    for person in people:
        spot = _free_spot(rng, plate, spots)
        spots.append(spot)
        placed.append(build_body(person, draw_pose(rng), spot, float(rng.uniform(0, 2 * np.pi))))
    return placed


def _free_spot(rng: np.random.Generator, plate: Plate, taken: list[tuple[float, float]]) -> tuple[float, float]:
    """Return where on the floor (x, z) somebody can stand, as a rule in view; sometimes behind a piece of furniture."""
    room, camera = plate.room, plate.room.camera
    eye, ahead, right = camera.position, camera.rotation[:, 2], camera.rotation[:, 0]
    half_view = np.tan(np.radians(FOV) / 2)
    x = z = 0.0
    for _ in range(MOST_TRIES):
        chosen = None
        if room.pieces and rng.random() < 0.2:
            chosen = room.pieces[rng.integers(len(room.pieces))]
            away = np.array([chosen.spot[0] - eye[0], chosen.spot[1] - eye[2]])
            away /= np.linalg.norm(away)
            beyond = chosen.radius * rng.uniform(0.5, 1.1) + 0.3
            x, z = (np.array(chosen.spot) + away * beyond + rng.normal(0, 0.15, 2)).tolist()
        else:
            far = rng.uniform(1.5, 5.8 if taken else 4.9)
            side = rng.uniform(-1.12, 1.12) * half_view * far
            x, _, z = (eye + ahead * far + right * side).tolist()
        inside = abs(x) < room.width / 2 - 0.35 and 0.2 < z < room.depth - 0.35
        near = float((np.array([x, 1.2, z]) - eye) @ ahead) > 1.5
        apart = all(math.hypot(x - a, z - b) > 0.55 for a, b in taken)
        if inside and near and apart and all(_clear(x, z, piece, piece is chosen) for piece in room.pieces):
            break
    return x, z


def _clear(x: float, z: float, piece: Piece, close: bool) -> bool:
    distance = math.hypot(x - piece.spot[0], z - piece.spot[1])
    return distance > (0.4 if close else min(piece.radius, 0.75) + 0.22)
