"""Whether the fast way of computing learns as float32 does: `make bench-long`, a table and benchmarks/curves.json.

    python benchmarks/curves.py

`dsresnet` takes 300 steps at 96x96 on a small museum with each of three seeds, in float32 as torch comes (contiguous,
plain) and as this machine's trial chooses. A seed has the same first weights, items and augmentation either way. The
curves agree where the means of the two ways differ by no more than the seeds of float32 do among themselves.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from sides import AS_WRITTEN

from cleanplate.data.museum import make_museum
from cleanplate.data.opening import open_data
from cleanplate.data.split import split_items
from cleanplate.progress import say, track
from cleanplate.recipes import load_recipe
from cleanplate.train.compute import choose_compute, keep_freed_memory
from cleanplate.train.trial import Trial

HERE = Path(__file__).parent
RECIPE, SIZE, BATCH, STEPS, STRETCH = "report-rmse-bce-dice", 96, 16, 300, 30
SEEDS = (1, 2, 3)


def losses(data: Path, compute: dict[str, str], seed: int) -> list[float]:
    """Return the mean loss of each stretch of steps."""
    phases = f"phases=[{{size: {SIZE}, epochs: 1, batch_size: {BATCH}}}]"
    recipe = load_recipe(RECIPE, [phases, f"seed={seed}", f"compute={json.dumps(compute)}"])
    folder = open_data(data)
    trial = Trial(recipe, folder, split_items(folder, recipe.split))
    batches = trial.batches(recipe.phases[0])
    steps = track(range(STEPS), STEPS, f"{compute['precision']}, seed {seed}")
    found = [trial.step(next(batches)).item() for _ in steps]
    say(f"{', '.join(compute.values())}, seed {seed}: {found[0]:.3f} to {found[-1]:.3f}")
    return [statistics.mean(found[start : start + STRETCH]) for start in range(0, STEPS, STRETCH)]


def compare(plain: list[list[float]], ours: list[list[float]]) -> list[dict[str, Any]]:
    """Return a row for each stretch: both means, by how much they differ, and how far the plain seeds lie apart."""
    rows = []
    for number, (of_plain, of_ours) in enumerate(zip(zip(*plain, strict=True), zip(*ours, strict=True), strict=True)):
        means = statistics.mean(of_plain), statistics.mean(of_ours)
        rows.append(
            {
                "steps": (number + 1) * STRETCH,
                "float32": means[0],
                "ours": means[1],
                "difference": means[1] - means[0],
                "spread_of_seeds": max(of_plain) - min(of_plain),
                "same_seed": statistics.mean(abs(a - b) for a, b in zip(of_plain, of_ours, strict=True)),
            }
        )
    return rows


def main() -> None:
    """Train both ways with each seed, compare and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=HERE / "curves.json")
    path = parser.parse_args().json
    keep_freed_memory()
    start = time.perf_counter()
    chosen = choose_compute(load_recipe(RECIPE), torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        make_museum(data := Path(folder) / "museum", rooms=30, figures=20, frames=12, size=SIZE, seed=1)
        pairs = [(losses(data, AS_WRITTEN, seed), losses(data, chosen, seed)) for seed in SEEDS]
    plain, ours = map(list, zip(*pairs, strict=True))
    rows = compare(plain, ours)
    columns = list(rows[0])
    print(f"float32 against {', '.join(chosen.values())}; batches of {BATCH} at {SIZE}x{SIZE}, seeds {SEEDS}")
    print("".join(f"{name:>17}" for name in columns))
    for row in rows:
        print(f"{row['steps']:>17}" + "".join(f"{row[name]:>17.4f}" for name in columns[1:]))
    within = sum(abs(row["difference"]) <= row["spread_of_seeds"] for row in rows)
    print(f"within the spread of the seeds in {within} of {len(rows)} stretches of {STRETCH} steps")
    made = {"compute": chosen, "seeds": SEEDS, "batch_size": BATCH, "size": SIZE, "rows": rows}
    made |= {"curves": {"float32": plain, "ours": ours}, "seconds": round(time.perf_counter() - start)}
    path.write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    main()
