"""How fast cleanplate is beside the report's way: `make bench`, a table and benchmarks/results.json.

Each comparison has two processes that take turns, A B A B …; a ratio is the median of the ratios pair by pair. The
baseline is the report's way, written plainly: float32, contiguous, eager, as torch and the C library come.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from input_speed import measure as measure_input

from cleanplate.cores import count_cores
from cleanplate.data.museum import make_museum
from cleanplate.recipes import load_recipe
from cleanplate.train.compute import choose_compute

HERE = Path(__file__).parent
BATCHES = {96: 32, 160: 16, 224: 8}

Row = dict[str, Any]


class Side:
    """A process of `sides.py` that measures one thing whenever it is asked.

    Its `first` is what it measured while everything was new.
    """

    def __init__(self, task: str, *arguments: object) -> None:
        command = [sys.executable, str(HERE / "sides.py"), task, json.dumps(arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self) -> Any:
        """Return what it has measured: a figure, or for an epoch the seconds of each turn."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __enter__(self) -> "Side":
        self.first = self.measure()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def in_turn(task: str, *arguments: object, rounds: int) -> tuple[list[float], list[float]]:
    """Return what the baseline and we take, in seconds, turn by turn."""
    with Side(task, "baseline", *arguments) as baseline, Side(task, "ours", *arguments) as ours:
        pairs = [(baseline.measure(), ours.measure()) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def row(name: str, unit: str, baseline: list[float], ours: list[float]) -> Row:
    """Return a row of rates, each pair measured in turn."""
    ratios = [b / a for a, b in zip(baseline, ours, strict=True)]
    return {
        "name": name,
        "baseline": round(statistics.median(baseline), 2),
        "ours": round(statistics.median(ours), 2),
        "unit": unit,
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
    }


def bench_step(name: str, size: int, network: str) -> Row:
    """Compare training steps of a network with those of dsresnet."""
    batch = BATCHES[size]
    seconds = in_turn("step", size, batch, None, network, rounds=7)
    return row(name, "items/s", *([batch / second for second in side] for side in seconds))


def bench_predict(name: str, network: str) -> Row:
    """Compare prediction of one frame at a time whose plate stays, of a network with that of dsresnet."""
    seconds = in_turn("predict", 224, network, rounds=25)
    return row(name, "frames/s", *([1 / second for second in side] for side in seconds))


def bench_memory() -> Row:
    """Compare the peak memory of training processes."""
    peaks = [[value] for value in (_peak("baseline"), _peak("ours"))]
    compared = row("memory-224", "MB", *peaks)
    return compared | {"ratio": round(1 / compared["ratio"], 2), "ratios": [round(1 / compared["ratio"], 2)]}


def _peak(way: str) -> float:
    with Side("memory", way, 224, 16) as side:
        return side.measure()


def bench_input(data: Path) -> Row:
    """Compare what turns files into batches."""
    return row("input-96", "items/s", *([rate] for rate in measure_input(data, 60)))


def bench_epoch(data: Path) -> Row:
    """Compare the second epoch of a training, from a pack, with the same steps on one batch that stays (the baseline).

    Both compute alike, as chosen once for both, and take turns in one process, step by step.
    """
    size, batch = 96, BATCHES[96]
    compute = choose_compute(load_recipe("report-best"), torch.device("cpu"))
    with Side("epoch", str(data), size, batch, compute) as epoch:
        turns = epoch.first  # of its second epoch
    return row("epoch-96", "items/s", *([batch / turn[side] for turn in turns] for side in (0, 1)))


def bench_start(name: str, command: list[str]) -> Row:
    """Time a command; there is nothing to compare it with."""
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return {
        "name": name,
        "baseline": None,
        "ours": round(statistics.median(seconds), 3),
        "unit": "s",
        "ratio": None,
        "ratios": [],
    }


def describe_machine() -> str:
    """Return processor, the vector instructions that torch makes use of, and cores."""
    model = (
        next(
            (
                line.split(":")[1].strip()
                for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")
            ),
            platform.processor(),
        )
        if Path("/proc/cpuinfo").exists()
        else ""
    )
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{model or platform.processor()}, {vectors}, {count_cores()} cores, {platform.platform()}"


def main() -> None:
    """Measure every row, or those that are named, and write them down after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help="these alone")
    parser.add_argument("--json", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        data = folder / "museum"
        rows: dict[str, Callable[[], Row]] = {
            **{
                f"{name}-{size}": partial(bench_step, f"{name}-{size}", size, network)
                for name, network in (("train", "dsresnet"), ("platenet", "platenet"))
                for size in BATCHES
            },
            "input-96": lambda: bench_input(data),
            "epoch-96": lambda: bench_epoch(data),
            "predict-224": partial(bench_predict, "predict-224", "dsresnet"),
            "platenet-predict-224": partial(bench_predict, "platenet-predict-224", "platenet"),
            "memory-224": bench_memory,
            "cli-start": lambda: bench_start("cli-start", [sys.executable, "-m", "cleanplate", "--help"]),
            "import": lambda: bench_start("import", [sys.executable, "-c", "import cleanplate"]),
        }
        wanted = options.rows or list(rows)
        if unknown := set(wanted) - set(rows):
            parser.error(f"no row {', '.join(sorted(unknown))}; there are {', '.join(rows)}")
        if {"input-96", "epoch-96"} & set(wanted):
            make_museum(data, rooms=40, figures=30, frames=40, size=224, seed=1)
        results: list[Row] = []
        print(f"{'':21}{'baseline':>10}{'ours':>10}  {'unit':10}{'ratio':>6}")
        for name in wanted:
            results.append(found := rows[name]())
            cells = ["" if found[key] is None else str(found[key]) for key in ("baseline", "ours", "ratio")]
            print(f"{name:21}{cells[0]:>10}{cells[1]:>10}  {found['unit']:10}{cells[2]:>6}", flush=True)
            options.json.write_text(json.dumps({"machine": describe_machine(), "rows": results}, indent=2) + "\n")


if __name__ == "__main__":
    os.environ.pop("OMP_NUM_THREADS", None)
    main()
