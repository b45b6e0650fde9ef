"""Write a data set folder of the MODEST Museum layout; both makers, museum and compose, come through here."""

import csv
import io
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import yaml

from cleanplate.cores import count_cores
from cleanplate.files import whole_folder, write_text
from cleanplate.progress import track
from cleanplate.signals import end_with_parent

Job = TypeVar("Job")

FOLDERS = ("bg", "fg", "fg_mask", "bg_fg", "bg_fg_mask", "bg_fg_depth_map")


class Item(NamedTuple):
    """One frame of a data set; names are without extension."""

    plate: str
    frame: str
    mask: str
    depth: str
    """Empty where the frame has no depth map."""
    cutouts: tuple[str, ...]
    """Who stands in the frame; empty for an empty frame."""
    box: tuple[int, int, int, int]
    """Around the foreground: x, y, width, height in pixels; all 0 for an empty frame."""


def write_dataset(
    out: Path,
    make: Callable[[Path, Job], list[Item]],
    jobs: Sequence[Job],
    *,
    card: dict[str, Any],
    frame_suffix: str,
    workers: int | None = None,
    description: str = "making",
) -> Path:
    """Make a data set folder that appears whole or not at all.

    `make(folder, job)` writes the pictures of one job and returns their items. It runs in `workers` processes (one a
    core when None), must be picklable and must depend on nothing but the job: so the bytes do not depend on the number
    of workers.

    Args:
        out: the folder to make; must not exist, or be empty.
        make: makes one job's pictures inside the folder it is given.
        jobs: what there is to make, in the order of the data set.
        card: what goes into `dataset.yaml`.
        frame_suffix: the suffix of frame files, as `bbox.txt` wants it.
        workers: number of processes.
        description: what the progress bar says.

    Raises:
        UserError: `out` holds something already.
    """
    with whole_folder(out) as folder:
        for name in FOLDERS:
            (folder / name).mkdir()
        results = _in_processes(make, folder, jobs, workers or count_cores())
        items = [item for made in track(results, len(jobs), description) for item in made]
        write_tables(folder, items, frame_suffix)
        write_text(folder / "dataset.yaml", yaml.safe_dump(card, sort_keys=False))
    return out


def write_tables(folder: Path, items: Sequence[Item], frame_suffix: str) -> None:
    """Write `file_map.txt`, `bbox.txt` and `items.csv`."""
    write_text(folder / "file_map.txt", "".join("\t".join(item[:4]) + "\n" for item in items))
    boxes = ("\t".join([item.frame + frame_suffix, *map(str, item.box)]) + "\n" for item in items)
    write_text(folder / "bbox.txt", "".join(boxes))
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["frame", "plate", "cutouts"])
    rows.writerows([item.frame, item.plate, " ".join(item.cutouts)] for item in items)
    write_text(folder / "items.csv", table.getvalue())


def _in_processes(
    make: Callable[[Path, Job], list[Item]], folder: Path, jobs: Sequence[Job], workers: int
) -> Iterator[list[Item]]:
    if workers <= 1:
        yield from (make(folder, job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_quiet_worker) as pool:
        try:
            yield from pool.map(make, [folder] * len(jobs), jobs)  # one by one: a stop waits for what is begun
        except BaseException:  # Ctrl-C too: what waits is not to be begun
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _quiet_worker() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent ends the work
    end_with_parent()
    cv2.setNumThreads(1)
