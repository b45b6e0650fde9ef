"""One side of a comparison of bench.py: measures once for each line that it is sent, and prints what it found."""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from published import make_published_step

from cleanplate.data.card import ChannelStatistics, DepthMeaning, Normalisation
from cleanplate.data.opening import open_data
from cleanplate.data.source import Batch
from cleanplate.data.split import split_items
from cleanplate.losses import Target, create_loss
from cleanplate.models import create_model
from cleanplate.models.ready import Normalise, ReadyModel
from cleanplate.predict.torch_backend import TorchBackend
from cleanplate.recipe import Recipe
from cleanplate.recipes import load_recipe
from cleanplate.train.compute import arrange, choose_compute, keep_freed_memory
from cleanplate.train.fit import train
from cleanplate.train.task import CleanplateTask
from cleanplate.train.trial import Trial
from cleanplate.weights import WeightsCard

AS_WRITTEN = {"precision": "float32", "layout": "contiguous", "kernels": "plain"}
FRAMES = 10
"""Of a turn: the first has to fetch from memory what the other process has driven out of the caches."""
PLAIN = ChannelStatistics(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def make_step(
    way: str, size: int, batch: int, compute: dict[str, str] | None = None, ours: str = "dsresnet"
) -> Callable[[], None]:
    """Return a training step on a batch that stays, with the report's loss and optimiser."""
    recipe = load_recipe("report-best", ())
    if way == "ours":
        keep_freed_memory()
    compute = compute or (choose_compute(recipe, torch.device("cpu")) if way == "ours" else AS_WRITTEN)
    print(f"{way} at {size}x{size}: {', '.join(compute.values())}", file=sys.stderr)
    torch.manual_seed(0)
    model, loss = arrange(create_model(_network(way, ours)), compute), create_loss(recipe.loss)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=way == "ours")
    memory_format = torch.channels_last if compute["layout"] == "channels_last" else torch.contiguous_format
    plate, frame = (torch.rand(batch, 3, size, size).contiguous(memory_format=memory_format) for _ in range(2))
    mask, depth = (torch.rand(2, batch, 1, size, size) > 0.5).float()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=compute["precision"] == "bfloat16"):
            prediction = model(plate, frame)
        loss(prediction.float(), Target(mask, depth))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _epochs(size: int, batch: int, compute: dict[str, str]) -> Recipe:
    """Return the recipe of two epochs, computed as chosen."""
    phases = f"phases=[{{size: {size}, epochs: 2, batch_size: {batch}}}]"
    return load_recipe("report-rmse-bce-dice", [phases, f"compute={json.dumps(compute)}"])


def make_fixed(data: str, size: int, batch: int, compute: dict[str, str]) -> Callable[[], None]:
    """Return the step of `make_epoch` on one batch of it that stays: forwards, backwards and the optimiser alone."""
    recipe, folder = _epochs(size, batch, compute), open_data(data)
    trial = Trial(recipe, folder, split_items(folder, recipe.split))
    items = trial.task.augmented(trial.first(batch, recipe.phases[0]), 0)
    optimizer = trial.task.configure_optimizers()  # that of the trial looks at the gradient first, as a training does

    def step() -> None:
        with trial.autocast:
            loss = trial.task.losses(items)[1]["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def make_epoch(data: str, size: int, batch: int, compute: dict[str, str]) -> Callable[[], list[tuple[float, float]]]:
    """Return a training as `cleanplate train` does it, whose steps and those of `make_fixed` take turns.

    It tells the seconds of both, turn by turn: of a fixed step, and of the real one that comes after it, from its
    beginning to that of the next. They are those of the second epoch; in the first, memory and kernels are new.
    """
    fixed, begin = make_fixed(data, size, batch, compute), CleanplateTask.on_train_batch_start
    turns: list[tuple[float, float]] = []
    of_fixed = started = 0.0

    def begin_in_turn(task: CleanplateTask, items: Batch, index: int) -> None:
        nonlocal of_fixed, started
        if task.current_epoch == 1 and index > 0:
            turns.append((of_fixed, time.perf_counter() - started))
        before = time.perf_counter()
        fixed()
        started = time.perf_counter()
        of_fixed = started - before
        begin(task, items, index)

    def epoch() -> list[tuple[float, float]]:
        with (
            tempfile.TemporaryDirectory() as folder,
            patch.object(CleanplateTask, "on_train_batch_start", begin_in_turn),
        ):
            train(_epochs(size, batch, compute), data, run=Path(folder) / "run")
        return turns

    return epoch


def make_predict(way: str, size: int, ours: str = "dsresnet") -> Callable[[], float]:
    """Return the prediction of frames, one after the other as a camera has them; it tells the seconds of one.

    The report's way looks at the plate each time.
    """
    if way == "ours":
        keep_freed_memory()
    torch.manual_seed(0)
    network = _network(way, ours)
    ready = ReadyModel(create_model(network), *(Normalise(PLAIN.mean, PLAIN.std) for _ in range(2)))
    card = WeightsCard(
        model=network, size=size, normalisation=Normalisation(plate=PLAIN, frame=PLAIN), depth=DepthMeaning()
    )
    backend = TorchBackend(ready, card, exact=way == "baseline")
    plates, frames = np.random.default_rng(0).integers(0, 256, (2, 1, size, size, 3)).astype(np.uint8)
    kept = backend.keep_plates(plates)

    def predict() -> float:
        start = time.perf_counter()
        for _ in range(FRAMES):
            backend(kept if way == "ours" else backend.keep_plates(plates), frames)
        return (time.perf_counter() - start) / FRAMES

    return predict


def _network(way: str, ours: str) -> str:
    return "dsresnet" if way == "baseline" else ours


TASKS: dict[str, Callable[..., Callable[[], object]]] = {
    "step": make_step,
    "published": make_published_step,
    "memory": make_step,
    "epoch": make_epoch,
    "predict": make_predict,
}


def main() -> None:
    """Make what is to be measured, and measure whenever asked: megabytes, or the seconds that it takes or tells."""
    task, arguments = sys.argv[1], json.loads(sys.argv[2])
    action = TASKS[task](*arguments)
    for _ in sys.stdin:
        start = time.perf_counter()
        told = action()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(peak if task == "memory" else seconds if told is None else told), flush=True)


if __name__ == "__main__":
    main()
