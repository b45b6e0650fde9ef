"""How to use the machine: memory, precision and layout."""

import ctypes
import sys
import time

import torch
from torch import nn

from cleanplate.losses import Target, create_loss
from cleanplate.models import create_model
from cleanplate.recipe import Recipe

CANDIDATES = (
    ("float32", "contiguous"),
    ("float32", "channels_last"),
    ("bfloat16", "channels_last"),
)
TRIAL_BATCH = 8
TRIAL_SIZE = 96
TRIALS = 3
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Names of glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Let the process keep memory that it frees, where the C library is glibc: every step asks for the same again.

    Handing it back to the system and getting it anew, page by page, took a third of a step at 64x64 on two cores.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def choose_compute(recipe: Recipe, device: torch.device) -> dict[str, str]:
    """Return `precision` and `layout`: those that the recipe sets, the rest the fastest in a few training steps.

    The trial works on a network of its own and leaves torch's random state as it was.
    """
    wanted = (recipe.compute.precision, recipe.compute.layout)
    candidates = [
        candidate
        for candidate in (*CANDIDATES, ("bfloat16", "contiguous"))
        if all(wish in ("auto", value) for wish, value in zip(wanted, candidate, strict=True))
    ]
    best, best_seconds = candidates[0], float("inf")
    if len(candidates) > 1:
        with torch.random.fork_rng():
            for candidate in candidates:
                seconds = _time_step(recipe, device, *candidate, limit=2 * best_seconds)
                if seconds < best_seconds:
                    best, best_seconds = candidate, seconds
    return {"precision": best[0], "layout": best[1]}


def pick_device() -> torch.device:
    """Return the machine's accelerator, or the CPU."""
    return torch.accelerator.current_accelerator() or torch.device("cpu")


def set_layout(model: nn.Module, layout: str) -> nn.Module:
    """Lay a network's weights out as `contiguous` or `channels_last`; what it computes follows them."""
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    return model.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch's stub lacks this form


def _time_step(recipe: Recipe, device: torch.device, precision: str, layout: str, limit: float) -> float:
    """Return the seconds of a training step, or of the first alone where that took longer than `limit`."""
    model = set_layout(create_model(recipe.model).to(device), layout)
    loss = create_loss(recipe.loss).eval()  # on its own, when other processes wait for this one
    size = min(TRIAL_SIZE, max(phase.size for phase in recipe.phases))
    pictures = torch.rand(TRIAL_BATCH, size, size, 3, device=device).permute(0, 3, 1, 2)  # as sources give them
    truth = torch.rand(TRIAL_BATCH, 1, size, size, device=device)
    seconds = []
    for _ in range(TRIALS + 1):
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            prediction = model(pictures, pictures)
        loss(prediction.float(), Target(truth, truth))["loss"].backward()
        _wait(device, model)
        seconds.append(time.perf_counter() - start)
        if seconds[0] > limit:
            return seconds[0]
    return min(seconds[1:])


def _wait(device: torch.device, model: nn.Module) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    model.zero_grad()
