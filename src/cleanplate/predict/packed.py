"""Convolutions whose weights are laid out once, not anew for each frame.

oneDNN, which computes torch's convolutions on a CPU, wants weights in blocks. It makes them of torch's own layout in
every call: in a network's deepest layers, of many weights and few pixels, that takes most of the time. Of larger
pictures they go tile by tile, where this is faster, with what that needs of the weights made once as well.
"""

from functools import cache, partial

import torch
from torch import Tensor, nn

from cleanplate.device import SHAPES, shortest
from cleanplate.fused import Tiles, fits_tiles
from cleanplate.models.blocks import ConvReluNorm

FEW_PIXELS = 1024
"""Of a batch, at most: so far torch's convolutions are quickest."""


class PackedConv2d(nn.Conv2d):
    """A convolution for prediction, equal to the one it is made of, whose weights it shares; without gradients.

    Weights are laid out for pictures of one shape, and anew when the shape changes.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        sides, how = (conv.in_channels, conv.out_channels), (conv.stride, conv.padding, conv.dilation, conv.groups)
        super().__init__(*sides, conv.kernel_size, *how, device="meta")  # type: ignore[arg-type]  # its stub wants pairs
        self.weight, self.bias = conv.weight, conv.bias
        padding, stride, dilation = ([*map(int, each)] for each in (conv.padding, conv.stride, conv.dilation))
        self._how = padding, stride, dilation, conv.groups
        self._packed: tuple[torch.Size, Tensor] | None = None  # one name: threads see both change at once

    def forward(self, x: Tensor) -> Tensor:
        """Return what the convolution does of `(B, C, H, W)`."""
        packed = self._packed
        if packed is None or packed[0] != x.shape:
            reorder = torch._C._nn.mkldnn_reorder_conv2d_weight
            weight = self.weight.detach().to_mkldnn()
            weight = reorder(weight, *self._how, list(x.shape))  # type: ignore[call-arg]  # its stub lacks the shape
            packed = self._packed = x.shape, weight
        return torch.ops.mkldnn._convolution_pointwise(x, packed[1], self.bias, *self._how, "none", [], "")


class TiledConvReluNorm(nn.Module):
    """A `ConvReluNorm` for prediction, in one pass, tile by tile, where pictures have pixels enough; without gradients.

    Args:
        plain: the same, which is asked of others.
    """

    def __init__(self, plain: ConvReluNorm) -> None:
        super().__init__()
        self.plain = plain
        self._tiles: Tiles | None = None

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Return the features of `(B, C, H, W)`, `shortcut` added where it is given."""
        conv, norm = self.plain[0], self.plain[2]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        few_pixels = x.numel() <= FEW_PIXELS * x.shape[1]
        if few_pixels or not self.plain.fuses(x) or not fits_tiles(x, conv.out_channels, x.dtype):
            return self.plain(x, shortcut)
        if self._tiles is None:
            self._tiles = Tiles(conv.weight, conv.bias, x.dtype, norm=norm)
        return self._tiles(x, shortcut)


def pack_weights(model: nn.Module) -> None:
    """Put a `PackedConv2d` in the place of each convolution, where this torch and processor have that.

    Where tiles are faster, `TiledConvReluNorm` is put in the place of each `ConvReluNorm`.
    """
    dtypes = {module.weight.dtype for module in model.modules() if isinstance(module, nn.Conv2d)}
    if all(map(_can_pack, dtypes)):
        _replace(model, in_tiles=all(map(_tiles_are_faster, dtypes)))


def _replace(module: nn.Module, in_tiles: bool) -> None:
    for name, child in module.named_children():
        _replace(child, in_tiles)
        if isinstance(child, nn.Conv2d):
            setattr(module, name, PackedConv2d(child))
        elif in_tiles and isinstance(child, ConvReluNorm):
            setattr(module, name, TiledConvReluNorm(child))


@torch.inference_mode()
def _can_pack(dtype: torch.dtype) -> bool:
    """Tell by trying: torch compiles its networks with these functions, and promises nobody that they stay.

    For bfloat16 they are missing on processors without AVX-512.
    """
    conv, x = nn.Conv2d(16, 16, kernel_size=3, padding=1).to(dtype), torch.ones(1, 16, 4, 4, dtype=dtype)
    try:
        return torch.allclose(PackedConv2d(conv)(x), conv(x), atol=max(1e-5, torch.finfo(dtype).eps))
    except (AttributeError, RuntimeError):
        return False


@cache
@torch.inference_mode()
def _tiles_are_faster(dtype: torch.dtype) -> bool:
    """Tell from one convolution whether those of 3x3 take less time tile by tile than as torch's own."""
    x, weight = (torch.zeros(shape, dtype=dtype).to(memory_format=torch.channels_last) for shape in SHAPES)
    if not fits_tiles(x, len(weight), dtype):
        return False
    conv = nn.Conv2d(*SHAPES[1][:2], kernel_size=3, padding=1, device="meta")
    conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(torch.zeros(len(weight), dtype=dtype))
    in_tiles, as_torch = (shortest(partial(way, x)) for way in (Tiles(weight, conv.bias, dtype), PackedConv2d(conv)))
    return in_tiles < as_torch
