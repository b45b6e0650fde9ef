"""What the networks are built of, and what every one of them takes and gives."""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cleanplate.errors import UserError
from cleanplate.fused import can_fuse, convolve, double_and_join, keep_and_pool, relu_norm
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


class Network(nn.Module, ABC):
    """A network of plate and frame; its two steps are apart so that a plate that stays is looked at once."""

    memory_format: torch.memory_format = torch.preserve_format
    """How `forward` lays its pictures out before all else: as they came, or as `lay_out` has said."""

    def forward(self, plate: Tensor, frame: Tensor) -> Prediction:
        """Return logits, `(B, 1, H, W)`.

        Args:
            plate: normalised RGB, `(B, 3, H, W)`, H and W multiples of 32.
            frame: the same view with foreground, as plate.

        Raises:
            UserError: shapes differ, or are not multiples of 32.
        """
        require_fitting(plate, frame)
        plate, frame = (pictures.to(memory_format=self.memory_format) for pictures in (plate, frame))
        return self.answer(self.encode_plate(plate), frame)

    @abstractmethod
    def encode_plate(self, plate: Tensor) -> list[Tensor]:
        """Return what hangs on plates alone: their features, `(B, C, H, W)` each, largest picture first."""

    @abstractmethod
    def answer(self, plate_features: list[Tensor], frame: Tensor) -> Prediction:
        """Return the logits of frames, from the features of their plates."""


class Fusable(nn.Module):
    """A part of a network that can be computed by `cleanplate.fused`; `set_kernels` says whether."""

    kernels = "plain"

    def fuses(self, x: Tensor) -> bool:
        """Tell whether to compute with the fused kernels: in training, and where nobody asks for gradients."""
        if self.kernels == "plain" or torch.jit.is_tracing() or torch.compiler.is_compiling():
            return False
        return (self.training or not torch.is_grad_enabled()) and can_fuse(x)


def set_kernels(model: nn.Module, kernels: str) -> None:
    """Let a network be computed by torch's own layers, or by the fused kernels where they can.

    Args:
        model: with `Fusable` parts.
        kernels: `plain`, `fused`, or `tiled`, which is fused and has convolutions of 3x3 go tile by tile.
    """
    for module in model.modules():
        if isinstance(module, Fusable):
            module.kernels = kernels


def lay_out(model: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Lay a network's weights out, and what `forward` is given: torch is channels last where either of them is."""
    for module in model.modules():
        if isinstance(module, Network):
            module.memory_format = memory_format
    return model.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch's stub lacks this form


class ConvReluNorm(Fusable, nn.Sequential):
    """3x3 convolution, ReLU, batch norm: `(B, in, H, W)` to `(B, out, H, W)`; the norm comes last, as published."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Return the features, `shortcut` added where it is given."""
        conv, relu, norm = self[0], self[1], self[2]
        x = convolve(x, conv, in_tiles=self.kernels == "tiled") if self.fuses(x) else conv(x)
        if self.fuses(x):
            return relu_norm(x, norm, shortcut)
        x = norm(relu(x))
        return x if shortcut is None else x + shortcut


class Residual(nn.Module):
    """Two 3x3 convolutions beside one of 1x1, added: `(B, in, H, W)` to `(B, out, H, W)`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvReluNorm(in_channels, out_channels), ConvReluNorm(out_channels, out_channels))
        self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `convs(x) + shortcut(x)`."""
        first, second = self.convs
        return second(first(x), self.shortcut(x))


class Pool(Fusable):
    """Keeps features, and halves them beside: `(B, C, H, W)` to itself and `(B, C, H/2, W/2)`."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and its 2x2 max pool."""
        return keep_and_pool(x) if self.fuses(x) else (x, F.max_pool2d(x, 2))


class Encoder(nn.Module):
    """Residual blocks, each on the 2x2 max pool of the one before."""

    def __init__(self, *channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(i, o) for i, o in pairwise(channels))
        self.pool = Pool()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return every block's features, largest picture first."""
        first, *others = self.blocks
        features = [first(x)]
        for block in others:
            features[-1], pooled = self.pool(features[-1])
            features.append(block(pooled))
        return features


class DecoderBlock(Fusable):
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
        x, skip = self.transition(x), self.join_skips(skip)
        if self.fuses(x):
            return self.residual(double_and_join(x, skip))
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return self.residual(torch.cat([x, skip], dim=1))
