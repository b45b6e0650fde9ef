"""Make the museum: rooms, people in them, and the data set folder."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cleanplate import __version__
from cleanplate.data.museum.bodies import build_body
from cleanplate.data.museum.camera import CENTRE, look
from cleanplate.data.museum.light import Lamp, Light
from cleanplate.data.museum.poses import neutral_pose
from cleanplate.data.museum.render import cut_out, render_frame
from cleanplate.data.museum.rooms import FAR, FOV, NEAR
from cleanplate.data.museum.scene import draw_frame, draw_plate, figure_of, room_seed
from cleanplate.data.writer import Item, write_dataset
from cleanplate.errors import UserError
from cleanplate.pictures import require_multiple, write_picture

FIGURES_A_JOB = 5


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


def _name(kind: str, number: int) -> str:
    return f"{kind}{number + 1:03d}"


def _write_figure(folder: Path, job: Job, number: int) -> None:
    solids = build_body(figure_of(job.seed, number), neutral_pose(), (0.0, 0.0), np.pi + 0.3)
    camera = look(np.array([0.0, 1.25, -3.4]), np.array([0.0, 0.98, 0.0]), 0, 36, job.size)
    lamp = Lamp(np.array([-1.2, 2.8, -2.2]), np.full(3, 1.9))
    picture = cut_out(solids, camera, Light((lamp,), np.full(3, 0.5), np.full(3, 0.35)))
    rows, columns = np.flatnonzero(picture[..., 3].any(1)), np.flatnonzero(picture[..., 3].any(0))
    picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    write_picture(folder / "fg" / f"{_name('fg', number)}.png", picture)
    mask = np.where(picture[..., 3] >= 128, 255, 0).astype(np.uint8)
    write_picture(folder / "fg_mask" / f"{_name('fg', number)}_mask.png", mask)


def _write_room(folder: Path, job: Job) -> list[Item]:
    rng = np.random.default_rng(room_seed(job.seed, job.room))
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
