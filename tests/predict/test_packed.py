import copy

import pytest
import torch
from torch import nn

from cleanplate.models import create_model
from cleanplate.models.blocks import ConvReluNorm, set_kernels
from cleanplate.predict.packed import PackedConv2d, TiledConvReluNorm, pack_weights

needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bfloat16 on this processor"
)


both_types = pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)])


@both_types
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_packed_convolution_is_the_convolution(kernel: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 32, kernel, padding=kernel // 2).to(dtype).to(memory_format=torch.channels_last)
    packed_conv = PackedConv2d(conv)
    with torch.inference_mode():
        for shape in [(1, 16, 8, 8), (1, 16, 1, 1), (3, 16, 64, 48), (1, 16, 8, 8)]:  # one after the other, and back
            x = torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(packed_conv(x), conv(x))


@both_types
@pytest.mark.parametrize("kernels", ["plain", "fused"])
@pytest.mark.parametrize("out", [32, 20])  # of channels in tiles, and left to torch
@pytest.mark.parametrize("with_shortcut", [False, True])
def test_a_convolution_in_tiles_is_convolution_relu_and_norm(
    with_shortcut: bool, out: int, kernels: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    plain = ConvReluNorm(16, out).to(memory_format=torch.channels_last)
    norm = plain[2]
    assert isinstance(norm, nn.BatchNorm2d)
    for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        nn.init.uniform_(values, 0.5, 2)
    tiled = TiledConvReluNorm(copy.deepcopy(plain).eval())
    tiled.plain[0].to(dtype)
    set_kernels(tiled, kernels)
    exact = plain.double().eval()
    with torch.inference_mode():
        for height, width in [(48, 50), (8, 8), (65, 34), (48, 50)]:
            x, shortcut = (torch.randn(2, c, height, width).to(dtype) for c in (16, out))
            expected = exact(x.double(), shortcut.double() if with_shortcut else None)
            answer = tiled(x, shortcut if with_shortcut else None)
            rounding = 2 * torch.finfo(dtype).eps if dtype == torch.bfloat16 else 1e-5
            torch.testing.assert_close(answer.double(), expected, rtol=rounding, atol=rounding * 4)


def test_a_network_in_bfloat16_answers_as_before_on_any_processor() -> None:
    conv = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1)).to(torch.bfloat16)
    with torch.inference_mode():
        x = torch.randn(1, 16, 8, 8).to(torch.bfloat16)
        before = conv(x)
        pack_weights(conv)
        torch.testing.assert_close(conv(x), before)


def test_whether_weights_are_packed_does_not_hang_on_random_numbers() -> None:
    packed = set()
    for seed in range(100):
        torch.manual_seed(seed)
        pack_weights(model := nn.Sequential(nn.Conv2d(16, 16, 1)))
        packed.add(type(model[0]))
    assert len(packed) == 1


@pytest.mark.parametrize("kernels", ["plain", "fused", "tiled"])
@pytest.mark.parametrize("network", ["dsresnet", "masknet", "platenet", "roomnet"])
def test_a_network_answers_as_before(network: str, kernels: str) -> None:
    torch.manual_seed(0)
    model = create_model(network).eval().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        pictures = [torch.randn(1, 3, 64, 96).contiguous(memory_format=torch.channels_last) for _ in range(2)]
        before = model(*pictures)
        pack_weights(model)
        set_kernels(model, kernels)
        after = model(*pictures)
    is_packed = any(isinstance(module, PackedConv2d) for module in model.modules())
    assert is_packed == torch.backends.mkldnn.is_available()
    for one, other in zip(before, after, strict=True):
        if one is None:
            assert other is None
        else:
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_torch_without_these_functions_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
    model = create_model("masknet")
    with pytest.raises(AttributeError):
        PackedConv2d(nn.Conv2d(16, 16, 1))(torch.ones(1, 16, 4, 4))
    pack_weights(model)
    assert not any(isinstance(module, PackedConv2d) for module in model.modules())
