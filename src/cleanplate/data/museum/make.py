"""Make the museum: rooms, people in them, and the data set folder."""

import math
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cleanplate import __version__
from cleanplate.data.museum.bodies import build_body
from cleanplate.data.museum.camera import CENTRE, look
from cleanplate.data.museum.figures import NEUTRAL, Figure, draw_figure, draw_pose
from cleanplate.data.museum.light import Lamp, Light
from cleanplate.data.museum.render import Plate, Sight, cut_out, render_frame, render_plate, see
from cleanplate.data.museum.rooms import FAR, FOV, NEAR, Piece, draw_room
from cleanplate.data.museum.solids import Solid
from cleanplate.data.writer import Item, write_dataset
from cleanplate.errors import UserError
from cleanplate.pictures import require_multiple, write_picture

EMPTY_SHARE = 0.03
"""Of frames with nobody in them."""
LEAST_FOREGROUND = 0.01
"""Share of the pixels of every other frame."""
LEAST_PERSON = 0.002
"""Share of the pixels that each person shows, so that all who are listed can be seen."""
ROOM_KIND, FIGURE_KIND = 0, 1
FIGURES_A_JOB = 5
MOST_TRIES = 200
"""To find a free spot on the floor, before standing in one that is not."""


class Job(NamedTuple):
    """Either some figures' pictures, or a room and its frames."""

    seed: int
    size: int
    figures: int
    frames: int
    numbers: tuple[int, ...]
    """Of the figures to draw; empty for a room."""
    room: int


def make_museum(
    out: Path | str,
    *,
    rooms: int = 600,
    figures: int = 200,
    frames: int = 10,
    size: int = 224,
    seed: int = 1,
    workers: int | None = None,
) -> Path:
    """Render the built-in sample set: rooms with people, exact masks and depth in metres, as a data set folder.

    The same seed gives the same bytes, whatever the number of workers; more rooms leave the first ones as they are.

    Args:
        out: the folder to make; must not exist, or be empty.
        rooms: number of plates.
        figures: number of people to draw from.
        frames: frames of each room.
        size: width and height of the pictures, a multiple of 32, at least 64.
        seed: of every random draw, 0 or more.
        workers: processes, one a core when None.

    Raises:
        UserError: a number is out of range, or `out` holds something already.
    """
    for flag, value in (("--rooms", rooms), ("--figures", figures), ("--frames", frames)):
        if value < 1:
            raise UserError(f"{flag}: {value} is too few; give 1 or more")
    if workers is not None and workers < 1:
        raise UserError(f"--workers: {workers} is too few; give 1 or more, or leave it out for one a core")
    if seed < 0:
        raise UserError(f"--seed: {seed} is negative; give 0 or more")
    if require_multiple(size, "--size") < 64:
        raise UserError(f"--size: {size} is too small; give 64 or more")
    starts = range(0, figures, FIGURES_A_JOB)
    jobs = [Job(seed, size, figures, frames, tuple(range(s, min(s + FIGURES_A_JOB, figures))), 0) for s in starts]
    jobs += [Job(seed, size, figures, frames, (), room) for room in range(rooms)]
    made_by = {"command": "data museum", "rooms": rooms, "figures": figures, "frames": frames, "size": size}
    card = {
        "name": "museum",
        "made_by": {**made_by, "seed": seed, "version": __version__},
        "depth": {"kind": "metric", "near": NEAR, "far": FAR, "fov": FOV},
    }
    return write_dataset(
        Path(out), make_job, jobs, card=card, frame_suffix=".jpg", workers=workers, description="rendering"
    )


def make_job(folder: Path, job: Job) -> list[Item]:
    """Write the pictures of one job into a data set folder and return its items."""
    for number in job.numbers:
        _write_figure(folder, job, number)
    return [] if job.numbers else _write_room(folder, job)


@lru_cache(4096)
def figure_of(seed: int, number: int) -> Figure:
    """Return who the figure of this number is, counted from 0."""
    return draw_figure(np.random.default_rng([seed, FIGURE_KIND, number]))


def _name(kind: str, number: int) -> str:
    return f"{kind}{number + 1:03d}"


def _write_figure(folder: Path, job: Job, number: int) -> None:
    solids = build_body(figure_of(job.seed, number), NEUTRAL, (0.0, 0.0), np.pi + 0.3)
    camera = look(np.array([0.0, 1.25, -3.4]), np.array([0.0, 0.98, 0.0]), 0, 36, job.size)
    lamp = Lamp(np.array([-1.2, 2.8, -2.2]), np.full(3, 1.9))
    picture = cut_out(solids, camera, Light((lamp,), np.full(3, 0.5), np.full(3, 0.35)))
    rows, columns = np.flatnonzero(picture[..., 3].any(1)), np.flatnonzero(picture[..., 3].any(0))
    picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    write_picture(folder / "fg" / f"{_name('fg', number)}.png", picture)
    mask = np.where(picture[..., 3] >= 128, 255, 0).astype(np.uint8)
    write_picture(folder / "fg_mask" / f"{_name('fg', number)}_mask.png", mask)


def _write_room(folder: Path, job: Job) -> list[Item]:
    rng = np.random.default_rng([job.seed, ROOM_KIND, job.room])
    plate = draw_plate(rng, job.size)
    plate_name = _name("bg", job.room)
    write_picture(folder / "bg" / f"{plate_name}.jpg", plate.picture)
    items = []
    for number in range(job.frames):
        numbers, sight = draw_frame(rng, plate, job.seed, job.figures)
        cutouts = tuple(_name("fg", n) for n in numbers)
        name = f"{plate_name}_{'_'.join(cutouts) or 'empty'}_{number + 1:02d}"
        mask, relative = sight.who >= 0, (sight.depth[CENTRE] - NEAR) / (FAR - NEAR)
        write_picture(folder / "bg_fg" / f"{name}.jpg", render_frame(plate, sight))
        write_picture(folder / "bg_fg_mask" / f"{name}_mask.png", np.where(mask, 255, 0).astype(np.uint8))
        depth = np.round(relative * 65535).astype(np.uint16)
        write_picture(folder / "bg_fg_depth_map" / f"{name}_depth_map.png", depth)
        items.append(Item(plate_name, name, f"{name}_mask", f"{name}_depth_map", cutouts, _box(mask)))
    return items


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return 0, 0, 0, 0
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1


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
    if rng.random() < EMPTY_SHARE:
        return [], see(plate, [])
    wanted = int(rng.choice([1, 2, 3], p=[0.68, 0.22, 0.1]))
    numbers = [int(n) for n in rng.choice(figures, min(wanted, figures), replace=False)]
    people = [figure_of(seed, number) for number in numbers]
    for attempt in count():
        # Where three find no place that shows them all, two may, or one.
        people = people[: max(1, len(people) - attempt // 8)]
        sight = see(plate, _place_people(rng, plate, people))
        shown = np.bincount(sight.who[sight.who >= 0], minlength=len(people)) / sight.who.size
        if shown.sum() >= LEAST_FOREGROUND and shown.min() >= LEAST_PERSON:
            return numbers[: len(people)], sight
    raise AssertionError("count() has no end")


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
