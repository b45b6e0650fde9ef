from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cleanplate.data.augment import augment_, flip
from cleanplate.data.source import Batch
from cleanplate.recipe import Augmentation, Contrast, HorizontalFlip, HueSaturationValue

BOTH = Augmentation(hue_saturation_value=HueSaturationValue(), contrast=Contrast())


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def augment(plate: Tensor, frame: Tensor, settings: Augmentation, **draw: Any) -> tuple[Tensor, Tensor]:
    """What `augment_` makes of copies of plates and frames."""
    plate, frame = plate.clone(), frame.clone()
    augment_(plate, frame, settings, **draw)
    return plate, frame


def shifted(pictures: Tensor, *, hue: float = 0, saturation: float = 0, value: float = 0, seed: int = 1) -> Tensor:
    """The pictures, each shifted for sure, by up to so much."""
    settings = HueSaturationValue(probability=1, hue=hue, saturation=saturation, value=value)
    indices = range(len(pictures))
    return augment(
        pictures, pictures, Augmentation(hue_saturation_value=settings), seed=seed, epoch=0, indices=indices
    )[0]


def hsv(picture: Tensor) -> np.ndarray:
    """Hue of 0 to 360, saturation and value of 0 to 1, `(H, W, 3)`, by OpenCV."""
    return cv2.cvtColor(picture.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV)


@given(st.permutations(range(6)), st.integers(1, 6), st.integers(0, 5))
def test_a_draw_depends_on_nothing_but_seed_epoch_and_item(order: list[int], size: int, epoch: int) -> None:
    plate, frame = pictures(6), pictures(6, seed=1)
    expected = augment(plate, frame, BOTH, seed=3, epoch=epoch, indices=range(6))
    for start in range(0, 6, size):
        some = order[start : start + size]
        changed = augment(plate[some], frame[some], BOTH, seed=3, epoch=epoch, indices=some)
        assert torch.allclose(changed[0], expected[0][some], atol=1e-6)
        assert torch.allclose(changed[1], expected[1][some], atol=1e-6)


@pytest.mark.parametrize("other", [{"seed": 2, "epoch": 0}, {"seed": 1, "epoch": 1}])
def test_another_seed_or_epoch_draws_anew(other: dict[str, int]) -> None:
    plate = pictures(16)
    first = augment(plate, plate, BOTH, seed=1, epoch=0, indices=range(16))[0]
    assert not torch.allclose(first, augment(plate, plate, BOTH, **other, indices=range(16))[0])


def test_plate_and_frame_are_changed_each_by_its_own_draw() -> None:
    same = pictures(1)
    settings = Augmentation(hue_saturation_value=HueSaturationValue(probability=1), contrast=Contrast(probability=1))
    plate, frame = augment(same, same, settings, seed=1, epoch=0, indices=[0])
    assert not torch.allclose(plate, frame, atol=0.01)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_processor_and_an_accelerator_change_pictures_alike(layout: torch.memory_format) -> None:
    settings = Augmentation(
        hue_saturation_value=HueSaturationValue(probability=0.7, hue=60, saturation=120, value=80),
        contrast=Contrast(probability=0.5, limit=0.5),
    )
    plate = pictures(64).contiguous(memory_format=layout)
    changed = augment(plate, plate, settings, seed=1, epoch=0, indices=range(64))[0]
    exact = augment(plate.double(), plate.double(), settings, seed=1, epoch=0, indices=range(64))[0]  # by the other way
    assert changed.stride() == plate.stride()
    assert torch.allclose(changed.double(), exact, atol=2e-5)


def test_off_changes_nothing() -> None:
    plate, frame = pictures(4), pictures(4, seed=1)
    never = Augmentation(hue_saturation_value=HueSaturationValue(probability=0), contrast=Contrast(probability=0))
    for settings in (Augmentation(), never):
        changed = augment(plate, frame, settings, seed=1, epoch=0, indices=range(4))
        assert torch.equal(changed[0], plate)
        assert torch.equal(changed[1], frame)


def test_a_share_of_the_pictures_is_changed() -> None:
    plate = torch.full((2000, 3, 2, 2), 0.4)
    for settings in (
        Augmentation(contrast=Contrast(probability=0.25)),
        Augmentation(hue_saturation_value=HueSaturationValue(probability=0.25)),
    ):
        for changed in augment(plate, plate, settings, seed=1, epoch=0, indices=range(2000)):
            assert (changed != plate).flatten(1).any(1).float().mean() == pytest.approx(0.25, abs=0.04)


def test_values_stay_within_0_and_1() -> None:
    settings = Augmentation(
        hue_saturation_value=HueSaturationValue(probability=1, hue=90, saturation=255, value=255),
        contrast=Contrast(probability=1, limit=0.9),
    )
    for changed in augment(pictures(64), pictures(64), settings, seed=1, epoch=0, indices=range(64)):
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert torch.isfinite(changed).all()


def test_hue_turns_all_colours_of_a_picture_alike() -> None:
    before, after = pictures(32), shifted(pictures(32), hue=20)
    turns = []
    for old, new in zip(before, after, strict=True):
        old_hsv, new_hsv = hsv(old), hsv(new)
        assert np.allclose(old_hsv[..., 1:], new_hsv[..., 1:], atol=1e-3)
        turn = (new_hsv[..., 0] - old_hsv[..., 0] + 180) % 360 - 180
        clear = old_hsv[..., 1] * old_hsv[..., 2] > 0.1  # the hue of a grey is not to be told
        assert np.ptp(turn[clear]) < 0.1
        turns.append(float(turn[clear].mean()))
    assert max(map(abs, turns)) <= 40.1  # 20 of 180 half degrees, as OpenCV counts
    assert min(turns) < -20
    assert max(turns) > 20


def test_red_turned_by_hand() -> None:
    red = torch.tensor([0.8, 0.2, 0.2])[None, :, None, None].expand(16, 3, 2, 2)
    for colour in shifted(red, hue=30)[:, :, 0, 0]:  # up to 60 degrees: to yellow or magenta, of equal value and grey
        assert colour.max() == pytest.approx(0.8, abs=1e-5)
        assert colour.min() == pytest.approx(0.2, abs=1e-5)
        assert colour[0] == pytest.approx(0.8, abs=1e-5)


def test_value_lifts_a_grey_by_one_amount() -> None:
    grey = torch.full((200, 3, 4, 4), 0.5)
    lifts = (shifted(grey, value=20) - 0.5).flatten(1)
    assert torch.allclose(lifts, lifts[:, :1].expand_as(lifts), atol=1e-6)
    assert lifts.abs().max() <= 20 / 255 + 1e-6
    assert lifts.max() > 0.9 * 20 / 255
    assert lifts.min() < -0.9 * 20 / 255


def test_saturation_keeps_hue_and_value() -> None:
    colour = torch.tensor([0.8, 0.5, 0.4])[None, :, None, None].expand(200, 3, 2, 2)
    found = np.stack([hsv(new)[0, 0] for new in shifted(colour, saturation=30)])
    assert found[:, 0] == pytest.approx(15, abs=0.1)
    assert found[:, 2] == pytest.approx(0.8, abs=1e-4)
    assert np.abs(found[:, 1] - 0.5).max() <= 30 / 255 + 1e-4
    assert found[:, 1].std() > 0.04


def test_contrast_multiplies_by_one_factor() -> None:
    plate = pictures(200) * 0.8
    changed = augment(plate, plate, Augmentation(contrast=Contrast(probability=1)), seed=1, epoch=0, indices=range(200))
    factors = (changed[0] / plate).flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors), rtol=1e-4)
    assert factors.min() >= 0.8 - 1e-4
    assert factors.max() <= 1.2 + 1e-4
    assert factors.std() > 0.1


def items(count: int) -> Batch:
    """A batch whose every picture names its item and its column."""
    column = torch.arange(8).expand(count, 1, 8, 8) + 8 * torch.arange(count)[:, None, None, None]
    colour = column.expand(count, 3, 8, 8).to(torch.uint8)
    return Batch(
        plate=colour,
        frame=colour + 1,
        mask=column / 100,
        depth=column / 50,
        has_depth=torch.ones(count, dtype=torch.bool),
        valid=column % 8 > 2,
        indices=torch.arange(count),
    )


def test_a_flip_mirrors_the_whole_item() -> None:
    before, after = items(5), flip(items(5), HorizontalFlip(probability=1), seed=1, epoch=0)
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new, old.flip(-1) if old.ndim == 4 else old)


def test_half_of_the_items_are_mirrored_each_epoch_others() -> None:
    before = items(400)
    chosen = [
        (flip(before, HorizontalFlip(), seed=1, epoch=epoch).frame != before.frame).flatten(1).any(1)
        for epoch in range(3)
    ]
    assert torch.stack(chosen).float().mean() == pytest.approx(0.5, abs=0.05)
    assert not torch.equal(chosen[0], chosen[1])


def test_whether_an_item_is_mirrored_depends_on_nothing_but_seed_epoch_and_item() -> None:
    expected = flip(items(6), HorizontalFlip(), seed=3, epoch=2)
    for index in range(6):
        alone = Batch(*(x[[index]] for x in items(6)))  # every field is set
        assert torch.equal(flip(alone, HorizontalFlip(), seed=3, epoch=2).plate[0], expected.plate[index])


def test_without_padding_or_without_the_setting_a_flip_does_no_harm() -> None:
    unpadded = items(3)._replace(valid=None)
    assert flip(unpadded, HorizontalFlip(probability=1), seed=1, epoch=0).valid is None
    assert flip(unpadded, None, seed=1, epoch=0) is unpadded
