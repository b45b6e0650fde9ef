"""Losses against independent references, and what they owe to missing depth, padding and processes."""

import math
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import in_two_processes
from skimage.metrics import structural_similarity
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torchmetrics.functional.image import structural_similarity_index_measure

from cleanplate.errors import UserError
from cleanplate.losses import LOSSES, Target, bce, create_loss, dice, loss_needs_depth, rmse, ssim
from cleanplate.models import Prediction

DEPTH_LOSSES = [name for name in LOSSES if loss_needs_depth(name)]
SHAPE = (3, 1, 16, 20)
NAN = float("nan")

quick = settings(max_examples=10, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def random_logits(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Prediction:
    generator = torch.Generator().manual_seed(seed)
    return Prediction(*(3 * torch.randn(2, *shape, generator=generator, dtype=torch.float64)).requires_grad_().unbind())


def random_target(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Target:
    generator = torch.Generator().manual_seed(seed + 1)
    mask, depth = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    return Target((mask > 0.6).double(), depth)


def gradients(loss: Tensor, prediction: Prediction) -> tuple[Tensor, Tensor]:
    return torch.autograd.grad(loss, tuple(prediction), allow_unused=True)


# The parts, one by one


def test_rmse_is_the_root_of_the_mean_square() -> None:
    p, t = torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.0, 0.0, 0.0])
    assert rmse(p, t).item() == pytest.approx(math.sqrt(1.25 / 3 + 1e-6))
    assert rmse(t, t).item() == pytest.approx(1e-3)


def test_dice_counts_over_the_whole_batch() -> None:
    p = torch.tensor([[1.0, 1.0], [0.5, 0.0]]).view(2, 1, 1, 2)
    t = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(2, 1, 1, 2)
    assert dice(p, t).item() == pytest.approx(1 - (2 * 1.5 + 1) / (2.5 + 2 + 1))
    assert dice(p, t, smooth=1e-6).item() == pytest.approx(1 - 2 * 1.5 / 4.5)


def test_dice_of_empty_masks_is_zero() -> None:
    empty = torch.zeros(SHAPE)
    assert dice(empty, empty).item() == 0
    assert dice(empty, empty, smooth=1e-6).item() == 0


def test_bce_is_the_cross_entropy_of_the_probabilities() -> None:
    logits, target = random_logits(), random_target()
    expected = F.binary_cross_entropy(logits.mask_logits.sigmoid(), target.mask)
    torch.testing.assert_close(bce(logits.mask_logits, target.mask), expected)


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (2, 1, 64, 32), (3, 1, 11, 47)])
def test_ssim_agrees_with_scikit_image_and_torchmetrics(shape: tuple[int, ...]) -> None:
    t = random_target(shape=shape).depth
    assert t is not None
    p = (t + 0.3 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))).clamp(0, 1)
    maps = [
        structural_similarity(
            a.numpy(), b.numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, full=True
        )[1][5:-5, 5:-5]
        for a, b in zip(p[:, 0], t[:, 0], strict=True)
    ]
    assert ssim(p, t).item() == pytest.approx(1 - sum(part.mean() for part in maps) / len(maps), abs=1e-12)
    _, full = structural_similarity_index_measure(p, t, data_range=1.0, return_full_image=True)
    assert ssim(p, t).item() == pytest.approx(
        1 - full[..., 5:-5, 5:-5].mean().item(), abs=1e-7
    )  # its window is float32


def test_ssim_of_equal_pictures_is_zero_even_where_they_are_flat() -> None:
    flat = torch.full((2, 1, 32, 32), 0.987654)
    assert ssim(flat, flat).item() == pytest.approx(0, abs=1e-6)


@quick
@given(seeds, st.floats(0, 1), st.floats(1e-4, 0.5))
def test_ssim_in_float32_is_as_good_as_in_float64(seed: int, level: float, contrast: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    p, t = (level + contrast * torch.randn(2, 1, 1, 32, 32, generator=generator)).clamp(0, 1)
    assert ssim(p, t).item() == pytest.approx(ssim(p.double(), t.double()).item(), abs=2e-4)


# The losses, whole


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("rmse-bce-dice", {"rmse": 2, "bce": 1, "dice": 2}),
        ("ssim-dice", {"ssim": 2, "dice": 1}),
        ("rmse-bce", {"rmse": 2, "bce": 1}),
        ("bce", {"bce": 1}),
        ("dice", {"dice": 1}),
        ("ssim", {"ssim": 1}),
    ],
)
def test_loss_is_the_weighted_sum_of_its_parts(name: str, weights: dict[str, float]) -> None:
    parts = create_loss(name)(random_logits(), random_target())
    assert list(parts) == ["loss", *weights]
    assert parts["loss"].item() == pytest.approx(sum(weight * parts[part].item() for part, weight in weights.items()))


def test_weight_of_depth_takes_the_place_of_the_published_one() -> None:
    parts = create_loss("rmse-bce-dice", depth_weight=8)(random_logits(), random_target())
    rmse, bce, dice = (parts[part].item() for part in ("rmse", "bce", "dice"))
    assert parts["loss"].item() == pytest.approx(8 * rmse + bce + 2 * dice)


@pytest.mark.parametrize("name", LOSSES)
def test_names_of_the_parts_are_known_before_the_first_batch(name: str) -> None:
    loss = create_loss(name)
    assert loss.names == tuple(loss(random_logits(), random_target()))


def test_parts_are_of_mask_or_depth_as_published() -> None:
    prediction, target = random_logits(), random_target()
    assert target.depth is not None
    assert prediction.depth_logits is not None
    mask, depth = prediction.mask_logits.sigmoid(), prediction.depth_logits.sigmoid()
    best = create_loss("rmse-bce-dice")(prediction, target)
    assert best["rmse"] == rmse(depth, target.depth)
    assert best["bce"] == bce(prediction.mask_logits, target.mask)
    assert best["dice"] == dice(mask, target.mask, smooth=1e-6)
    other = create_loss("ssim-dice")(prediction, target)
    assert other["ssim"] == ssim(depth, target.depth)
    assert other["dice"] == dice(mask, target.mask, smooth=1)
    assert create_loss("ssim")(prediction, target)["ssim"] == ssim(mask, target.mask)
    assert create_loss("dice")(prediction, target)["dice"] == dice(mask, target.mask, smooth=1)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_right_with_padding_and_missing_depth(name: str) -> None:
    shape = (2, 1, 12, 13)
    target = random_target(shape=shape)
    assert target.depth is not None
    depth, valid = target.depth.clone(), torch.ones(shape, dtype=torch.bool)
    depth[1], valid[..., 12:] = NAN, False
    target = Target(target.mask, depth, torch.tensor([True, False]), valid)
    loss = create_loss(name)
    assert torch.autograd.gradcheck(
        lambda mask, depth: loss(Prediction(mask, depth), target)["loss"], tuple(random_logits(shape=shape))
    )


@quick
@given(seeds)
def test_losses_keep_their_ranges(seed: int) -> None:
    prediction, target = random_logits(seed), random_target(seed)
    for name, highest in {"rmse-bce-dice": {"rmse": 1.01, "dice": 1}, "ssim-dice": {"ssim": 2, "dice": 1}}.items():
        parts = create_loss(name)(prediction, target)
        assert all(0 <= parts[part].item() <= most for part, most in highest.items())


@quick
@given(seeds, st.permutations(range(SHAPE[0])), st.sampled_from(list(LOSSES)))
def test_order_of_items_does_not_matter(seed: int, order: list[int], name: str) -> None:
    prediction, target = random_logits(seed), random_target(seed)
    assert prediction.depth_logits is not None
    assert target.depth is not None
    has_depth = torch.tensor([True, False, True])
    first = create_loss(name)(prediction, target._replace(has_depth=has_depth))
    shuffled = Prediction(prediction.mask_logits[order], prediction.depth_logits[order])
    second = create_loss(name)(shuffled, Target(target.mask[order], target.depth[order], has_depth[order]))
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("logit", [60.0, 1e4])
def test_certain_networks_get_finite_loss_and_gradient(name: str, logit: float) -> None:
    prediction = Prediction(*torch.full((2, *SHAPE), logit).requires_grad_().unbind())
    target = Target(torch.zeros(SHAPE), torch.zeros(SHAPE))
    loss = create_loss(name)(prediction, target)["loss"]
    assert loss.isfinite()
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients(loss, prediction))


# Missing depth


@pytest.mark.parametrize("missing", [NAN, math.inf, 0.3])
@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_items_without_depth_neither_count_nor_harm(name: str, missing: float) -> None:
    prediction, target = random_logits(), random_target()
    assert prediction.depth_logits is not None
    assert target.depth is not None
    depth = target.depth.clone()
    depth[1] = missing
    parts = create_loss(name)(prediction, Target(target.mask, depth, torch.tensor([True, False, True])))

    part = "ssim" if "ssim" in parts else "rmse"
    labelled = Prediction(prediction.mask_logits[::2], prediction.depth_logits[::2])
    alone = create_loss(name)(labelled, Target(target.mask[::2], target.depth[::2]))
    torch.testing.assert_close(parts[part], alone[part])

    mask_gradient, depth_gradient = gradients(parts["loss"], prediction)
    assert mask_gradient.isfinite().all()
    assert mask_gradient[1].abs().sum() > 0
    assert depth_gradient.isfinite().all()
    assert depth_gradient[0].abs().sum() > 0
    assert (depth_gradient[1] == 0).all()


@pytest.mark.parametrize("name", DEPTH_LOSSES)
@pytest.mark.parametrize("depth", [None, torch.full(SHAPE, NAN, dtype=torch.float64)], ids=["None", "NaN"])
def test_batch_without_depth_trains_the_mask_and_gives_depth_zero_gradients(name: str, depth: Tensor | None) -> None:
    prediction, target = random_logits(), random_target()
    parts = create_loss(name)(prediction, Target(target.mask, depth, torch.zeros(SHAPE[0], dtype=torch.bool)))
    assert parts["ssim" if "ssim" in parts else "rmse"].item() == 0
    mask_gradient, depth_gradient = gradients(parts["loss"], prediction)
    assert mask_gradient.abs().sum() > 0
    assert (depth_gradient == 0).all()  # zeros, not None: every process of DDP needs a gradient


@pytest.mark.parametrize("name", LOSSES)
def test_all_items_with_depth_is_the_same_as_saying_nothing(name: str) -> None:
    prediction, target = random_logits(), random_target()
    said = target._replace(has_depth=torch.ones(SHAPE[0], dtype=torch.bool), valid=torch.ones(SHAPE, dtype=torch.bool))
    torch.testing.assert_close(create_loss(name)(prediction, target), create_loss(name)(prediction, said))


# Padding


@quick
@given(seeds, st.sampled_from(list(LOSSES)), st.integers(11, 15), st.integers(11, 19), st.sampled_from([0.0, 1.0, NAN]))
def test_padding_is_as_good_as_cut_away(seed: int, name: str, height: int, width: int, fill: float) -> None:
    prediction, target = random_logits(seed), random_target(seed)
    has_depth = torch.tensor([True, False, True])
    valid = torch.zeros(SHAPE, dtype=torch.bool)
    valid[..., :height, :width] = True
    assert target.depth is not None
    padded = Target(torch.where(valid, target.mask, fill), torch.where(valid, target.depth, fill), has_depth, valid)
    cut = [picture[..., :height, :width] for picture in (*prediction, target.mask, target.depth)]
    found = create_loss(name)(prediction, padded)
    torch.testing.assert_close(found, create_loss(name)(Prediction(*cut[:2]), Target(*cut[2:], has_depth)))
    for gradient in gradients(found["loss"], prediction):
        assert gradient is None or (gradient[~valid] == 0).all()


def test_picture_smaller_than_the_window_leaves_ssim_at_zero() -> None:
    valid = torch.zeros(SHAPE, dtype=torch.bool)
    valid[..., :10, :] = True
    prediction = random_logits()
    loss = create_loss("ssim")(prediction, random_target()._replace(valid=valid))["loss"]
    assert loss.item() == 0
    assert (gradients(loss, prediction)[0] == 0).all()


# Processes

ITEMS = 5
SHARES = (slice(0, 2), slice(2, ITEMS))
"""Which items each of two processes has."""
CASES = ("plain", "one process without depth", "padding in one", "one process without a valid pixel")


class Scaled(nn.Module):
    """A network that scales fixed logits by a weight of each pixel, shared by all items."""

    def __init__(self, with_depth: bool) -> None:
        super().__init__()
        self.mask = nn.Parameter(torch.ones(SHAPE[1:], dtype=torch.float64))
        self.depth = nn.Parameter(torch.ones(SHAPE[1:], dtype=torch.float64)) if with_depth else None

    def forward(self, items: slice) -> Prediction:
        mask, depth = random_logits(shape=(ITEMS, *SHAPE[1:]))
        assert depth is not None
        return Prediction(self.mask * mask[items], None if self.depth is None else self.depth * depth[items])


def target_of(case: str, items: slice) -> Target:
    """Return the target of these of the five items, None wherever it can be."""
    mask, depth, *_ = random_target(shape=(ITEMS, *SHAPE[1:]))
    assert depth is not None
    has_depth, valid = torch.ones(ITEMS, dtype=torch.bool), torch.ones_like(mask, dtype=torch.bool)
    if case == "one process without depth":
        has_depth = torch.tensor([False, False, True, False, True])
    elif case == "padding in one":
        valid[0, ..., 12:], valid[1, ..., 14:, :] = False, False
    elif case == "one process without a valid pixel":
        has_depth[3], valid[:2], valid[4, ..., 17:] = False, False, False
    depth[~has_depth], mask[~valid], depth[~valid] = NAN, NAN, NAN
    mask, depth, has_depth, valid = mask[items], depth[items], has_depth[items], valid[items]
    return Target(
        mask,
        depth if has_depth.any() else None,
        None if has_depth.all() or not has_depth.any() else has_depth,
        None if valid.all() else valid,
    )


def step(name: str, case: str, items: slice, distributed: bool = False) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Return losses and gradients of the weights after a training step."""
    model = Scaled(with_depth=loss_needs_depth(name))
    network = DistributedDataParallel(model) if distributed else model
    parts = create_loss(name)(network(items), target_of(case, items))
    parts["loss"].backward()
    return {part: value.detach() for part, value in parts.items()}, [weight.grad for weight in model.parameters()]


def steps_of_share(rank: int) -> dict[tuple[str, str], tuple[dict[str, Tensor], list[Tensor]]]:
    return {(name, case): step(name, case, SHARES[rank], distributed=True) for name in LOSSES for case in CASES}


@pytest.fixture(scope="module")
def steps_of_shares(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return in_two_processes(steps_of_share, tmp_path_factory.mktemp("steps"))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_train_as_one_with_all_their_items(name: str, case: str, steps_of_shares: list[dict]) -> None:
    losses, weight_gradients = step(name, case, slice(ITEMS))
    assert all(gradient.abs().max() > 0 for gradient in weight_gradients)
    for steps in steps_of_shares:
        found_losses, found_gradients = steps[name, case]
        torch.testing.assert_close(found_losses, losses, rtol=0, atol=1e-12)
        torch.testing.assert_close(found_gradients, weight_gradients, rtol=1e-10, atol=1e-14)


def validate(name: str, rank: int) -> list[dict[str, Tensor]]:
    """Return the losses of the batches of a process, an item each."""
    loss, model = create_loss(name).eval(), Scaled(with_depth=True)
    with torch.no_grad():
        items = [slice(item, item + 1) for item in range(ITEMS)[SHARES[rank]]]
        return [loss(model(item), target_of("plain", item)) for item in items]


def validate_all(rank: int) -> dict[str, list[dict[str, Tensor]]]:
    return {name: validate(name, rank) for name in LOSSES}


def test_processes_validate_each_for_itself_and_any_number_of_batches(tmp_path: Path) -> None:
    for rank, found in enumerate(in_two_processes(validate_all, tmp_path)):
        torch.testing.assert_close(found, validate_all(rank), rtol=0, atol=0)


# Faults


@pytest.mark.parametrize("name", DEPTH_LOSSES)
def test_depth_loss_on_a_mask_network_names_loss_and_mend(name: str) -> None:
    with pytest.raises(UserError, match=rf"{name} needs depth.*choose one of bce, dice, ssim"):
        create_loss(name)(random_logits()._replace(depth_logits=None), random_target())


@pytest.mark.parametrize("name", ["bce", "dice", "ssim"])
def test_mask_losses_need_no_depth(name: str) -> None:
    parts = create_loss(name)(random_logits()._replace(depth_logits=None), random_target()._replace(depth=None))
    assert parts["loss"].isfinite()


def test_unknown_loss_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'mse' is not known.*rmse-bce-dice, ssim-dice, rmse-bce, bce, dice, ssim"):
        create_loss("mse")


def test_losses_travel_to_other_processes() -> None:
    loss = pickle.loads(pickle.dumps(create_loss("ssim-dice")))
    assert loss(random_logits(), random_target())["loss"].isfinite()
