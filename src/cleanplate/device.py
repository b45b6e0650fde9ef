"""The device to compute on, and whether it is faster in bfloat16 than in float32."""

import time
from functools import cache

import torch
import torch.nn.functional as F

TRIALS = 5
SHAPES = (1, 64, 56, 56), (64, 64, 3, 3)
"""Of the pictures and of the weights."""


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
        times = []
        for _ in range(TRIALS):
            start = time.perf_counter()
            F.conv2d(pictures, weights, padding=1).sum().item()  # waits for the device
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return seconds[torch.bfloat16] < seconds[torch.float32]
