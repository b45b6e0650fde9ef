"""Stop a training of dsresnet at random moments, and measure how long it takes to write its state and end.

    python benchmarks/stops.py --stops 4 --json stops.json

SIGTERM and Ctrl-C in turn, on rendered rooms, with batches of 32 at 96x96 and of 8 at 224x224; each stop is followed by
a resume, which is stopped in its turn. The promise is 10 seconds; the exit code is 1 where one took longer.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cleanplate.data.museum.make import make_museum
from cleanplate.train.run import describe_environment

PROMISED = 10.0
SHAPES = ((96, 32), (224, 8))
"""Pixels a side, and items in a batch."""
EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


def measure(data: Path, run: Path, size: int, batch_size: int, after: float, number: signal.Signals) -> float:
    """Train, or go on; send a signal so many seconds after the training has begun; return the seconds to the end."""
    phases = f"phases=[{{size: {size}, epochs: 1000, batch_size: {batch_size}}}]"
    new = ["quick", "--data", str(data), "--run", str(run), "--set", phases]
    known = set(run.glob("events/*"))
    child = subprocess.Popen(
        [sys.executable, "-m", "cleanplate", "train", *(["--resume", str(run)] if run.exists() else new)],
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as a terminal has it
    )
    while set(run.glob("events/*")) == known and child.poll() is None:
        time.sleep(0.01)
    time.sleep(after)
    child.send_signal(number)
    sent = time.perf_counter()
    if child.wait() != EXIT_CODES[number]:
        raise SystemExit(f"{number.name} after {after:.1f} s: exit code {child.returncode}")
    return time.perf_counter() - sent


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=4, help="of each size")
    parser.add_argument("--longest", type=float, default=10.0, help="seconds of training before a stop, at most")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    moments, rows = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as made:
        data = make_museum(Path(made) / "data", rooms=30, frames=8, figures=12, size=224)
        for size, batch_size in SHAPES:
            for stop in range(options.stops):
                after, number = moments.uniform(0.5, options.longest), list(EXIT_CODES)[stop % len(EXIT_CODES)]
                seconds = measure(data, Path(made) / f"run-{size}", size, batch_size, after, number)
                rows.append({"size": size, "batch_size": batch_size, "signal": number.name, "seconds": seconds})
                print(f"{size:>4}{batch_size:>4}  {number.name}  after {after:4.1f} s  {seconds:5.2f} s", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"environment": describe_environment(), "rows": rows}, indent=1) + "\n")
    return int(max(row["seconds"] for row in rows) > PROMISED)


if __name__ == "__main__":
    sys.exit(main())
