"""Measure how many items a second live composition gives: one process, one core.

    python benchmarks/live_source.py --plates rooms --cutouts people

Without `--cutouts` the museum's figures stand in the plates. Each figure is the median of several rounds.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import cv2
import torch

from cleanplate.data.live import LiveComposition
from cleanplate.data.mismatch import mismatch
from cleanplate.recipe_pictures import Composition, Mismatch

BATCH = 32
SECONDS = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plates", type=Path, required=True)
    parser.add_argument("--cutouts", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 160])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    source = LiveComposition(options.plates, options.cutouts, Composition())
    for size in options.sizes:
        for name, settings in (("alone", Mismatch()), ("with every mismatch", Mismatch.everything())):
            rates = [round(items_per_second(source, settings, size, epoch)) for epoch in range(options.rounds)]
            print(json.dumps({"size": size, "what": name, "items_per_second": statistics.median(rates), "all": rates}))


def items_per_second(source: LiveComposition, settings: Mismatch, size: int, epoch: int) -> float:
    done, start = 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < SECONDS:
        items = [(done + n) % len(source) for n in range(BATCH)]
        mismatch(source.batch(items, size, 1, epoch), settings, seed=1, epoch=epoch)
        done += BATCH
    return done / seconds


if __name__ == "__main__":
    main()
