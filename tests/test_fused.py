"""The fused kernels give what torch's own layers give, forwards and backwards."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from trainings import FUSED, small_recipe

from cleanplate.fused import build, can_fuse, convolve, double_and_join, keep_and_pool, relu_norm
from cleanplate.fused.build import load_kernels
from cleanplate.losses import Target, create_loss
from cleanplate.models import MODELS, create_model
from cleanplate.models.blocks import set_kernels
from cleanplate.train.fit import resume, train
from cleanplate.train.run import Run

needs_kernels = pytest.mark.skipif(load_kernels() is None, reason="needs Linux and a C compiler (cc)")
sides = st.integers(1, 5)


def values(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw numbers with many equal ones among them, channels last, that want gradients."""
    drawn = torch.randint(-6, 7, shape, generator=torch.Generator().manual_seed(seed)).to(dtype) / 4
    return drawn.contiguous(memory_format=torch.channels_last).requires_grad_()


def gradients(function: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> list[Tensor]:
    """Return the results, and the gradient of each input from those of the results, all different."""
    results = function(*inputs)
    weighted = [
        (result * values(*result.shape, seed=9 + n, dtype=result.dtype).detach()).sum()
        for n, result in enumerate(results)
    ]
    return [*results, *torch.autograd.grad(torch.stack(weighted).sum(), inputs)]


def assert_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def plain_relu_norm(x: Tensor, norm: nn.BatchNorm2d, shortcut: Tensor | None) -> Tensor:
    normed = norm(x.relu())
    return normed if shortcut is None else normed + shortcut


@pytest.fixture(scope="module")
def kept_kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to compile into, once for each width."""
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(params=[4, 8, 16])
def of_any_width(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kept_kernels: Path, nothing_known: None
) -> None:
    """All kernels, as processors with registers of so many floats have them."""
    monkeypatch.setattr("cleanplate.fused.FEW_PIXELS", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept_kernels))
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, f"-DLANES={request.param}"))


@given(n=st.integers(1, 3), channels=st.integers(1, 20), height=sides, width=sides, out=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_convolving_few_pixels_is_torchs_convolution(n: int, channels: int, height: int, width: int, out: int) -> None:
    conv = nn.Conv2d(channels, out, kernel_size=3, padding=1).double()
    x = values(n, channels, height, width, seed=8)
    of_product = gradients(lambda x, *_: (convolve(x, conv, in_tiles=False),), x, conv.weight, conv.bias)
    assert_equal(of_product, gradients(lambda x, *_: (conv(x),), x, conv.weight, conv.bias))


@needs_kernels
@given(n=st.integers(1, 3), groups=st.integers(1, 2), height=st.integers(1, 9), width=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_convolving_in_tiles_is_torchs_convolution(n: int, groups: int, height: int, width: int) -> None:
    conv = nn.Conv2d(16 * groups, 48 - 16 * groups, kernel_size=3, padding=1).double()
    x = values(n, 16 * groups, height, width, seed=8)
    theirs = gradients(lambda x, *_: (conv(x),), x, conv.weight, conv.bias)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr("cleanplate.fused.FEW_PIXELS", 0)
        patch.setattr(conv, "forward", None)  # torch's own is not to be asked
        assert_equal([convolve(x, conv, in_tiles=True)], theirs[:1])
        with torch.enable_grad():
            ours = gradients(lambda x, *_: (convolve(x, conv, in_tiles=True),), x, conv.weight, conv.bias)
        assert_equal(ours, theirs)


@needs_kernels
@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("channels", [16, 96])
def test_threads_share_tiles_and_where_sums_are_many_results(
    channels: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cleanplate.fused.FEW_PIXELS", 0)
    torch.set_num_threads(threads)
    conv, x = nn.Conv2d(channels, channels, kernel_size=3, padding=1).double(), values(2, channels, 9, 10, seed=8)
    theirs = gradients(lambda x, *_: (conv(x),), x, conv.weight, conv.bias)
    assert_equal(gradients(lambda x, *_: (convolve(x, conv, in_tiles=True),), x, conv.weight, conv.bias), theirs)


@needs_kernels
@pytest.mark.parametrize("pictures", [(16, 5, 300, 2), (32, 48, 48, 1)])
def test_convolving_in_tiles_is_as_exact_as_float32_is(pictures: tuple[int, int, int, int]) -> None:
    torch.manual_seed(0)
    channels, height, width, n = pictures
    conv, x = nn.Conv2d(channels, 16, kernel_size=3, padding=1), torch.randn(n, channels, height, width)
    with torch.no_grad():
        tiles, exact = convolve(x, conv, in_tiles=True), copy.deepcopy(conv).double()(x.double())
    assert not torch.equal(tiles, conv(x))
    torch.testing.assert_close(tiles.double(), exact, rtol=0, atol=1e-5 * exact.abs().max().item())


@needs_kernels
def test_pictures_in_bfloat16_go_in_tiles_of_float32() -> None:
    conv, x = nn.Conv2d(32, 16, kernel_size=3, padding=1), values(2, 32, 33, 35, seed=8, dtype=torch.bfloat16)
    exact_conv, exact_x = copy.deepcopy(conv).double(), x.detach().double().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        ours = gradients(lambda x, *_: (convolve(x, conv, in_tiles=True),), x, conv.weight, conv.bias)
        with torch.no_grad():
            assert torch.equal(convolve(x, conv, in_tiles=True), ours[0])
    exact = gradients(lambda x, *_: (exact_conv(x),), exact_x, exact_conv.weight, exact_conv.bias)
    assert [each.dtype for each in ours] == [torch.bfloat16] * 2 + [torch.float32] * 2
    for one, other, rounding in zip(ours, exact, [2**-8, 2**-8, 1e-5, 1e-5], strict=True):
        torch.testing.assert_close(one.double(), other, rtol=rounding, atol=1e-5 * other.abs().max().item())


@needs_kernels
@pytest.mark.parametrize(
    ("channels", "out", "autocast"), [(12, 16, None), (16, 20, None), (16, 16, torch.float16)], ids=str
)
def test_what_the_kernel_cannot_do_is_left_to_torch(
    channels: int, out: int, autocast: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cleanplate.fused.FEW_PIXELS", 0)
    conv, x = nn.Conv2d(channels, out, kernel_size=3, padding=1), torch.rand(2, channels, 8, 8, requires_grad=True)
    with torch.autocast("cpu", autocast, enabled=autocast is not None):
        ours, theirs = (
            torch.autograd.grad(result.float().sum(), (x, *conv.parameters()))
            for result in (convolve(x, conv, in_tiles=True), conv(x))
        )
        with torch.no_grad():
            assert torch.equal(convolve(x, conv, in_tiles=True), conv(x))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_convolving_few_pixels_follows_autocast() -> None:
    conv, x = nn.Conv2d(4, 8, kernel_size=3, padding=1), torch.rand(2, 4, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        few, plain = convolve(x, conv, in_tiles=False), conv(x)
    assert few.dtype == torch.bfloat16
    assert torch.equal(few, plain)
    few.float().sum().backward()
    assert conv.weight.grad is not None
    assert conv.weight.grad.dtype == torch.float32


@needs_kernels
@given(n=st.integers(2, 4), groups=st.integers(1, 3), height=sides, width=sides, shortcut=st.booleans())
@settings(max_examples=30, deadline=None)
def test_relu_norm_is_relu_then_batch_norm(n: int, groups: int, height: int, width: int, shortcut: bool) -> None:
    norm = nn.BatchNorm2d(16 * groups).double()
    nn.init.normal_(norm.weight)
    other = copy.deepcopy(norm)
    x = values(n, 16 * groups, height, width, seed=1)
    added = [values(n, 16 * groups, height, width, seed=2)] if shortcut else []

    def fused(x: Tensor, *_: Tensor) -> tuple[Tensor]:
        return (relu_norm(x, norm, *added),)

    def plain(x: Tensor, *_: Tensor) -> tuple[Tensor]:
        return (plain_relu_norm(x, other, *added or [None]),)

    assert_equal(gradients(fused, x, norm.weight, norm.bias, *added), gradients(plain, x, *other.parameters(), *added))
    assert_equal([b.double() for b in norm.buffers()], [b.double() for b in other.buffers()])


@needs_kernels
@given(n=st.integers(1, 3), groups=st.integers(1, 2), height=sides, width=sides)
@settings(max_examples=30, deadline=None)
def test_double_and_join_is_bilinear_and_concatenation(n: int, groups: int, height: int, width: int) -> None:
    x = values(n, 16 * groups, height, width, seed=3)
    skip = values(n, 16 * groups, 2 * height, 2 * width, seed=4)

    def plain(x: Tensor, skip: Tensor) -> tuple[Tensor]:
        doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return (torch.cat([doubled, skip], 1),)

    assert_equal(gradients(lambda *both: (double_and_join(*both),), x, skip), gradients(plain, x, skip))


@needs_kernels
@given(n=st.integers(1, 3), groups=st.integers(1, 2), height=sides, width=sides, beside=st.booleans())
@settings(max_examples=30, deadline=None)
def test_pool_is_max_pool_and_its_gradient_goes_to_the_first_of_equals(
    n: int, groups: int, height: int, width: int, beside: bool
) -> None:
    x = values(n, 16 * groups, 2 * height, 2 * width, seed=5)

    def used(kept: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([kept, kept.detach()], 1) if beside else kept * 2, pooled

    fused = gradients(lambda x: used(*keep_and_pool(x)), x)
    assert_equal(fused, gradients(lambda x: used(x, F.max_pool2d(x, 2)), x))


@needs_kernels
@pytest.mark.usefixtures("of_any_width")
@pytest.mark.parametrize("kernels", ["fused", "tiled"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_the_networks_agree_in_float64(name: str, kernels: str) -> None:
    torch.manual_seed(0)
    plain = create_model(name).double()
    fused = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    set_kernels(fused, kernels)
    plate, frame, truth = torch.rand(2, 3, 64, 96).double(), torch.rand(2, 3, 64, 96).double(), torch.rand(2, 1, 64, 96)
    loss = create_loss("dice" if name == "masknet" else "rmse-bce-dice")
    for model in (plain, fused):
        loss(model(plate, frame), Target(truth.double(), truth.double()))["loss"].backward()
    for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-9)
    assert_equal([b.double() for b in fused.buffers()], [b.double() for b in plain.buffers()])


@needs_kernels
def test_bfloat16_is_rounded_once_to_the_nearest() -> None:
    x, norm = values(4, 16, 8, 8, seed=6, dtype=torch.bfloat16), nn.BatchNorm2d(16)
    exact = nn.BatchNorm2d(16)(x.detach().float().relu())
    assert torch.equal(relu_norm(x, norm), exact.to(torch.bfloat16))


@needs_kernels
def test_a_nan_stays_one() -> None:
    x = values(2, 16, 4, 4, seed=7).detach()
    x[0, 3, 1, 1] = float("nan")
    assert relu_norm(x, nn.BatchNorm2d(16).double())[:, 3].isnan().all()
    assert keep_and_pool(x)[1].isnan().sum() == 1


def test_pictures_of_other_channels_are_left_to_torch() -> None:
    assert not can_fuse(torch.zeros(1, 3, 4, 4))


@needs_kernels
def test_a_single_value_a_channel_is_refused_as_torch_does() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        relu_norm(torch.zeros(1, 16, 1, 1), nn.BatchNorm2d(16))


@needs_kernels
@pytest.mark.parametrize("kernels", ["fused", "tiled"])
def test_a_run_with_kernels_of_ours_goes_on_to_the_same_bits(scenes: Path, tmp_path: Path, kernels: str) -> None:
    recipe = small_recipe(compute=FUSED.model_copy(update={"kernels": kernels}))
    whole = train(recipe, scenes, run=tmp_path / "whole")
    train(recipe, scenes, run=tmp_path / "broken", epochs_now=1)
    resume(tmp_path / "broken")
    runs = [Run.open(whole.run), Run.open(tmp_path / "broken")]
    assert runs[0].environment()["kernels"] == kernels
    assert runs[0].weights.read_bytes() == runs[1].weights.read_bytes()
    assert runs[0].metrics.read_bytes() == runs[1].metrics.read_bytes()
