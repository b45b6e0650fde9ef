"""The networks' passes over memory, several in one: the same mathematics as torch's own layers.

On a CPU much of a step goes by in reading and writing pictures between the convolutions. Here ReLU, batch norm and the
addition of a shortcut are two passes instead of nine, and bilinear doubling and concatenation one instead of two; so
are their ways back. Convolutions of 3x3 can go tile by tile after Winograd, with a quarter of the products; or they are
torch's own, but for the gradient of the weights where it is slow at that, of few pixels. Works on float32, float64 and
bfloat16, channels last.
"""

import ctypes
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cleanplate.fused.build import load_kernels

LANES = 16
"""Channels that the widest registers take at a time; the kernels want a multiple of it."""
FEW_PIXELS = 2048
"""Of a batch, at most: so far torch's convolutions are quickest, their weights' gradient as a product of matrices."""
_NAMES = {torch.bfloat16: "bfloat16", torch.float32: "float32", torch.float64: "float64"}


def can_fuse(x: Tensor) -> bool:
    """Tell whether there are kernels for such pictures, `(B, C, H, W)`, here."""
    return x.device.type == "cpu" and x.shape[1] % LANES == 0 and x.dtype in _NAMES and load_kernels() is not None


def convolve(x: Tensor, conv: nn.Module, in_tiles: bool) -> Tensor:
    """Return `conv(x)`.

    Args:
        x: `(B, C, H, W)`.
        conv: 3x3, with a padding of 1 and a bias.
        in_tiles: go tile by tile, where there are pixels enough, and channels as the kernels want them.
    """
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None  # as in every convolution of ours
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    few_pixels = x.numel() <= FEW_PIXELS * x.shape[1]
    if in_tiles and not few_pixels and fits_tiles(x, conv.out_channels, dtype):
        if not torch.is_grad_enabled():
            return Tiles(conv.weight, conv.bias, dtype)(x.to(dtype))
        wide = _wide(dtype)
        return _ConvolveInTiles.apply(x.to(dtype), conv.weight.to(wide), conv.bias.to(wide))
    if torch.is_grad_enabled() and few_pixels:
        return _ConvolveFewPixels.apply(x.to(dtype), conv.weight.to(dtype), conv.bias.to(dtype))
    return conv(x)


def fits_tiles(x: Tensor, out_channels: int, dtype: torch.dtype) -> bool:
    """Tell whether there are kernels for a 3x3 convolution of `(B, C, H, W)`, tile by tile in `dtype`, here."""
    return dtype in _NAMES and can_fuse(x) and out_channels % LANES == 0


class Tiles:
    """A convolution of 3x3, with a padding of 1, that goes tile by tile; its weights are made ready once.

    Args:
        weight: `(out, in, 3, 3)`.
        bias: `(out,)`, or None for none.
        dtype: of the pictures; weights are float32 where it is bfloat16.
        backwards: lead a gradient of the result back to one of the pictures.
        norm: let the result go through ReLU and this norm, by its running statistics.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
        backwards: bool = False,
        norm: nn.BatchNorm2d | None = None,
    ) -> None:
        self._bias = None if bias is None else bias.to(_wide(dtype))
        self._norm = None if norm is None else _scale_and_shift(norm)
        self._out_channels, channels = weight.shape[:2][::-1] if backwards else weight.shape[:2]
        weight = _channels_last(weight.to(_wide(dtype)))
        self._numbers = weight.new_empty(36 * (channels * self._out_channels + LANES))
        _run("turn_weights", weight, self._numbers, channels, self._out_channels, int(backwards))

    def __call__(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Return the convolution of `(B, in, H, W)`, plus the shortcut, `(B, out, H, W)`; without gradients."""
        out = _empty(x, len(x), self._out_channels, *x.shape[2:])
        more = (self._bias, self._norm, _stored_as(x, shortcut))
        _run("convolve", _channels_last(x), self._numbers, *more, out, *_sizes(x), self._out_channels)
        return out


def relu_norm(x: Tensor, norm: nn.Module, shortcut: Tensor | None = None) -> Tensor:
    """Return `norm(relu(x)) + shortcut`, and bring the running statistics of a norm that is training forward.

    Args:
        x: `(B, C, H, W)`.
        norm: of C channels; in evaluation, where it goes by the running statistics, there are no gradients.
        shortcut: as x; nothing is added when None.

    Raises:
        ValueError: x holds a single value a channel, and the norm is training.
    """
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.num_batches_tracked is not None  # as in every norm of ours
    if not norm.training:
        x, out, shortcut = _channels_last(x), _empty(x, *x.shape), _stored_as(x, shortcut)
        numbers = (x.numel() // x.shape[1], x.shape[1])
        statistics = (norm.running_mean, norm.running_var, norm.eps)
        _run("relu_norm_fixed", x, shortcut, out, *numbers, norm.weight, norm.bias, *statistics)
        return out
    if x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
    norm.num_batches_tracked.add_(1)
    return _ReluNorm.apply(x, shortcut, norm.weight, norm.bias, norm)


def double_and_join(x: Tensor, skip: Tensor) -> Tensor:
    """Return `cat([interpolate(x, scale_factor=2, mode="bilinear"), skip], 1)`.

    Args:
        x: `(B, C, H, W)`.
        skip: `(B, C, 2H, 2W)`.
    """
    return _DoubleAndJoin.apply(x, skip)


def keep_and_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and `max_pool2d(x, 2)`.

    Args:
        x: `(B, C, H, W)`, H and W even.
    """
    if not torch.is_grad_enabled():
        return x, _pool(_channels_last(x))  # what goes through a Function comes out with other strides when B is 1
    return _KeepAndPool.apply(x)


class _ConvolveInTiles(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return Tiles(weight, bias, x.dtype)(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = _channels_last(gradient)
        of_weight, of_bias = _empty(weight, *weight.shape), weight.new_empty(len(weight))
        _run("weights_gradient", _channels_last(x), gradient, of_weight, of_bias, *_sizes(x), len(weight))
        return Tiles(weight, None, x.dtype, backwards=True)(gradient), of_weight, of_bias


class _ConvolveFewPixels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        x, weight = ctx.saved_tensors
        gradient = _channels_last(gradient)
        how = (None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1)  # a padding of 1, and nothing else beyond the plain
        of_x = torch.ops.aten.convolution_backward(gradient, x, weight, *how, (True, False, False))[0]
        rows = gradient.permute(0, 2, 3, 1).flatten(0, 2)
        of_weight = (rows.T @ _neighbours(x)).view(-1, 3, 3, x.shape[1]).permute(0, 3, 1, 2)
        return of_x, of_weight, rows.sum(0)


class _ReluNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shortcut: Tensor | None, weight: Tensor, bias: Tensor, norm: Any) -> Tensor:
        x, channels, shortcut = _channels_last(x), x.shape[1], _stored_as(x, shortcut)
        out, kept = torch.empty_like(x), x.new_empty(2, channels, dtype=torch.double)
        numbers = (x.numel() // channels, channels)
        statistics = (norm.running_mean, norm.running_var, norm.momentum, norm.eps)
        _run("relu_norm", x, shortcut, out, *numbers, weight, bias, *statistics, kept)
        ctx.save_for_backward(x, weight, kept)
        ctx.has_shortcut = shortcut is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, kept = ctx.saved_tensors
        gradient, channels = _channels_last(gradient), x.shape[1]
        of_x, of_weight, of_bias = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        numbers = (x.numel() // channels, channels)
        _run("relu_norm_backward", x, *numbers, gradient, weight, kept, of_x, of_weight, of_bias)
        return of_x, gradient if ctx.has_shortcut else None, of_weight, of_bias, None


class _DoubleAndJoin(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, skip: Tensor) -> Tensor:
        x, skip = _channels_last(x), _channels_last(skip.to(x.dtype))
        n, channels, height, width = ctx.shape = x.shape
        out = _empty(x, n, 2 * channels, 2 * height, 2 * width)
        _run("double_and_join", x, skip, out, n, height, width, channels)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gradient = _channels_last(gradient)
        n, channels, height, width = ctx.shape
        of_x, of_skip = _empty(gradient, *ctx.shape), _empty(gradient, n, channels, 2 * height, 2 * width)
        _run("double_and_join_backward", gradient, of_x, of_skip, n, height, width, channels)
        return of_x, of_skip


class _KeepAndPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        last = _channels_last(x)
        ctx.save_for_backward(last)
        return x, _pool(last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_kept: Tensor, of_pooled: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        n, channels, height, width = x.shape
        stride = of_kept.stride(3)
        if of_kept.stride() != (height * width * stride, 1, width * stride, stride):
            of_kept, stride = _channels_last(of_kept), channels
        out = torch.empty_like(x)
        _run("pool_backward", x, of_kept, stride, _channels_last(of_pooled), out, n, height, width, channels)
        return out


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Return what the kernels compute with, where pictures are stored so."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _scale_and_shift(norm: nn.BatchNorm2d) -> Tensor:
    """Return what a norm in evaluation does to each channel, `(2, C)`."""
    both = norm.weight.new_empty(2, norm.num_features)
    statistics = (norm.running_mean, norm.running_var)
    _run("scale_and_shift", norm.weight, norm.bias, *statistics, both, norm.num_features, norm.eps)
    return both


def _stored_as(x: Tensor, shortcut: Tensor | None) -> Tensor | None:
    """Return the shortcut in the type of x, channels last; None for none."""
    return None if shortcut is None else _channels_last(shortcut.to(x.dtype))


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    """Return numbers of pictures, rows, columns and channels, as the kernels want them."""
    n, channels, height, width = x.shape
    return n, height, width, channels


def _neighbours(x: Tensor) -> Tensor:
    """Return a row for each pixel, the 3x3 around it, `(B * H * W, 9 * C)`; 0 beyond the border."""
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    return padded.unfold(1, 3, 1).unfold(2, 3, 1).permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(0, 2)


def _pool(x: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    pooled = _empty(x, n, channels, height // 2, width // 2)
    _run("pool", x, pooled, n, height, width, channels)
    return pooled


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _empty(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, memory_format=torch.channels_last)


def _run(name: str, x: Tensor, *arguments: Tensor | float | None) -> None:
    """Call the kernel `name` for numbers such as those of x, with x as its first argument."""
    kernel = getattr(load_kernels(), f"{name}_{_NAMES[x.dtype]}")
    if kernel(*map(_in_c, (x, *arguments))):
        raise MemoryError(name)


def _in_c(argument: Tensor | float | None) -> Any:
    if argument is None or isinstance(argument, Tensor):
        return ctypes.c_void_p(None if argument is None else argument.data_ptr())
    return ctypes.c_double(argument) if isinstance(argument, float) else ctypes.c_long(argument)
