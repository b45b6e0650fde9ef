"""Pack a data set of 400,000 items and train on it: time to the first step, and memory throughout.

    python benchmarks/large_set.py --items 400000 --json large_set.json
    python benchmarks/large_set.py --folder large --json large_set.json    # keeps set and pack for another time

The pictures are a few small ones under 400,000 names, in MODEST Museum's layout, so that the index, the split and the
order have their real size. Pack and epoch, of a masknet, are at 32x32.
"""

import time

STARTED = time.perf_counter()  # before the imports, which a user waits for too

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from cleanplate.data.packing import pack
from cleanplate.pictures import write_picture
from cleanplate.recipe import Compute, HeldOutSplit, Phase, Recipe
from cleanplate.train.fit import train
from cleanplate.train.task import CleanplateTask

PLATES = CUTOUTS = 100
SIZE = 32
LINKS = 10_000
"""Names of one file at most; file systems set a limit."""


@dataclass
class Figures:
    """What was measured."""

    items: int
    making_seconds: float = 0.0
    packing_seconds: float = 0.0
    pack_gb: float = 0.0
    packing_peak_mb: float = 0.0
    first_step_seconds: float = 0.0
    """From the start of the process, the making of the data set and of its pack left out."""
    epoch_seconds: float = 0.0
    memory_mb: list[float] = field(default_factory=list)
    """Resident memory at each tenth of the epoch's time, the end included."""
    peak_mb: float = 0.0


def make_set(folder: Path, items: int) -> None:
    """Make a data set of so many items whose pictures are hard links to a few."""
    rng = np.random.default_rng(1)
    for name in ("bg", "bg_fg", "bg_fg_mask"):
        (folder / name).mkdir(parents=True)
    for plate in range(PLATES):
        write_picture(folder / "bg" / f"bg{plate:03d}.jpeg", rng.integers(0, 256, (32, 32, 3), np.uint8))
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    lines, places = [], max(1, items // (PLATES * CUTOUTS))
    source: dict[str, Path] = {}
    for number in range(items):
        plate, cutout, place = number % PLATES, number // PLATES % CUTOUTS, number // (PLATES * CUTOUTS) % (places + 1)
        name = f"bg{plate:03d}_fg{cutout:03d}_{place:02d}"
        for kind, picture in (("bg_fg", rng.integers(0, 256, (32, 32, 3), np.uint8)), ("bg_fg_mask", mask)):
            path = folder / kind / f"{name}.png"
            if number % LINKS == 0:
                write_picture(path, picture)
                source[kind] = path
            else:
                os.link(source[kind], path)
        lines.append(f"bg{plate:03d}\t{name}\t{name}\t\n")
    (folder / "file_map.txt").write_text("".join(lines))


def measure(folder: Path, figures: Figures) -> None:
    """Pack, train for an epoch, and fill in the figures."""
    steps: list[float] = []
    memory: list[tuple[float, float]] = []
    after_backward = CleanplateTask.on_after_backward

    def watched(self: CleanplateTask) -> None:
        if not steps:
            steps.append(time.perf_counter())
        after_backward(self)

    def watch() -> None:
        while not ended.wait(0.5):
            memory.append((time.perf_counter(), _resident_mb()))

    CleanplateTask.on_after_backward = watched
    ended = threading.Event()
    threading.Thread(target=watch, daemon=True).start()
    if not (folder / "data" / "packs").exists():
        packed = pack(folder / "data", sizes=[SIZE])
        figures.packing_seconds, figures.pack_gb = packed.seconds, round(packed.bytes / 1e9, 2)
        figures.packing_peak_mb = round(max(mb for _, mb in memory), 1)
    recipe = Recipe(
        name="large",
        model="masknet",
        loss="bce",
        phases=(Phase(size=SIZE, epochs=1, batch_size=64),),
        split=HeldOutSplit(items_per_part=1000),
        previews=0,
        compute=Compute(precision="float32", layout="contiguous"),
    )
    shutil.rmtree(folder / "run", ignore_errors=True)
    train(recipe, folder / "data", run=folder / "run")
    ended.set()
    first, end = steps[0], time.perf_counter()
    figures.first_step_seconds = round(first - STARTED - figures.making_seconds - figures.packing_seconds, 1)
    figures.epoch_seconds = round(end - first, 1)
    moments = np.linspace(first, end, 11)
    figures.memory_mb = [round(min(memory, key=lambda m: abs(m[0] - moment))[1], 1) for moment in moments]
    figures.peak_mb = round(max(mb for _, mb in memory), 1)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=400_000)
    parser.add_argument("--folder", type=Path, help="make the set here and keep it; what is here is used again")
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()
    figures = Figures(arguments.items)
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        if not (folder / "data").exists():
            begun = time.perf_counter()
            make_set(folder / "data", arguments.items)
            figures.making_seconds = round(time.perf_counter() - begun, 1)
        measure(folder, figures)
    for key, value in asdict(figures).items():
        print(f"{key:<20}{value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(figures), indent=1) + "\n")
    sys.exit(figures.packing_peak_mb > 1000 or figures.peak_mb > 2000)


if __name__ == "__main__":
    main()
