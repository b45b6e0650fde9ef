"""The published package, torch-tensornet 1.3.3, as a second baseline: its training step and ours in turn.

    python benchmarks/published.py

The package is installed without what it asks for (torch 1.9, torchvision 0.10) into a folder of its own, and runs with
the torch that is here, so that both sides differ in nothing but the code. Its modules of data sets and TensorBoard,
which import torchvision and albumentations, find empty ones: a training step calls none of them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock

import torch

PACKAGE = "torch-tensornet==1.3.3"
NOT_NEEDED = ("albumentations", "albumentations.pytorch", "torchvision", "torchvision.utils")
ROUNDS = 7


def make_published_step(package: str, size: int, batch: int) -> Callable[[], None]:
    """Return a training step as the package's own `Learner` takes it, on a batch that stays.

    Args:
        package: the folder that it is installed in.
        size: pixels a side.
        batch: items.
    """
    sys.path.insert(0, package)
    sys.modules |= {name: MagicMock() for name in NOT_NEEDED}
    from tensornet.engine import Learner
    from tensornet.models import DSResNet
    from tensornet.models.loss import bce_dice_loss, rmse_loss

    torch.manual_seed(0)
    model, of_depth, of_mask = DSResNet(), rmse_loss(), bce_dice_loss()
    inputs = {name: torch.rand(batch, 3, size, size) for name in ("bg", "bg_fg")}
    targets = list((torch.rand(2, batch, 1, size, size) > 0.5).float())

    class TwoPictures(Learner):
        def fetch_data(self, data):  # the package's takes one tensor
            return data

    learner = TwoPictures(
        None,
        torch.optim.SGD(model.parameters(), 0.01, momentum=0.9),
        lambda found, true: 2 * of_depth(found[0].sigmoid(), true[0]) + of_mask(found[1], true[1]),
        record_train=False,
    )
    learner.set_model(model)
    return lambda: learner.train_batch((inputs, targets))


def main() -> None:
    """Install the package, measure and print."""
    from bench import BATCHES, Side, row

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 160])
    parser.add_argument("--json", type=Path, help="where to write the rows")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, PACKAGE]
        subprocess.run(install, check=True)
        for size in options.sizes:
            batch = BATCHES[size]
            with Side("published", folder, size, batch) as published, Side("step", "ours", size, batch) as ours:
                pairs = [(batch / published.measure(), batch / ours.measure()) for _ in range(ROUNDS)]
            rows.append(found := row(f"published-{size}", "items/s", *map(list, zip(*pairs, strict=True))))
            print(f"{found['name']}: {found['baseline']} items/s, ours {found['ours']}, ratio {found['ratio']}")
            print(f"  pair by pair: {found['ratios']}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
