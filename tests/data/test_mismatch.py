import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from cleanplate.data.mismatch import mismatch
from cleanplate.data.source import Batch
from cleanplate.recipe import Recipe
from cleanplate.recipe_pictures import (
    Blur,
    Camouflage,
    Exposure,
    Gamma,
    Jpeg,
    Light,
    Mismatch,
    Noise,
    Outdated,
    Shift,
    WhiteBalance,
)

SIZE = 64
NAMES = [key for key in Mismatch.model_fields if key != "share"]
IN_FRAME_ALONE = ("camouflage", "white_balance", "gamma")
SURE = {key: {"probability": 1} for key in NAMES}
EVERYTHING = Mismatch.model_validate(SURE)


def scenes(count: int, level: int | None = None) -> Batch:
    """A smooth coloured plate, or a grey one, with an orange block in the frame."""
    rng = np.random.default_rng(5)
    plates = []
    for _ in range(count):
        coarse = rng.integers(60, 190, (6, 6, 3)).astype(np.uint8)
        plate = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        plate += rng.integers(0, 30, plate.shape, np.uint8)  # grain, so that a slight blur shows
        plates.append(plate if level is None else np.full_like(plate, level))
    plate = torch.from_numpy(np.stack(plates)).permute(0, 3, 1, 2)
    mask = torch.zeros(count, 1, SIZE, SIZE)
    mask[:, :, 20:50, 24:40] = 1
    orange = torch.tensor([230, 120, 20], dtype=torch.uint8)[:, None, None]
    return Batch(
        plate=plate,
        frame=torch.where(mask > 0, orange, plate),
        mask=mask,
        depth=torch.rand(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)),
        has_depth=torch.ones(count, dtype=torch.bool),
        valid=None,
        indices=torch.arange(count),
    )


def apply(batch: Batch, seed: int = 1, epoch: int = 0, **changes: object) -> Batch:
    return mismatch(batch, Mismatch(**changes), seed=seed, epoch=epoch)


def some(batch: Batch, indices: list[int]) -> Batch:
    return Batch(*(None if x is None else x[indices] for x in batch))


def changes_of(before: Tensor, after: Tensor) -> Tensor:
    """Which pictures differ, `(B,)`."""
    return (before != after).flatten(1).any(1)


@given(st.permutations(range(5)), st.integers(1, 5), st.integers(0, 4))
@settings(max_examples=20, deadline=None)
def test_a_draw_depends_on_nothing_but_seed_epoch_and_item(order: list[int], size: int, epoch: int) -> None:
    batch = scenes(5)
    expected = mismatch(batch, EVERYTHING, seed=3, epoch=epoch)
    for start in range(0, 5, size):
        part = order[start : start + size]
        changed = mismatch(some(batch, part), EVERYTHING, seed=3, epoch=epoch)
        assert torch.equal(changed.plate, expected.plate[part])
        assert torch.equal(changed.frame, expected.frame[part])


@pytest.mark.parametrize("name", NAMES)
def test_each_has_its_own_switch_and_draws_anew_each_epoch(name: str) -> None:
    batch = scenes(12)
    first = apply(batch, **{name: SURE[name]})
    touched = changes_of(batch.plate, first.plate) | changes_of(batch.frame, first.frame)
    assert touched.float().mean() > 0.8
    if name in IN_FRAME_ALONE:
        assert torch.equal(first.plate, batch.plate)
    if name == "shift":
        assert torch.equal(first.frame, batch.frame)
    for other in ({"seed": 2}, {"epoch": 1}):
        again = apply(batch, **other, **{name: SURE[name]})
        assert not (torch.equal(again.plate, first.plate) and torch.equal(again.frame, first.frame))
    for settings_ in ({}, {name: None}, {name: {"probability": 0}}):
        unchanged = apply(batch, **settings_)
        assert torch.equal(unchanged.plate, batch.plate)
        assert torch.equal(unchanged.frame, batch.frame)


@pytest.mark.parametrize("name", NAMES)
def test_masks_and_depths_stay_and_pictures_are_bytes(name: str) -> None:
    batch = scenes(3)
    changed = apply(batch, **{name: SURE[name]})
    for field in ("mask", "depth", "has_depth", "indices"):
        assert torch.equal(getattr(changed, field), getattr(batch, field))
    assert changed.plate.dtype == changed.frame.dtype == torch.uint8
    assert changed.plate.shape == changed.frame.shape == batch.plate.shape


@pytest.mark.parametrize("name", NAMES)
def test_a_share_of_the_items_is_changed(name: str) -> None:
    batch = scenes(400)
    changed = apply(batch, **{name: {"probability": 0.3}})
    touched = changes_of(batch.plate, changed.plate) | changes_of(batch.frame, changed.frame)
    assert touched.float().mean() == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize("name", IN_FRAME_ALONE)
def test_switching_one_off_leaves_the_draws_of_the_others(name: str) -> None:
    batch = scenes(8)
    others = EVERYTHING.model_copy(update={name: None})
    everything, without = (mismatch(batch, chosen, seed=1, epoch=0) for chosen in (EVERYTHING, others))
    assert torch.equal(everything.plate, without.plate)
    assert not torch.equal(everything.frame, without.frame)


def test_exposure_multiplies_both_by_one_factor_and_the_frame_by_another() -> None:
    batch = scenes(300, level=100)
    changed = apply(batch, exposure=Exposure(probability=1, limit=0.15, both=(0.6, 1.3)))
    plate, frame = (x[:, 0, 0, 0].float() / 100 for x in (changed.plate, changed.frame))
    assert (float(plate.min()), float(plate.max())) == pytest.approx((0.6, 1.3), abs=0.02)
    ratio = frame / plate
    assert (float(ratio.min()), float(ratio.max())) == pytest.approx((0.85, 1.15), abs=0.02)


def test_white_balance_adds_to_each_channel_of_the_frame() -> None:
    batch = scenes(300, level=100)
    difference = apply(batch, white_balance=WhiteBalance(probability=1, limit=0.06)).frame[:, :, 0, 0].float() - 100
    assert (float(difference.min()), float(difference.max())) == pytest.approx((-15.3, 15.3), abs=1)
    assert torch.corrcoef(difference.T)[0, 1].abs() < 0.2


def test_gamma_is_a_power() -> None:
    batch = scenes(200, level=64)
    level = apply(batch, gamma=Gamma(probability=1, limit=1.25)).frame[:, 0, 0, 0].float() / 255
    power = level.log() / np.log(64 / 255)
    assert (float(power.min()), float(power.max())) == pytest.approx((0.8, 1.25), abs=0.02)


def test_noise_is_of_two_pictures_apart_and_as_strong_as_it_says() -> None:
    batch = scenes(100, level=128)
    changed = apply(batch, noise=Noise(probability=1, plate=0.02, frame=0.04))
    plate, frame = (changed.plate - 128.0), (changed.frame - batch.frame.float())
    outside = frame[:, :, :, :20]
    assert plate.flatten(1).std(1).max() == pytest.approx(0.02 * 255, rel=0.1)
    assert outside.flatten(1).std(1).max() == pytest.approx(0.04 * 255, rel=0.1)
    assert abs(np.corrcoef(plate[:, :, :, :20].flatten(), outside.flatten())[0, 1]) < 0.01


def test_shift_and_turn_move_the_plate_as_far_as_the_settings_say() -> None:
    """On a slope to the right and one down, a shift is what it changes, and a turn is a slope across the other way."""
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.uint8) * 3
    slopes = torch.from_numpy(np.stack([columns, rows, rows])).expand(200, 3, SIZE, SIZE)
    batch = scenes(200)._replace(plate=slopes)
    inner = np.s_[:, :2, 8:-8, 8:-8]

    shifted = apply(batch, shift=Shift(probability=1, pixels=1.5, degrees=0)).plate
    moves = (slopes.float() - shifted.float())[inner].mean((2, 3)) / 3
    extremes = (float(moves.min()), float(moves.max()))
    assert extremes == pytest.approx((-1.5, 1.5), abs=0.2)  # bytes are thirds of a pixel
    assert torch.corrcoef(moves.T)[0, 1].abs() < 0.2

    turned = apply(batch, shift=Shift(probability=1, pixels=0, degrees=6)).plate.float()[inner]
    degrees = np.degrees(np.arctan((turned[:, 0, -1] - turned[:, 0, 0]).mean(1).numpy() / 3 / (SIZE - 17)))
    assert (degrees.min(), degrees.max()) == pytest.approx((-6, 6), abs=0.5)
    assert abs(float((turned - slopes.float()[inner]).mean())) < 0.1


def test_blur_takes_detail_from_either() -> None:
    batch = scenes(40)
    noisy = torch.randint(0, 256, batch.plate.shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    batch = batch._replace(plate=noisy, frame=noisy.clone())
    changed = apply(batch, blur=Blur(probability=1))
    plate, frame = (changes_of(noisy, x) for x in (changed.plate, changed.frame))
    assert not (plate & frame).any()
    assert plate.any()
    assert frame.any()
    assert (changed.plate.float().flatten(1).std(1) <= noisy.float().flatten(1).std(1) + 0.5).all()


def test_light_changes_smoothly_and_in_parts() -> None:
    batch = scenes(50, level=100)
    changed = apply(batch, light=Light(probability=1, limit=0.25))
    plates = changed.plate[:, 0].float()
    assert plates.min() == pytest.approx(75, abs=5)
    assert plates.max() == pytest.approx(125, abs=5)
    assert plates.min() >= 75
    assert plates.max() <= 125
    touched = changes_of(batch.plate, changed.plate)
    assert plates[touched].flatten(1).std(1).min() > 0.5
    assert (plates[:, 1:] - plates[:, :-1]).abs().max() <= 3


def test_something_moved_is_never_in_front_of_people() -> None:
    batch = scenes(80)
    changed = apply(batch, outdated=Outdated(probability=1))
    inside = batch.mask.expand_as(batch.frame) == 1
    assert torch.equal(changed.frame[inside], batch.frame[inside])
    plate, frame = changes_of(batch.plate, changed.plate), changes_of(batch.frame, changed.frame)
    assert not (plate & frame).any()
    assert plate.float().mean() == pytest.approx(0.5, abs=0.2)
    share = (changed.plate != batch.plate).any(1)[plate].float().mean((1, 2))
    assert share.max() < 0.35**2
    assert (plate | frame).float().mean() > 0.9


def test_camouflage_moves_the_foreground_alone_towards_what_is_behind_it() -> None:
    batch = scenes(40)
    inside = batch.mask.expand_as(batch.frame) == 1
    half, full = (
        apply(batch, camouflage=Camouflage(probability=1, share=(share, share))).frame for share in (0.5, 1.0)
    )

    def distance(frame: Tensor) -> float:
        return float((frame.float() - batch.plate.float()).abs()[inside].mean())

    assert torch.equal(half[~inside], batch.frame[~inside])
    assert distance(half) == pytest.approx(distance(batch.frame) / 2, rel=0.15)
    assert distance(full) < 0.2 * distance(batch.frame)


def test_jpeg_leaves_its_marks_and_keeps_the_picture() -> None:
    batch = scenes(40)
    coarse, fine = (
        apply(batch, jpeg=Jpeg(probability=1, quality=(quality, quality))).frame.float() for quality in (10, 95)
    )
    error = [float((x - batch.frame.float()).abs().mean()) for x in (coarse, fine)]
    assert error[0] > 2 * error[1]
    assert error[1] < 6


def test_a_share_of_the_items_is_changed_as_it_would_be_without_it_and_the_others_stay() -> None:
    batch = scenes(100)
    everywhere = mismatch(batch, EVERYTHING, seed=3, epoch=1)
    somewhere = mismatch(batch, EVERYTHING.model_copy(update={"share": 0.3}), seed=3, epoch=1)
    changed = changes_of(batch.frame, somewhere.frame)
    assert 15 <= int(changed.sum()) <= 45
    for before, all_changed, found in (
        (batch.plate, everywhere.plate, somewhere.plate),
        (batch.frame, everywhere.frame, somewhere.frame),
    ):
        assert torch.equal(found, torch.where(changed[:, None, None, None], all_changed, before))


def test_everything_is_every_switch_of_the_recipe() -> None:
    everything = Mismatch.everything()
    assert all(getattr(everything, name) is not None for name in NAMES)
    assert everything == Recipe(phases=[{"size": 32, "epochs": 1, "batch_size": 2}], mismatch=everything).mismatch


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("jpeg", {"quality": [90, 30]}, "runs backwards"),
        ("noise", {"frames": 0.1}, "Extra inputs"),
        ("exposure", {"both": [0, 1]}, "greater than 0"),
        ("chairs", {}, "Extra inputs"),
        ("share", 1.5, "less than or equal to 1"),
    ],
)
def test_a_setting_out_of_range_is_refused(key: str, value: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Mismatch.model_validate({key: value})
