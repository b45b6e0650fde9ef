"""Kill a training again and again, resume it each time, and compare what it ends with to one that was left alone.

    python benchmarks/chaos.py --kills 100 --json chaos.json

Three phases of growing resolution with augmentation, on rendered rooms; SIGKILL at moments drawn at random, from the
first import to the last write. Whenever a broken run is done it is compared, and another one begins, until all kills
are spent. The exit code is 1 where a single bit differs.
"""

import argparse
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from cleanplate.data.museum.make import make_museum
from cleanplate.recipe import Augmentation, Compute, Contrast, HorizontalFlip, HueSaturationValue, Phase, Recipe
from cleanplate.train.fit import resume, train

SAME = ("metrics.csv", "weights.safetensors", "epochs/*.safetensors", "previews/*.png")
"""The files that must be equal to the last bit."""


@dataclass
class Chaos:
    """What became of the kills."""

    kills: int = 0
    finished_runs: int = 0
    differing: list[str] = field(default_factory=list)
    killed_in: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def small_recipe(model: str = "dsresnet") -> Recipe:
    """Return three phases of two epochs, augmented, whose states are written twice a second."""
    return Recipe(
        name="chaos",
        model=model,
        loss="rmse-bce-dice" if model == "dsresnet" else "bce",
        phases=tuple(Phase(size=size, epochs=2, batch_size=batch) for size, batch in ((32, 8), (64, 6), (96, 4))),
        augmentation=Augmentation(
            horizontal_flip=HorizontalFlip(), hue_saturation_value=HueSaturationValue(), contrast=Contrast()
        ),
        checkpoint_minutes=0.5 / 60,
        previews=4,
        compute=Compute(precision="float32", layout="contiguous", workers=0),
    )


def kill_often(recipe: Recipe, data: Path, folder: Path, *, kills: int, seed: int) -> Chaos:
    """Train once in peace, then with kills: a process lives at most half as long as that took.

    Args:
        recipe: what to train.
        data: a data set folder.
        folder: where the runs go.
        kills: how many there are.
        seed: of the moments.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cleanplate.train.fit"])
    peaceful, broken = folder / "peaceful", folder / "broken"
    started, moments, found, stages = time.perf_counter(), random.Random(seed), Chaos(), Counter[str]()
    _lasted(context.Process(target=int))  # the server's imports take their time once
    whole = context.Process(target=_train_or_go_on, args=(recipe, data, peaceful))
    longest = _lasted(whole) / 2
    if whole.exitcode:
        raise SystemExit("the training fails without any kill")
    while found.kills < kills:
        process = context.Process(target=_train_or_go_on, args=(recipe, data, broken))
        process.start()
        process.join(moments.uniform(0, longest))
        if process.exitcode is None:
            process.kill()
            process.join()
            found.kills += 1
            stages[_stage(broken)] += 1
        elif process.exitcode == 0:
            found.finished_runs += 1
            found.differing += differences(peaceful, broken)
            shutil.rmtree(broken)
        else:
            found.differing.append(f"the resumed training ended with exit code {process.exitcode}")
            break
    if broken.exists():
        _train_or_go_on(recipe, data, broken)
        found.finished_runs += 1
        found.differing += differences(peaceful, broken)
    found.killed_in, found.seconds = dict(stages), round(time.perf_counter() - started, 1)
    return found


def differences(one: Path, other: Path) -> list[str]:
    """Return the files of two runs that are not equal to the last bit."""
    names = sorted({str(p.relative_to(run)) for run in (one, other) for pattern in SAME for p in run.glob(pattern)})
    return [name for name in names if _content(one / name) != _content(other / name)]


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _lasted(process: BaseProcess) -> float:
    """Return how many seconds a process took."""
    start = time.perf_counter()
    process.start()
    process.join()
    return time.perf_counter() - start


def _train_or_go_on(recipe: Recipe, data: Path, run: Path) -> None:
    if (run / "recipe.yaml").exists():
        resume(run)
    else:
        train(recipe, data, run=run)


def _stage(run: Path) -> str:
    """Return what a run was doing when it was killed, as far as its folder tells."""
    if not run.exists():
        return "before the run folder"
    if any(run.rglob(".*.partial")):
        return "while a file was written"
    states = sorted((run / "checkpoints").glob("step-*.ckpt"))
    return "in training or validation" if states else "before the first state"


def main() -> None:
    """Read the command line, make the data, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--model", default="dsresnet", choices=("dsresnet", "masknet"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the result here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_museum(folder / "data", rooms=12, frames=5, figures=8, size=96, seed=arguments.seed)
        recipe = small_recipe(arguments.model)
        found = kill_often(recipe, folder / "data", folder, kills=arguments.kills, seed=arguments.seed)
    for name, value in asdict(found).items():
        print(f"{name:<16}{value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(found), indent=1) + "\n")
    sys.exit(bool(found.differing))


if __name__ == "__main__":
    main()
