import pytest
import torch
from torch import nn

from cleanplate.models import create_model
from cleanplate.models.blocks import set_kernels
from cleanplate.predict.packed import PackedConv2d, pack_weights

needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bfloat16 on this processor"
)


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)])
@pytest.mark.parametrize(("kernel", "in_tiles"), [(1, False), (1, True), (3, False), (3, True)])
def test_a_packed_convolution_is_the_convolution(kernel: int, in_tiles: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 32, kernel, padding=kernel // 2).to(dtype).to(memory_format=torch.channels_last)
    packed_conv = PackedConv2d(conv, in_tiles)
    with torch.inference_mode():
        for shape in [(1, 16, 8, 8), (1, 16, 1, 1), (3, 16, 64, 48), (1, 16, 8, 8)]:  # one after the other, and back
            x = torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(packed_conv(x), conv(x))


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
