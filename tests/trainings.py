"""What tests of training share: recipes that train in seconds, and how to look at what came of it."""

import csv
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from chaos import SAME, differences
from scenes import PLAIN

from cleanplate.recipe import AdamW, Augmentation, Contrast, HueSaturationValue, Phase, Plateau, Recipe, Sgd
from cleanplate.weights import load_weights

FUSED = PLAIN.model_copy(update={"layout": "channels_last", "kernels": "fused"})


def small_recipe(**changes: Any) -> Recipe:
    """Return a recipe that trains in a second: a masknet, one epoch at 32."""
    defaults: dict[str, Any] = {
        "name": "small",
        "model": "masknet",
        "loss": "bce",
        "optimizer": AdamW(name="adamw", lr=0.02),
        "phases": (Phase(size=32, epochs=1, batch_size=6),),
        "previews": 0,
        "compute": PLAIN,
    }
    return Recipe(**(defaults | changes))


def read_rows(run: Path) -> list[dict[str, str]]:
    """Return metrics.csv as it stands."""
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def parameters(weights: Path) -> dict[str, torch.Tensor]:
    """Return the parameters of a run or a weights file by name."""
    return load_weights(weights)[0].state_dict()


def equal_weights(first: Path, second: Path) -> bool:
    """Tell whether two weights files or runs hold the same, to the last bit."""
    one, other = parameters(first), parameters(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


RECIPE = small_recipe(
    optimizer=Sgd(lr=0.5),
    schedule=Plateau(patience=0, factor=0.2),
    phases=(Phase(size=32, epochs=4, batch_size=6), Phase(size=64, epochs=1, batch_size=4)),
    augmentation=Augmentation(hue_saturation_value=HueSaturationValue(), contrast=Contrast()),
    previews=2,
)


STEPS = 4 * 4 + 6
"""Of 26 training items."""

TWO = small_recipe(
    optimizer=Sgd(lr=0.1),
    phases=(Phase(size=32, epochs=3, batch_size=4),),
    augmentation=Augmentation(contrast=Contrast()),
    previews=2,
)
"""What two processes train."""


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def assert_same(run: Path, other: Path) -> None:
    assert differences(run, other) == []
    assert all(list(run.glob(pattern)) for pattern in SAME)


def states(run: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*.ckpt"))


def back_to(steps: int, run: Path, copy: Path) -> Path:
    """Return a copy of a run in which the states past a step are gone."""
    shutil.copytree(run, copy)
    for state in (copy / "checkpoints").iterdir():
        if int(state.stem.removeprefix("step-")) > steps:
            state.unlink()
    return copy
