"""The device to compute on, and whether it is faster in bfloat16 than in float32."""

import time
from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

TRIALS = 5
SHAPES = (1, 64, 56, 56), (64, 64, 3, 3)
"""Of the pictures and of the weights that are tried."""


def pick_device() -> torch.device:
    """Return the machine's accelerator, or the CPU; Apple's is not taken, which has no float64 to sum metrics in."""
    device = torch.accelerator.current_accelerator()
    return torch.device("cpu") if device is None or device.type == "mps" else device


@cache
@torch.inference_mode()
def bfloat16_is_faster(device: torch.device) -> bool:
    """Tell from one convolution: processors without instructions for bfloat16 take ten times longer with it."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        zeros = (torch.zeros(shape, device=device, dtype=dtype) for shape in SHAPES)
        pictures, weights = (each.to(memory_format=torch.channels_last) for each in zeros)
        seconds[dtype] = shortest(partial(F.conv2d, pictures, weights, padding=1))
    return seconds[torch.bfloat16] < seconds[torch.float32]


def shortest(compute: Callable[[], Tensor]) -> float:
    """Return the seconds of the quickest of a few tries."""
    seconds = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        compute().sum().item()  # waits for the device
        seconds.append(time.perf_counter() - start)
    return min(seconds)
