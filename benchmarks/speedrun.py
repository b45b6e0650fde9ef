"""How long until masks and depths are good: recipe `fast` beside `report-best`, float32 as written.

    python benchmarks/speedrun.py --out speedrun --minutes 100

A museum with MODEST's proportions (100 rooms, 100 figures, 10,000 frames, a random split), 160x160, from nothing. Good
is a soft IoU of 0.92 and a batch RMSE of an eighth of the mean depth map's, on the 1,000 items kept for validation. Of
`fast` the whole command counts, with start and packing; of `report-best` its epochs alone, and it is gone on with until
it is there or another epoch would take longer than its minutes. Whether good is reached or not, it is also told when
`fast` was as good as the baseline is in the end. It may be stopped (Ctrl-C) and given again; it wants a quiet machine.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from sides import AS_WRITTEN

from cleanplate.data.museum import make_museum
from cleanplate.evaluate import evaluate
from cleanplate.recipe import Recipe
from cleanplate.recipes import load_recipe
from cleanplate.train.fit import resume, train
from cleanplate.train.run import Run

SIZE, SOFT_IOU, SHARE = 160, 0.92, 1 / 8
EPOCHS = 100
"""Of the baseline's last phase: more than its minutes hold."""


class Quality(NamedTuple):
    """How good masks and depths are to be, at least."""

    soft_iou: float
    batch_rmse: float

    def reached(self, figures: dict[str, Any], prefix: str = "") -> bool:
        """Tell whether they are."""
        soft_iou, batch_rmse = (figures[f"{prefix}{name}"] for name in self._fields)
        return bool(soft_iou >= self.soft_iou and batch_rmse <= self.batch_rmse)

    def reached_in(self, row: dict[str, Any]) -> bool:
        """Tell whether they are after an epoch, at `SIZE`."""
        return row["size"] == SIZE and self.reached(row, "validation/")


def train_fast(data: Path, run: Path, seed: int) -> dict[str, Any]:
    """Train `fast` by the command line, and return its seconds and figures; an old run is looked up."""
    kept = run.with_name(run.name + ".json")
    if not kept.exists():
        shutil.rmtree(run, ignore_errors=True)  # of a training that was broken off
        shutil.rmtree(data / "packs", ignore_errors=True)  # packing counts, for each seed
        start = time.perf_counter()
        command = [sys.executable, "-m", "cleanplate", "train", "fast", "--data", str(data), "--run", str(run)]
        subprocess.run([*command, "--set", f"seed={seed}"], check=True)
        seconds = round(time.perf_counter() - start, 1)
        scored = evaluate(run, data)
        of_map = scored.references["mean_depth"]["batch_rmse"]
        kept.write_text(json.dumps({"seed": seed, "seconds": seconds, **scored.metrics, "mean_depth_map": of_map}))
    return json.loads(kept.read_text())


def as_written(fast: Recipe) -> Recipe:
    """Return `report-best` in float32, with the split of `fast` and a last phase without an end."""
    recipe = load_recipe("report-best", [f"compute={json.dumps(AS_WRITTEN)}", "previews=0"])
    *before, last = recipe.phases
    phases = (*before, last.model_copy(update={"epochs": EPOCHS}))
    return recipe.model_copy(update={"name": "report-best", "phases": phases, "split": fast.split})


def go_on(recipe: Recipe, data: Path, run: Path, minutes: float, wanted: Quality) -> dict[str, Any]:
    """Train the baseline epoch by epoch, as long as it is not good and its minutes last, and return its figures."""
    while True:
        rows = Run.open(run).rows() if run.exists() else []
        seconds = sum(row["seconds"] for row in rows)
        good = bool(rows) and wanted.reached_in(rows[-1])
        if good or (rows and seconds + rows[-1]["seconds"] > minutes * 60):
            figures = {name: rows[-1][f"validation/{name}"] for name in ("iou", "soft_iou", "rmse", "batch_rmse")}
            return {"good": good, "seconds": round(seconds, 1), "epochs": len(rows), **figures}
        if run.exists():
            resume(run, data, epochs_now=1)
        else:
            train(recipe, data, run=run, epochs_now=1)


def seconds_until(wanted: Quality, run: Path, seconds: float) -> float | None:
    """Return after how many of a whole command's seconds a run was so good; None if it never was."""
    rows = Run.open(run).rows()
    passed = seconds - sum(row["seconds"] for row in rows)  # start and packing come first
    for row in rows:
        passed += row["seconds"]
        if wanted.reached_in(row):
            return round(passed, 1)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("speedrun"), help="where data set and runs go")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of `fast`")
    parser.add_argument("--minutes", type=float, default=100, help="of the baseline; 0 leaves it out")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "speedrun.json")
    options = parser.parse_args()
    data = options.out / "museum"
    if not data.exists():
        make_museum(data, rooms=100, figures=100, frames=100, size=SIZE, seed=1)
    fast = [train_fast(data, options.out / f"fast-seed-{seed}", seed) for seed in options.seeds]
    wanted = Quality(SOFT_IOU, SHARE * fast[0]["mean_depth_map"])
    result: dict[str, Any] = {"good": wanted._asdict(), "fast": fast}
    print(f"good is a soft IoU of {SOFT_IOU} and a batch RMSE of {wanted.batch_rmse:.4f}")
    for found in fast:
        print(f"fast, seed {found['seed']}: {_describe(found)}, {'good' if wanted.reached(found) else 'not good'}")
    if options.minutes:
        recipe = as_written(load_recipe("fast"))
        result["baseline"] = found = go_on(recipe, data, options.out / "report-best", options.minutes, wanted)
        print(f"report-best: {_describe(found)}, {'good' if found['good'] else 'not good'}")
        if all(wanted.reached(run) for run in fast):
            ratio = found["seconds"] / statistics.median(run["seconds"] for run in fast)
            result["ratio"] = round(ratio, 2)
            print(f"{'' if found['good'] else 'at least '}{ratio:.1f} times as fast")
        as_baseline = Quality(found["soft_iou"], found["batch_rmse"])
        runs = [(options.out / f"fast-seed-{run['seed']}", run["seconds"]) for run in fast]
        result["as_good_as_baseline_after"] = after = [seconds_until(as_baseline, *run) for run in runs]
        told = ", ".join("never" if seconds is None else f"{seconds} s" for seconds in after)
        print(f"as good as the baseline is in the end, after: {told}")
        if None not in after:
            result["ratio_to_baseline"] = ratio = round(found["seconds"] / statistics.median(after), 2)
            print(f"{ratio:.1f} times as fast as the baseline")
    options.json.write_text(json.dumps(result, indent=2) + "\n")


def _describe(found: dict[str, Any]) -> str:
    return f"{found['seconds']:.0f} s, soft IoU {found['soft_iou']:.4f}, batch RMSE {found['batch_rmse']:.4f}"


if __name__ == "__main__":
    main()
