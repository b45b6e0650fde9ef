"""Whether a device computes faster in bfloat16 than in float32."""

import time

import torch
from torch import nn

from cleanplate.models.blocks import lay_out

TRIALS = 5


@torch.inference_mode()
def bfloat16_is_faster(device: torch.device) -> bool:
    """Tell from one convolution: processors without instructions for bfloat16 take ten times longer with it."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        conv = lay_out(nn.Conv2d(64, 64, 3, padding=1).to(device, dtype), torch.channels_last)
        pictures = torch.zeros(1, 64, 56, 56, device=device, dtype=dtype).to(memory_format=torch.channels_last)
        times = []
        for _ in range(TRIALS):
            start = time.perf_counter()
            conv(pictures).sum().item()  # waits for the device
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return seconds[torch.bfloat16] < seconds[torch.float32]
