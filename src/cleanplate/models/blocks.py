"""What the networks are built of, and what every one of them takes and gives."""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cleanplate.errors import UserError
from cleanplate.pictures import require_multiple


class Prediction(NamedTuple):
    """What a network says of a batch; the sigmoid of it is mask and depth, 0 to 1."""

    mask_logits: Tensor
    """`(B, 1, H, W)`"""
    depth_logits: Tensor | None
    """`(B, 1, H, W)`; None from a network without a depth decoder."""

    def float(self) -> "Prediction":
        """Return the logits in float32, as losses and metrics want them after autocast."""
        return Prediction(self.mask_logits.float(), None if self.depth_logits is None else self.depth_logits.float())

    def detach(self) -> "Prediction":
        """Return the logits without what led to them."""
        return Prediction(self.mask_logits.detach(), None if self.depth_logits is None else self.depth_logits.detach())


def require_fitting(plate: Tensor, frame: Tensor) -> None:
    """Refuse inputs that no network takes.

    Raises:
        UserError: plate and frame differ in shape, or a side is not a multiple of 32; names the next that is.
    """
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return  # sizes are symbols there, and a check would become a constraint of the graph
    if plate.shape != frame.shape:
        raise UserError(f"plate {tuple(plate.shape)} and frame {tuple(frame.shape)} differ in shape; give equal ones")
    require_multiple(frame.shape[-2], "height of plate and frame")
    require_multiple(frame.shape[-1], "width of plate and frame")


def conv_relu_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return 3x3 convolution, ReLU, batch norm; the norm comes last, as published."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(out_channels),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions beside one of 1x1, added: `(B, in, H, W)` to `(B, out, H, W)`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv_relu_norm(in_channels, out_channels),
            conv_relu_norm(out_channels, out_channels),
        )
        self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `convs(x) + shortcut(x)`."""
        return self.convs(x) + self.shortcut(x)


class Encoder(nn.Module):
    """Residual blocks, each on the 2x2 max pool of the one before."""

    def __init__(self, *channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(i, o) for i, o in pairwise(channels))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return every block's features, largest picture first."""
        features: list[Tensor] = []
        for block in self.blocks:
            x = block(F.max_pool2d(x, 2) if features else x)
            features.append(x)
        return features


class DecoderBlock(nn.Module):
    """Doubles the picture, halves the channels and takes in the encoders' features of that size.

    The skip is `(B, out, H, W)`; with `two_skips` it is plate's and frame's concatenated, `(B, in, H, W)`.
    """

    def __init__(self, in_channels: int, out_channels: int, two_skips: bool = False) -> None:
        super().__init__()
        self.transition = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        self.join_skips = nn.Conv2d(in_channels, out_channels, kernel_size=1) if two_skips else nn.Identity()
        self.residual = Residual(in_channels, out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return `(B, out, H, W)` from `x`, `(B, in, H/2, W/2)`, and the skip."""
        x = F.interpolate(self.transition(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.residual(torch.cat([x, self.join_skips(skip)], dim=1))
