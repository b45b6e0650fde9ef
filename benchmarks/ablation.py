"""What each mismatch brings: trainings without one of them, judged by pictures with all and with none, and by footage.

    python benchmarks/ablation.py --plates rooms --cutouts people --judge-plates other_rooms --judge-cutouts others \
        --footage lawn corridor --seeds 1 2 --json ablation.json

Each training is recipe `live` at one size, all from the same items. A run that is there already is not trained again,
so the command can be stopped and given once more.
"""

import argparse
import json
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from cleanplate import Predictor, train
from cleanplate.data.live import LiveComposition
from cleanplate.data.mismatch import CHANGES, Mismatched
from cleanplate.data.source import BatchLoader
from cleanplate.footage import evaluate_footage
from cleanplate.metrics import iou
from cleanplate.recipe import HeldOutSplit, Phase, Recipe
from cleanplate.recipe_pictures import Composition, Mismatch
from cleanplate.recipes import load_recipe
from cleanplate.train.fit import resume

ITEMS = 256
"""The pictures that all are judged by."""
GROUP = 32


def variants() -> dict[str, Mismatch]:
    everything = Mismatch.everything()
    without = {f"without {name}": everything.model_copy(update={name: None}) for name in CHANGES}
    half = everything.model_copy(update={"share": 0.5})
    return {"with all": everything, "with all, half of the items": half, "with none": Mismatch(), **without}


def trained(recipe: Recipe, options: argparse.Namespace, run: Path) -> Path:
    if run.exists():
        resume(run)
    else:
        train(recipe, plates=options.plates, cutouts=options.cutouts, run=run)
    return run


def composed_iou(run: Path, judge: LiveComposition, mismatch: Mismatch, size: int) -> float:
    """Return the mean IoU on items of the judge with a mismatch, at `size`."""
    backend, scores = Predictor.load(run, size, exact=True).backend, []
    for batch in BatchLoader(Mismatched(judge, mismatch), np.arange(len(judge)), size=size, batch_size=GROUP, seed=1):
        plates, frames = (pictures.permute(0, 2, 3, 1).numpy() for pictures in (batch.plate, batch.frame))
        found, _ = backend(backend.keep_plates(plates), frames)
        scores += iou(torch.from_numpy(found)[:, None], batch.mask).tolist()
    return mean(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--plates", "--judge-plates"):
        parser.add_argument(name, type=Path, required=True)
    for name in ("--cutouts", "--judge-cutouts"):
        parser.add_argument(name, type=Path, help="the museum's figures when left out")
    parser.add_argument("--footage", type=Path, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--items", type=int, default=12_000)
    parser.add_argument("--out", type=Path, default=Path("ablation"), help="where the runs go")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    judge = LiveComposition(options.judge_plates, options.judge_cutouts, Composition(items=ITEMS))
    base = load_recipe("live").model_copy(
        update={
            "phases": (Phase(size=options.size, epochs=options.epochs, batch_size=16),),
            "split": HeldOutSplit(share=0.1, train_items=options.items, items_per_part=16),
            "previews": 0,
        }
    )
    rows = []
    for name, settings in variants().items():
        for seed in options.seeds:
            recipe = base.model_copy(update={"mismatch": settings, "seed": seed})
            run = trained(recipe, options, options.out / f"{name.replace(',', '').replace(' ', '-')}-seed-{seed}")
            row = {"trained": name, "seed": seed}
            for judged, mismatch in (("mismatched", Mismatch.everything()), ("agreeing", Mismatch())):
                row[judged] = round(composed_iou(run, judge, mismatch, options.size), 4)
            if options.footage:
                row["footage"] = round(evaluate_footage(run, options.footage).mean["iou"] or 0.0, 4)
            rows.append(row)
            print(json.dumps(row), flush=True)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1) + "\n")
    columns = [key for key in rows[0] if key not in ("trained", "seed")]
    print("| trained | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name in variants():
        own = [row for row in rows if row["trained"] == name]
        cells = []
        for key in columns:
            values = [row[key] for row in own]
            cells.append(f"{mean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
