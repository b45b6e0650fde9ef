"""How to use the machine: memory, precision, layout and kernels."""

import ctypes
import sys
import time
from collections.abc import Mapping
from functools import cache

import torch
from torch import nn

from cleanplate.device import bfloat16_is_faster
from cleanplate.errors import UserError
from cleanplate.fused.build import load_kernels
from cleanplate.models import create_model
from cleanplate.models.blocks import lay_out, set_kernels
from cleanplate.progress import say
from cleanplate.recipe import Compute, Recipe

FUSED_NEEDS = "channels_last on a CPU under Linux, with a C compiler (cc)"

CANDIDATES = (
    Compute(precision="bfloat16", layout="channels_last", kernels="tiled"),
    Compute(precision="bfloat16", layout="channels_last", kernels="fused"),
    Compute(precision="float32", layout="channels_last", kernels="tiled"),
    Compute(precision="float32", layout="channels_last", kernels="fused"),
    Compute(precision="bfloat16", layout="channels_last", kernels="plain"),
    Compute(precision="float32", layout="channels_last", kernels="plain"),
    Compute(precision="float32", layout="contiguous", kernels="plain"),
    Compute(precision="bfloat16", layout="contiguous", kernels="plain"),
)
"""What is tried, the most likely first: a candidate is given up as soon as it is far behind."""
TRIAL_BATCH = 8
TRIAL_SIZE = 96
TURNS, NEAR = 10, 2
"""Those within `NEAR` times the fastest take a step each so often: other work may slow any one down for a while."""
TRIAL_SECONDS = 20
"""On a machine that is busy with other work no trial tells much: what has not been tried by then is left out."""
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
    """Return `precision`, `layout` and `kernels`: those that the recipe sets, the rest the fastest in a few steps.

    The trial works on a network of its own and leaves torch's random state as it was. A process makes it once for all
    trainings of a network, so that those which are to be compared compute alike.

    Raises:
        UserError: the recipe sets kernels that cannot be had here, or that do not go with the layout it sets.
    """
    wanted = fixed_choices(recipe.compute)
    possible = [candidate for candidate in CANDIDATES if candidate.kernels == "plain" or _can_fuse_on(device)]
    candidates = [candidate for candidate in possible if wanted.items() <= _choices(candidate).items()]
    if not candidates:
        raise UserError(f"compute.kernels: {wanted['kernels']} is for {FUSED_NEEDS}; set it to auto or plain")
    if "precision" not in wanted and not bfloat16_is_faster(device):  # a few steps in it would use up the time
        candidates = [candidate for candidate in candidates if candidate.precision == "float32"]
    size = min(TRIAL_SIZE, max(phase.size for phase in recipe.phases))
    return _choices(_fastest(recipe.model, size, device, tuple(candidates)))


def arrange(model: nn.Module, compute: Mapping[str, str]) -> nn.Module:
    """Lay a network's weights out, and choose its kernels, as `choose_compute` has said."""
    kernels = compute["kernels"]
    if kernels != "plain" and not _can_fuse_on(torch.device("cpu")):
        say(f"note: trained with {kernels} kernels, which are for {FUSED_NEEDS}; going on without, to other bits")
    set_kernels(model, kernels)
    return lay_out(model, torch.channels_last if compute["layout"] == "channels_last" else torch.contiguous_format)


@cache
def _fastest(model: str, size: int, device: torch.device, candidates: tuple[Compute, ...]) -> Compute:
    """Return the candidate with the shortest step; they take turns step by step, the first of which makes it ready."""
    if len(candidates) == 1:
        return candidates[0]
    until = time.monotonic() + TRIAL_SECONDS
    networks: dict[Compute, nn.Module] = {}
    seconds: dict[Compute, float] = {}
    with torch.random.fork_rng():
        pictures = torch.rand(TRIAL_BATCH, size, size, 3, device=device).permute(0, 3, 1, 2)  # as sources give them
        for _ in range(TURNS):
            for candidate in candidates:
                shortest = min(seconds.values(), default=float("inf"))
                if seconds.get(candidate, 0) >= NEAR * shortest or (seconds and time.monotonic() >= until):
                    continue
                if candidate not in networks:
                    networks[candidate] = arrange(create_model(model).to(device), _choices(candidate))
                found = _time_step(networks[candidate], pictures, candidate)
                seconds[candidate] = min(found, seconds.get(candidate, found))
    return min(seconds, key=seconds.__getitem__)


def fixed_choices(compute: Compute) -> dict[str, str]:
    """Return what a recipe does not leave to the trial."""
    return {key: value for key, value in _choices(compute).items() if value != "auto"}


def _choices(compute: Compute) -> dict[str, str]:
    return compute.model_dump(include={"precision", "layout", "kernels"})


def _can_fuse_on(device: torch.device) -> bool:
    return device.type == "cpu" and load_kernels() is not None


def _time_step(network: nn.Module, pictures: torch.Tensor, compute: Compute) -> float:
    """Return the seconds of a network's way forwards and back."""
    start = time.perf_counter()
    with torch.autocast(pictures.device.type, torch.bfloat16, enabled=compute.precision == "bfloat16"):
        answers = [answer for answer in network(pictures, pictures) if answer is not None]
    torch.stack([answer.float().mean() for answer in answers]).sum().backward()
    network.zero_grad()
    if pictures.device.type != "cpu":
        torch.accelerator.synchronize(pictures.device)
    return time.perf_counter() - start
