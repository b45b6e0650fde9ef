"""Load the HTTP API, and try it with requests made up from its own OpenAPI: `python benchmarks/api.py --weights RUN`.

Both go to `cleanplate app` in a process of its own, over loopback. The exit code is 1 when anything went wrong.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "app"))

import cv2
import httpx2
import numpy as np
from app_process import Served
from schema_cases import send_cases

from cleanplate.app.server import STATIC
from cleanplate.pictures import encode, read_rgb
from cleanplate.train.run import describe_environment

WIDTH, HEIGHT = 640, 480


def main() -> int:
    """Load, send the cases, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="a run folder or a weights file")
    parser.add_argument("--clients", type=int, default=8, help="at once")
    parser.add_argument("--seconds", type=float, default=60, help="of load")
    parser.add_argument("--cases", type=int, default=2000, help="requests of schemathesis")
    parser.add_argument("--seed", type=int, default=0, help="the cases follow from it")
    parser.add_argument("--json", type=Path, help="file to write the result into")
    options = parser.parse_args()

    app = Served("--weights", options.weights, "--port", "0", "--json")
    try:
        load = put_under_load(app, options.clients, options.seconds) if options.seconds else None
        print(json.dumps(load, indent=2), flush=True)
        tally = send_cases(app.url, options.cases, options.seed) if options.cases else None
        if tally:
            print(*(f"{count:6} {name}" for name, count in sorted(tally.statuses.items())), sep="\n")
            print(*tally.failures, sep="\n")
    finally:
        ended = app.stop()
    print(f"ended with {ended}")
    failures = tally.failures if tally else []
    wrong = any(int(name.split()[-1]) >= 500 for name in tally.statuses) if tally else False
    if options.json:
        cases = dict(tally.statuses) if tally else None
        result = {"environment": describe_environment(), "load": load, "cases": cases, "failures": failures}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return int(bool(failures or wrong or ended[0] != 130 or (load and set(load["answers"]) != {"200"})))


def put_under_load(app: Served, clients: int, seconds: float) -> dict:
    """Let clients send frames of a plate of their own, each as soon as its last was answered."""
    frame = encode(_scaled("hall-frame"), ".jpg")
    plate = encode(_scaled("hall-plate"), ".jpg")
    taken: list[float] = []
    answers: Counter[str] = Counter()
    memory = {0: _megabytes(app)}
    end = time.monotonic() + seconds

    def work() -> None:
        with httpx2.Client(base_url=app.url, timeout=60) as client:
            plate_id = client.post("/api/plates", files={"plate": plate}).json()["plate_id"]
            while time.monotonic() < end:
                start = time.perf_counter()
                answer = client.post("/api/predict?output=maps", files={"frame": frame}, data={"plate_id": plate_id})
                taken.append(time.perf_counter() - start)
                answers[str(answer.status_code)] += 1

    threads = [threading.Thread(target=work) for _ in range(clients)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    every = min(60, seconds / 12)
    while alive := [thread for thread in threads if thread.is_alive()]:
        alive[0].join(every)
        memory[round(time.monotonic() - start)] = _megabytes(app)
    percentiles = {f"p{share}": round(float(np.percentile(taken, share)) * 1000, 1) for share in (50, 95, 99, 100)}
    return {
        "clients": clients,
        "picture": f"{WIDTH}x{HEIGHT}",
        "answers": dict(answers),
        "answers_per_second": round(len(taken) / (time.monotonic() - start), 1),
        "milliseconds": percentiles,
        "memory_megabytes_after_seconds": memory,
    }


def _scaled(name: str) -> np.ndarray:
    return cv2.resize(read_rgb(STATIC / "examples" / f"{name}.jpg"), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def _megabytes(app: Served) -> int:
    """Return the resident memory of the server."""
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(app.process.pid)], capture_output=True, text=True, check=True)
    return round(int(told.stdout) / 1024)


if __name__ == "__main__":
    sys.exit(main())
