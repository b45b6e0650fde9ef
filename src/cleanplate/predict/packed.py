"""Convolutions whose weights are laid out once, not anew for each frame.

oneDNN, which computes torch's convolutions on a CPU, wants weights in blocks. It makes them of torch's own layout in
every call: in a network's deepest layers, of many weights and few pixels, that takes most of the time.
"""

import torch
from torch import Tensor, nn


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
            lay_out = torch._C._nn.mkldnn_reorder_conv2d_weight
            weight = self.weight.detach().to_mkldnn()
            weight = lay_out(weight, *self._how, list(x.shape))  # type: ignore[call-arg]  # its stub lacks the shape
            packed = self._packed = x.shape, weight
        return torch.ops.mkldnn._convolution_pointwise(x, packed[1], self.bias, *self._how, "none", [], "")


def pack_weights(model: nn.Module) -> None:
    """Put a `PackedConv2d` in the place of each convolution, where this torch and processor have that."""
    if all(map(_can_pack, {module.weight.dtype for module in model.modules() if isinstance(module, nn.Conv2d)})):
        _replace_convolutions(model)


def _replace_convolutions(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, PackedConv2d(child))
        else:
            _replace_convolutions(child)


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
