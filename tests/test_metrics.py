"""Metrics against independent references, over batches, padding, missing depth and processes."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import in_two_processes
from skimage.metrics import structural_similarity
from torch import Tensor
from torchmetrics.functional import mean_absolute_error, mean_squared_error
from torchmetrics.functional.classification import binary_jaccard_index
from torchmetrics.functional.image import structural_similarity_index_measure

from cleanplate.losses import Target
from cleanplate.metrics import STRUCTURE_NAMES, MaskDepthMetrics, foreground_share, iou, soft_iou

MASK_NAMES = ["iou", "soft_iou", "false_positive_share"]
DEPTH_NAMES = ["rmse", "batch_rmse", "mae", "aligned_rmse", "abs_rel", "delta_1.25"]
NAMES = MASK_NAMES + DEPTH_NAMES
ITEMS, NEAR, FAR = 6, 0.5, 8.0
NAN = float("nan")

quick = settings(max_examples=10, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def sample(seed: int = 0, height: int = 9, width: int = 14) -> tuple[Tensor, Tensor, Target]:
    """Return mask, depth and target; item 1 has no foreground, item 2 no depth."""
    generator = torch.Generator().manual_seed(seed)
    mask, depth, noise, true_depth = torch.rand(4, ITEMS, 1, height, width, generator=generator)
    true_mask = (mask + noise > 1).float()
    true_mask[1] = 0
    true_depth[2] = NAN
    has_depth = torch.arange(ITEMS) != 2
    return mask, (0.7 * true_depth + 0.3 * depth).nan_to_num(0.5), Target(true_mask, true_depth, has_depth)


def part(target: Target, items: slice | list[int]) -> Target:
    return Target(*(None if field is None else field[items] for field in target))


def measure(
    mask: Tensor, depth: Tensor | None, target: Target, batch: int = ITEMS, metrics: MaskDepthMetrics | None = None
) -> dict[str, float | None]:
    metrics = metrics or MaskDepthMetrics(NEAR, FAR)
    for start in range(0, len(mask), batch):
        items = slice(start, start + batch)
        metrics.update(mask[items], None if depth is None else depth[items], part(target, items))
    return metrics.compute()


def plain(mask: Tensor, depth: Tensor, target: Target) -> dict[str, float]:
    """Compute every metric item by item, with numpy and torchmetrics, the batch being all items."""
    assert target.depth is not None
    assert target.has_depth is not None
    ious, softs, shares = [], [], []
    for p, t in zip(mask.double(), target.mask.double(), strict=True):
        ious.append(binary_jaccard_index(p, t.int()).item() if t.any() or (p >= 0.5).any() else 1.0)
        both = (p * t).sum().item()
        softs += [(both + 1e-6) / (p.sum().item() + t.sum().item() - both + 1e-6)] if t.any() else []
        shares += [] if t.any() else [(p >= 0.5).double().mean().item()]
    p, t = depth[target.has_depth].double(), target.depth[target.has_depth].double()
    residuals = []
    for x, y in zip(p.flatten(1).numpy(), t.flatten(1).numpy(), strict=True):
        design = np.stack([x, np.ones_like(x)], axis=1)
        residuals.append(y - design @ np.linalg.lstsq(design, y, rcond=None)[0])
    metres, true_metres = NEAR + p * (FAR - NEAR), NEAR + t * (FAR - NEAR)
    ratio = metres / true_metres
    return {
        "iou": float(np.mean(ious)),
        "soft_iou": float(np.mean(softs)),
        "false_positive_share": float(np.mean(shares)),
        "rmse": mean_squared_error(p, t, squared=False).item(),
        "batch_rmse": mean_squared_error(p[t > 1e-4], t[t > 1e-4], squared=False).item(),
        "mae": mean_absolute_error(p, t).item(),
        "aligned_rmse": float(np.sqrt(np.mean(np.square(residuals)))),
        "abs_rel": ((metres - true_metres).abs() / true_metres).mean().item(),
        "delta_1.25": (torch.maximum(ratio, 1 / ratio) < 1.25).double().mean().item(),
    }


def assert_same(found: dict[str, float | None], expected: dict[str, float | None]) -> None:
    for name in NAMES:
        assert found[name] == (None if expected[name] is None else pytest.approx(expected[name], rel=1e-9, abs=1e-12))


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_names_and_their_order_are_those_of_the_reports() -> None:
    assert list(MaskDepthMetrics().compute()) == NAMES


@quick
@given(seeds)
def test_metrics_agree_with_plain_references(seed: int) -> None:
    assert measure(*sample(seed)) == pytest.approx(plain(*sample(seed)), abs=1e-7)


@pytest.mark.parametrize("error", [1e-1, 1e-4, 1e-6])
def test_float32_predictions_are_measured_as_in_float64_however_near_they_come(error: float) -> None:
    generator = torch.Generator().manual_seed(4)
    true_depth, noise, mask = torch.rand(3, 4, 1, 64, 64, generator=generator)
    true_mask, depth = (mask > 0.3).float(), (true_depth + error * (noise - 0.5)).clamp(0, 1)
    true_mask[0] = 0
    target = Target(true_mask, true_depth, torch.ones(4, dtype=torch.bool))
    assert measure(mask, depth, target) == pytest.approx(plain(mask, depth, target), rel=1e-6, abs=1e-8)


# Masks


def row(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, 1, -1)


def test_iou_by_hand() -> None:
    assert iou(row(0.5, 0.9, 0.4, 0.1), row(1, 0, 1, 0)).tolist() == [pytest.approx(1 / 3)]
    assert iou(row(0.5, 0.9), row(0.5, 0.49)).tolist() == [0.5]


def test_iou_of_an_empty_mask_is_one_only_if_predicted_empty() -> None:
    empty = row(0, 0, 0)
    assert iou(row(0.1, 0.4, 0.49), empty).tolist() == [1]
    assert iou(row(0.1, 0.4, 0.5), empty).tolist() == [0]
    assert iou(empty, row(0, 0, 1)).tolist() == [0]


def test_soft_iou_by_hand() -> None:
    assert soft_iou(row(0.5, 1, 0), row(1, 1, 0)).tolist() == [pytest.approx(1.5 / 2)]


def test_false_positive_share_is_of_items_without_foreground() -> None:
    mask, target = (
        torch.cat([row(0.9, 0.9, 0.1, 0.2), row(0.9, 0.9, 0.9, 0.9)]),
        torch.cat([row(0, 0, 0, 0), row(1, 0, 0, 0)]),
    )
    result = measure(mask, None, Target(mask=target, depth=None))
    assert result["false_positive_share"] == 0.5
    assert result["soft_iou"] == pytest.approx(0.9 / 3.7)
    assert foreground_share(mask).tolist() == [0.5, 1]


def test_perfect_prediction_scores_perfectly() -> None:
    _, _, target = sample()
    assert target.depth is not None
    result = measure(target.mask, target.depth, target)
    assert result == pytest.approx(
        {name: 1.0 if name in ("iou", "soft_iou", "delta_1.25") else 0.0 for name in NAMES}, abs=1e-7
    )


# Depth


def test_depth_metrics_by_hand() -> None:
    p, t = row(0.0, 0.5, 1.0, 0.5), row(0.0, 0.5, 0.5, 1.0)
    result = measure(p, p, Target(p, t), metrics=MaskDepthMetrics(near=1, far=3))
    assert result["rmse"] == pytest.approx(math.sqrt(0.5 / 4))
    assert result["batch_rmse"] == pytest.approx(math.sqrt(0.5 / 3))  # a target of 0 is left out
    assert result["mae"] == pytest.approx(0.25)
    assert result["abs_rel"] == pytest.approx((1 / 2 + 1 / 3) / 4)
    assert result["delta_1.25"] == 0.5


@quick
@given(seeds, st.floats(0.01, 1), st.floats(0, 0.5))
def test_aligned_rmse_forgives_scale_and_shift(seed: int, scale: float, shift: float) -> None:
    mask, depth, target = sample(seed)
    assert measure(mask, scale * depth + shift, target)["aligned_rmse"] == pytest.approx(
        measure(mask, depth, target)["aligned_rmse"], abs=1e-5
    )


@quick
@given(seeds, st.floats(0, 1))
def test_constant_prediction_is_only_shifted(seed: int, level: float) -> None:
    mask, depth, target = sample(seed)
    assert target.depth is not None
    deviation = target.depth[[0, 1, 3, 4, 5]].double().flatten(1).std(dim=1, correction=0)
    found = measure(mask, torch.full_like(depth, level), target)["aligned_rmse"]
    assert found == pytest.approx(deviation.square().mean().sqrt().item(), rel=1e-6)


def test_prediction_that_is_flat_but_for_rounding_is_only_shifted() -> None:
    true_depth = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(5))
    depth = torch.full_like(true_depth, 0.3)
    depth[..., ::2] = torch.nextafter(depth[..., ::2], depth.new_tensor(1.0))
    found = measure(torch.zeros_like(depth), depth, Target(torch.zeros_like(depth), true_depth))["aligned_rmse"]
    assert found == pytest.approx(true_depth.double().std(correction=0).item(), rel=1e-3)


def test_batch_rmse_depends_on_batch_size_and_rmse_does_not() -> None:
    mask = torch.zeros(4, 1, 2, 2)
    true_depth = torch.full_like(mask, 0.5)
    depth = true_depth + torch.tensor([0.0, 0.0, 0.4, 0.4]).view(4, 1, 1, 1)
    results = {batch: measure(mask, depth, Target(mask, true_depth), batch) for batch in (1, 2, 4)}
    assert results[1]["batch_rmse"] == results[2]["batch_rmse"] == pytest.approx(0.2)
    assert results[4]["batch_rmse"] == pytest.approx(0.4 / math.sqrt(2))
    for result in results.values():
        assert result["rmse"] == pytest.approx(0.4 / math.sqrt(2))


@quick
@given(seeds, st.integers(1, ITEMS - 1))
def test_every_metric_but_batch_rmse_is_free_of_the_batch_size(seed: int, batch: int) -> None:
    whole, split = measure(*sample(seed)), measure(*sample(seed), batch=batch)
    assert_same({**split, "batch_rmse": whole["batch_rmse"]}, whole)


def test_batch_rmse_weighs_batches_by_their_items_with_depth() -> None:
    mask = torch.zeros(3, 1, 2, 2)
    true_depth = torch.full_like(mask, 0.5)
    depth = true_depth + torch.tensor([0.1, 0.4, 0.3]).view(3, 1, 1, 1)
    target = Target(mask, true_depth, torch.tensor([True, False, True]))
    assert measure(mask, depth, target, batch=2)["batch_rmse"] == pytest.approx((0.1 + 0.3) / 2)


def test_depth_at_zero_metres_is_left_out_of_relative_metrics() -> None:
    p, t = row(0.5, 0.5), row(0.0, 0.5)
    result = measure(p, p, Target(p, t), metrics=MaskDepthMetrics(near=0, far=2))
    assert (result["abs_rel"], result["delta_1.25"]) == (0, 1)


# Structure of depth


def structure(depth: Tensor | None, target: Target) -> dict[str, float | None]:
    found = measure(torch.zeros_like(target.mask), depth, target, metrics=MaskDepthMetrics(structure=True))
    return {name: found[name] for name in STRUCTURE_NAMES}


def test_names_with_structure_are_the_reports_and_two_more() -> None:
    metrics = MaskDepthMetrics(structure=True)
    _, depth, target = sample()
    metrics.update(torch.zeros_like(target.mask), depth, target)
    assert list(metrics.compute()) == [*NAMES, "ssim", "aligned_ssim"]


@pytest.mark.parametrize("shape", [(11, 11), (20, 31)])
def test_ssim_agrees_with_scikit_image_and_torchmetrics(shape: tuple[int, int]) -> None:
    _, depth, target = sample(3, *shape)
    assert target.depth is not None
    kept = [0, 1, 3, 4, 5]  # item 2 has no depth
    p, t = depth[kept].double(), target.depth[kept].double()
    maps = [
        structural_similarity(
            a.numpy(), b.numpy(), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, full=True
        )[1]
        for a, b in zip(p[:, 0], t[:, 0], strict=True)
    ]
    found = structure(depth, target)["ssim"]
    assert found == pytest.approx(np.mean([whole[5:-5, 5:-5].mean() for whole in maps]), abs=1e-12)
    _, full = structural_similarity_index_measure(p, t, data_range=1.0, return_full_image=True)
    assert found == pytest.approx(full[..., 5:-5, 5:-5].mean().item(), abs=1e-6)  # its window is float32


@quick
@given(seeds, st.floats(0.05, 1), st.floats(0, 0.5))
def test_aligned_ssim_is_that_after_a_straight_line_fit(seed: int, scale: float, shift: float) -> None:
    _, depth, target = sample(seed, 16, 13)
    assert target.depth is not None
    fitted = depth.double()
    for p, t, out in zip(depth.double(), target.depth.double(), fitted, strict=True):
        if not t.isnan().any():
            slope, offset = np.polyfit(p.flatten().numpy(), t.flatten().numpy(), 1)
            out[:] = slope * p + offset
    expected = structure(fitted, target)["ssim"]
    assert structure(scale * depth + shift, target)["aligned_ssim"] == pytest.approx(expected, abs=1e-4)


@quick
@given(seeds, st.integers(11, 16), st.integers(11, 20), st.sampled_from([0.0, 1.0, NAN]))
def test_structure_under_padding_is_that_of_the_picture_cut(seed: int, height: int, width: int, fill: float) -> None:
    _, depth, target = sample(seed, 16, 20)
    valid = torch.zeros(depth.shape, dtype=torch.bool)
    valid[..., :height, :width] = True
    padded = target._replace(depth=torch.where(valid, target.depth, fill), valid=valid)
    cut = Target(target.mask[..., :height, :width], target.depth[..., :height, :width], target.has_depth)
    assert structure(depth, padded) == pytest.approx(structure(depth[..., :height, :width], cut), abs=1e-12)


def test_structure_of_equal_depths_is_one_and_of_flat_answers_low() -> None:
    _, _, target = sample(0, 16, 16)
    assert target.depth is not None
    assert structure(target.depth.nan_to_num(0.5), target) == pytest.approx({"ssim": 1, "aligned_ssim": 1})
    flat = structure(torch.full_like(target.depth, 0.5), target)
    assert flat["aligned_ssim"] is not None
    assert flat["aligned_ssim"] < 0.2


def test_structure_without_depth_or_without_room_for_a_window_is_none() -> None:
    _, depth, target = sample(0, 16, 16)
    nothing = {"ssim": None, "aligned_ssim": None}
    assert structure(None, target) == nothing
    assert structure(depth, target._replace(has_depth=torch.zeros(ITEMS, dtype=torch.bool))) == nothing
    assert structure(*sample(0, 10, 30)[1:]) == nothing
    narrow = torch.zeros(depth.shape, dtype=torch.bool)
    narrow[..., :10] = True
    assert structure(depth, target._replace(valid=narrow)) == nothing


# What is missing


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_metrics_without_anything_to_measure_are_none() -> None:
    mask, depth, target = sample()
    assert all(value is None for value in MaskDepthMetrics().compute().values())
    assert {name for name, value in measure(mask, None, target).items() if value is None} == set(DEPTH_NAMES)
    no_depth = measure(mask, depth, target._replace(depth=None, has_depth=None))
    assert {name for name, value in no_depth.items() if value is None} == set(DEPTH_NAMES)
    relative = measure(mask, depth, target, metrics=MaskDepthMetrics())
    assert {name for name, value in relative.items() if value is None} == {"abs_rel", "delta_1.25"}
    filled = measure(mask[:1], depth[:1], part(target, slice(0, 1)))
    assert {name for name, value in filled.items() if value is None} == {"false_positive_share"}


def test_items_without_depth_neither_count_nor_harm() -> None:
    mask, depth, target = sample()
    kept = [0, 1, 3, 4, 5]
    with_missing, without = measure(mask, depth, target), measure(mask[kept], depth[kept], part(target, kept))
    assert {name: with_missing[name] for name in DEPTH_NAMES} == pytest.approx({n: without[n] for n in DEPTH_NAMES})
    only_missing = measure(mask[2:3], depth[2:3], part(target, slice(2, 3)))
    assert all(only_missing[name] is None for name in DEPTH_NAMES)


# Padding, order, sums


@quick
@given(seeds, st.integers(1, 9), st.integers(1, 14), st.sampled_from([0.0, 1.0, NAN]))
def test_padding_is_as_good_as_cut_away(seed: int, height: int, width: int, fill: float) -> None:
    mask, depth, target = sample(seed)
    valid = torch.zeros(mask.shape, dtype=torch.bool)
    valid[..., :height, :width] = True
    assert target.depth is not None
    padded = target._replace(
        mask=torch.where(valid, target.mask, fill), depth=torch.where(valid, target.depth, fill), valid=valid
    )
    cut = Target(target.mask[..., :height, :width], target.depth[..., :height, :width], target.has_depth)
    assert_same(measure(mask, depth, padded), measure(mask[..., :height, :width], depth[..., :height, :width], cut))


@quick
@given(seeds, st.permutations(range(ITEMS)))
def test_order_of_items_does_not_matter(seed: int, order: list[int]) -> None:
    mask, depth, target = sample(seed)
    assert_same(measure(mask[order], depth[order], part(target, order)), measure(mask, depth, target))


def test_sums_stay_exact_over_many_items_and_in_half_networks() -> None:
    metrics = MaskDepthMetrics().half()
    assert metrics.totals.dtype == torch.float64
    ones = torch.ones(1, 1, 64, 64)
    for _ in range(20):
        metrics.update(ones, 0.1 * ones, Target(ones, 0 * ones))
    assert metrics.compute()["rmse"] == pytest.approx(0.1, rel=1e-7)


def test_merged_states_give_the_metrics_of_all_items() -> None:
    mask, depth, target = sample()
    first, second = MaskDepthMetrics(NEAR, FAR), MaskDepthMetrics(NEAR, FAR)
    measure(mask[:2], depth[:2], part(target, slice(2)), metrics=first)
    measure(mask[2:], depth[2:], part(target, slice(2, None)), batch=2, metrics=second)
    first.merge_state(second)
    assert_same(first.compute(), measure(mask, depth, target, batch=2))


def measure_share(rank: int) -> dict[str, float | None]:
    mask, depth, target = sample()
    items = slice(0, 2) if rank == 0 else slice(2, None)
    return measure(mask[items], depth[items], part(target, items), batch=2)


def test_two_processes_give_the_metrics_of_one(tmp_path: Path) -> None:
    expected = measure(*sample(), batch=2)
    for found in in_two_processes(measure_share, tmp_path):
        assert_same(found, expected)
