"""What tests of training share: a recipe that trains in a second, and how to look at what came of it."""

import csv
from pathlib import Path
from typing import Any

import torch
from scenes import PLAIN

from cleanplate.recipe import AdamW, Phase, Recipe
from cleanplate.weights import load_weights


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
