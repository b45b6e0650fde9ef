"""Convolutions whose weights are laid out once, not anew for each frame.

oneDNN, which computes torch's convolutions on a CPU, wants weights in blocks. It makes them of torch's own layout in
every call: in a network's deepest layers, of many weights and few pixels, that takes most of the time. Of larger
pictures they go tile by tile, where this is faster, with what that needs of the weights made once as well.
"""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn

from cleanplate.device import SHAPES, shortest
from cleanplate.fused import Tiles, fits_tiles

FEW_PIXELS = 1024
"""Of a batch, at most: so far torch's convolutions are quickest."""


class PackedConv2d(nn.Conv2d):
    """A convolution for prediction, equal to the one it is made of, whose weights it shares; without gradients.

    Weights are laid out for pictures of one shape, and anew when the shape changes.

    Args:
        conv: the convolution.
        in_tiles: go tile by tile, if it is one of 3x3, where there are pixels enough.
    """

    def __init__(self, conv: nn.Conv2d, in_tiles: bool = False) -> None:
        sides, how = (conv.in_channels, conv.out_channels), (conv.stride, conv.padding, conv.dilation, conv.groups)
        super().__init__(*sides, conv.kernel_size, *how, device="meta")  # type: ignore[arg-type]  # its stub wants pairs
        self.weight, self.bias = conv.weight, conv.bias
        padding, stride, dilation = ([*map(int, each)] for each in (conv.padding, conv.stride, conv.dilation))
        self._how = padding, stride, dilation, conv.groups
        self._in_tiles = in_tiles and conv.kernel_size == (3, 3)
        # one name: threads see both change at once
        self._packed: tuple[torch.Size, Callable[[Tensor], Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return what the convolution does of `(B, C, H, W)`."""
        packed = self._packed
        if packed is None or packed[0] != x.shape:
            packed = self._packed = x.shape, self._lay_out(x)
        return packed[1](x)

    def _lay_out(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the convolution of pictures such as x."""
        many_pixels = x.numel() > FEW_PIXELS * x.shape[1]
        if self._in_tiles and many_pixels and fits_tiles(x, self.out_channels, x.dtype):
            return Tiles(self.weight, self.bias, x.dtype)
        reorder = torch._C._nn.mkldnn_reorder_conv2d_weight
        weight = self.weight.detach().to_mkldnn()
        weight = reorder(weight, *self._how, list(x.shape))  # type: ignore[call-arg]  # its stub lacks the shape
        return lambda x: torch.ops.mkldnn._convolution_pointwise(x, weight, self.bias, *self._how, "none", [], "")


def pack_weights(model: nn.Module) -> None:
    """Put a `PackedConv2d` in the place of each convolution, where this torch and processor have that."""
    dtypes = {module.weight.dtype for module in model.modules() if isinstance(module, nn.Conv2d)}
    if all(map(_can_pack, dtypes)):
        _replace_convolutions(model, in_tiles=all(map(_tiles_are_faster, dtypes)))


def _replace_convolutions(module: nn.Module, in_tiles: bool) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, PackedConv2d(child, in_tiles))
        else:
            _replace_convolutions(child, in_tiles)


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
    conv = nn.Conv2d(*SHAPES[1][:2], kernel_size=3, padding=1, device="meta")
    conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(torch.zeros(len(weight), dtype=dtype))
    in_tiles, as_torch = (shortest(partial(PackedConv2d(conv, way), x)) for way in (True, False))
    return in_tiles < as_torch
