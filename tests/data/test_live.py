from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanplate.data.live import LiveComposition
from cleanplate.data.museum.cutouts import museum_cutouts
from cleanplate.data.source import Batch, BatchLoader
from cleanplate.data.split import split_items
from cleanplate.errors import UserError
from cleanplate.pictures import write_picture
from cleanplate.recipe import HeldOutSplit
from cleanplate.recipe_pictures import CastShadow, Clutter, Composition, ContactShadow, Fit, Recolour

PLAIN = Composition(items=60, recolour=None, fit=None, cast_shadow=None, contact_shadow=None)
"""Cutouts as they are, pasted and nothing else."""


def changed(base: Composition = PLAIN, **keys: object) -> Composition:
    return base.model_copy(update=keys)


def foreground(batch: Batch) -> torch.Tensor:
    return batch.mask[:, 0] > 0


def differing(batch: Batch) -> torch.Tensor:
    """Where frame and plate differ by more than what enlarging each by itself may round."""
    return ((batch.frame.int() - batch.plate.int()).abs() > 1).any(1)


@pytest.fixture(scope="module")
def source(plates: Path, cutouts: Path) -> LiveComposition:
    return LiveComposition(plates, cutouts, Composition(items=60))


@pytest.fixture
def grey_room(tmp_path: Path) -> Path:
    (tmp_path / "room").mkdir()
    write_picture(tmp_path / "room" / "grey.png", np.full((80, 120, 3), 150, np.uint8))
    return tmp_path / "room"


@pytest.fixture
def red_block(tmp_path: Path) -> Path:
    """One opaque cutout of 20x40 with a wide transparent rim."""
    block = np.zeros((80, 60, 4), np.uint8)
    block[20:60, 20:40] = (200, 30, 30, 255)
    (tmp_path / "blocks").mkdir()
    write_picture(tmp_path / "blocks" / "block.png", block)
    return tmp_path / "blocks"


@given(st.lists(st.integers(0, 59), min_size=1, max_size=5), st.sampled_from([32, 64]), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_an_item_depends_on_nothing_but_seed_epoch_and_its_number(
    source: LiveComposition, indices: list[int], size: int, epoch: int
) -> None:
    together = source.batch(indices, size, 7, epoch)
    for place, index in enumerate(indices):
        alone = source.batch([index], size, 7, epoch)
        assert torch.equal(alone.plate[0], together.plate[place])
        assert torch.equal(alone.frame[0], together.frame[place])
        assert torch.equal(alone.mask[0], together.mask[place])


@pytest.mark.parametrize("other", [(2, 0), (1, 1)])
def test_another_seed_or_epoch_composes_anew(source: LiveComposition, other: tuple[int, int]) -> None:
    first, second = source.batch([0, 1, 2], 64, 1, 0), source.batch([0, 1, 2], 64, *other)
    assert not torch.equal(first.plate, second.plate)
    assert not torch.equal(first.mask, second.mask)


def test_another_process_composes_the_same(source: LiveComposition) -> None:
    here, there = (
        list(BatchLoader(source, np.arange(6), size=32, batch_size=3, seed=4, epoch=2, workers=workers))
        for workers in (0, 2)
    )
    for ours, theirs in zip(here, there, strict=True):
        assert torch.equal(ours.frame, theirs.frame)


def test_a_batch_is_as_the_contract_says(source: LiveComposition) -> None:
    batch = source.batch(range(20), 64, 1, 0)
    assert batch.plate.shape == batch.frame.shape == (20, 3, 64, 64)
    assert batch.plate.dtype == batch.frame.dtype == torch.uint8
    assert batch.mask.shape == batch.depth.shape == (20, 1, 64, 64)
    assert batch.mask.dtype == torch.float32
    assert batch.mask.min() == 0
    assert batch.mask.max() == 1
    assert not batch.has_depth.any()
    assert batch.valid is None
    assert batch.indices.tolist() == list(range(20))


def test_without_shadows_frame_is_plate_where_nobody_is(plates: Path, cutouts: Path) -> None:
    batch = LiveComposition(plates, cutouts, PLAIN).batch(range(60), 64, 1, 0)
    differs = differing(batch)
    assert not (differs & ~foreground(batch)).any()
    assert differs[foreground(batch)].float().mean() > 0.9


def test_the_mask_is_the_cutout_and_its_soft_edge_mixes_the_two(grey_room: Path, red_block: Path) -> None:
    source = LiveComposition(grey_room, red_block, changed(empty=0, people=1, cut=0, height=(0.5, 0.5)))
    batch = source.batch(range(20), 64, 1, 0)
    expected = batch.mask * torch.tensor([200, 30, 30])[:, None, None] + (1 - batch.mask) * 150
    assert (batch.frame - expected).abs().max() <= 2
    area = batch.mask.sum((1, 2, 3))
    assert area.numpy() == pytest.approx(32 * 16, rel=0.1)  # half of 64 high, and half as wide as high


def test_nobody_is_sharper_than_the_plate(grey_room: Path, cutouts: Path) -> None:
    source = LiveComposition(grey_room, cutouts, Composition(items=20, crop=(1, 1)))
    composed, enlarged = (source.batch(range(20), size, 1, 0) for size in (80, 240))
    for name, rounding in (("plate", 1), ("frame", 1), ("mask", 1 / 255)):
        small, large = (getattr(batch, name).float().permute(0, 2, 3, 1).numpy() for batch in (composed, enlarged))
        expected = np.stack([cv2.resize(picture, (240, 240)) for picture in small])
        np.testing.assert_allclose(large, expected.reshape(large.shape), atol=rounding)


def test_heights_run_from_least_to_greatest(grey_room: Path, red_block: Path) -> None:
    source = LiveComposition(grey_room, red_block, changed(items=200, empty=0, people=1, cut=0))
    rows = (source.batch(range(200), 64, 1, 0).mask[:, 0] > 0.5).any(2).sum(1) / 64
    assert 0.1 < rows.min() < 0.22
    assert 0.85 < rows.max() < 1


def test_some_are_cut_by_the_border_and_without_the_setting_none(grey_room: Path, red_block: Path) -> None:
    def whole(cut: float) -> torch.Tensor:
        settings = changed(items=200, empty=0, people=1, cut=cut, height=(0.5, 0.5))
        batch = LiveComposition(grey_room, red_block, settings).batch(range(200), 64, 1, 0)
        return batch.mask.sum((1, 2, 3)) > 0.9 * 32 * 16

    assert whole(0).all()
    assert 0.2 < whole(1).float().mean() < 0.8


def test_people_and_empty_frames_are_as_many_as_the_settings_say(plates: Path, cutouts: Path) -> None:
    counts = np.array([len(names) for names in LiveComposition(plates, cutouts, changed(items=2000)).cutouts()])
    assert (counts == 0).mean() == pytest.approx(0.1, abs=0.03)
    assert (counts == 1).mean() == pytest.approx(0.45, abs=0.05)
    assert (counts == 2).mean() == pytest.approx(0.45, abs=0.05)
    crowd = LiveComposition(plates, cutouts, changed(people=9, empty=0)).cutouts()
    assert {len(names) for names in crowd} == {1, 2, 3, 4}
    assert all(len(set(names)) == len(names) for names in crowd)


def test_an_item_keeps_its_plate_and_its_people_in_every_epoch(tmp_path: Path) -> None:
    for kind, shape in (("plates", (64, 64, 3)), ("cutouts", (40, 20, 4))):
        (tmp_path / kind).mkdir()
        for number in range(4):
            picture = np.full(shape, 255, np.uint8)
            picture[..., :3] = 60 * number + (10 if kind == "plates" else 40)
            write_picture(tmp_path / kind / f"{number}.png", picture)
    source = LiveComposition(tmp_path / "plates", tmp_path / "cutouts", changed(items=40, people=1, empty=0))
    for epoch in range(3):
        batch = source.batch(range(40), 32, epoch + 1, epoch)
        for item, (plate, people) in enumerate(zip(source.plates(), source.cutouts(), strict=True)):
            assert (batch.plate[item] == 60 * int(plate.decode()[0]) + 10).all()
            inside = batch.mask[item, 0] == 1
            assert (batch.frame[item][:, inside] == 60 * int(people[0][0]) + 40).all()


def test_a_held_out_split_trains_on_no_plate_and_no_cutout_that_it_keeps(plates: Path, cutouts: Path) -> None:
    source = LiveComposition(plates, cutouts, changed(items=400))
    split = split_items(source, HeldOutSplit())
    names, people = source.plates(), source.cutouts()
    trained_plates = set(names[split.train])
    trained_people = {name for item in split.train for name in people[item]}
    assert trained_plates.isdisjoint(names[split.parts["new_both"]])
    assert trained_people.isdisjoint(name for item in split.parts["new_both"] for name in people[item])


def test_a_shadow_darkens_the_frame_alone_and_leaves_the_mask(grey_room: Path, red_block: Path) -> None:
    for key, shadow in (
        ("cast_shadow", CastShadow(probability=1, darkness=(0.5, 0.5))),
        ("contact_shadow", ContactShadow(probability=1, darkness=(0.5, 0.5))),
    ):
        settings = changed(items=40, empty=0, people=1, cut=0, height=(0.3, 0.5))
        without = LiveComposition(grey_room, red_block, settings).batch(range(40), 64, 1, 0)
        batch = LiveComposition(grey_room, red_block, changed(settings, **{key: shadow})).batch(range(40), 64, 1, 0)
        assert torch.equal(batch.mask, without.mask)
        assert torch.equal(batch.plate, without.plate)
        light = (batch.frame[:, 1] / 150)[~foreground(batch)]
        assert light.min() == pytest.approx(0.5, abs=0.1)
        assert light.max() <= 1
        shaded = (batch.frame[:, 1] < 140) & ~foreground(batch)
        assert (shaded.flatten(1).sum(1) > 4).float().mean() > 0.8


def test_recolouring_stays_within_the_settings(grey_room: Path, red_block: Path) -> None:
    shades = changed(items=300, empty=0, people=1, cut=0, height=(0.5, 0.5))
    brighter = Recolour(probability=1, gain=0.2, offset=0, saturation=0, hue=0)
    source = LiveComposition(grey_room, red_block, changed(shades, recolour=brighter))
    batch = source.batch(range(300), 32, 1, 0)
    gains = np.array(
        [float(f[0, 0][m[0] == 1].float().mean()) / 200 for f, m in zip(batch.frame[:, None], batch.mask, strict=True)]
    )
    assert gains.min() == pytest.approx(0.8, abs=0.02)
    assert gains.max() == pytest.approx(1.2, abs=0.02)


def test_fitting_brings_a_cutout_nearer_to_the_plate(grey_room: Path, red_block: Path) -> None:
    settings = changed(items=30, empty=0, people=1, cut=0, height=(0.5, 0.5), fit=Fit(probability=1, share=(0.5, 0.5)))
    batch = LiveComposition(grey_room, red_block, settings).batch(range(30), 64, 1, 0)
    inside = (batch.mask == 1).expand_as(batch.frame)
    colours = torch.where(inside, batch.frame.float(), torch.nan).nanmean((0, 2, 3))
    assert colours.numpy() == pytest.approx([175, 90, 90], abs=2)


def test_clutter_stands_in_plate_and_frame_and_leaves_mask_and_all_other_draws(plates: Path, cutouts: Path) -> None:
    clutter = Clutter(probability=0.5, pieces=4)
    calm = LiveComposition(plates, cutouts, PLAIN).batch(range(60), 64, 1, 0)
    busy = LiveComposition(plates, cutouts, changed(clutter=clutter)).batch(range(60), 64, 1, 0)
    assert torch.equal(busy.mask, calm.mask)
    filled = (busy.plate != calm.plate).flatten(1).any(1)
    assert 0.3 < filled.float().mean() < 0.7
    differs = differing(busy)
    assert not (differs & ~foreground(busy)).any()


def test_without_cutouts_the_museums_figures_stand_in_the_plates(plates: Path) -> None:
    source = LiveComposition(plates, None, Composition(items=20, figures=5, empty=0))
    assert {name for names in source.cutouts() for name in names} <= {f"fg00{n}" for n in range(1, 6)}
    assert (source.batch(range(20), 64, 1, 0).mask.amax((1, 2, 3)) > 0.9).float().mean() > 0.8


def test_museum_cutouts_are_people_on_nothing() -> None:
    people = museum_cutouts(6, seed=3, size=96)
    for person, again in zip(people, museum_cutouts(6, seed=3, size=96), strict=True):
        assert np.array_equal(person, again)
        alpha = person[..., 3]
        assert alpha[0].any()
        assert alpha[-1].any()
        assert 0.1 < (alpha == 255).mean() < 0.9
        assert ((alpha > 0) & (alpha < 255)).any()
        assert person.shape[0] > 40
        assert person[alpha == 255][:, :3].std() > 3
    assert not np.array_equal(people[0], museum_cutouts(1, seed=4, size=96)[0])


def test_some_museum_cutouts_lie_or_sit() -> None:
    shapes = [person.shape[0] / person.shape[1] for person in museum_cutouts(60, seed=3, size=64)]
    assert 0.05 < sum(shape < 1 for shape in shapes) / 60 < 0.4
    assert sum(shape > 1.8 for shape in shapes) / 60 > 0.3


def test_the_fingerprint_knows_pictures_and_settings(grey_room: Path, red_block: Path) -> None:
    first = LiveComposition(grey_room, red_block, PLAIN).fingerprint()
    assert LiveComposition(grey_room, red_block, PLAIN).fingerprint() == first
    assert LiveComposition(grey_room, red_block, changed(seed=2)).fingerprint() != first
    write_picture(grey_room / "grey.png", np.full((80, 120, 3), 151, np.uint8))
    assert LiveComposition(grey_room, red_block, PLAIN).fingerprint() != first


def test_pictures_that_do_not_fit_in_memory_are_read_again(plates: Path, cutouts: Path) -> None:
    expected = LiveComposition(plates, cutouts, PLAIN).batch(range(20), 64, 1, 0)
    source = LiveComposition(plates, cutouts, PLAIN, room=20_000)
    assert torch.equal(source.batch(range(20), 64, 1, 0).frame, expected.frame)


def test_files_that_cannot_be_used_are_named_and_left_out(grey_room: Path, red_block: Path) -> None:
    (grey_room / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    write_picture(red_block / "opaque.png", np.zeros((8, 8, 3), np.uint8))
    source = LiveComposition(grey_room, red_block, PLAIN)
    assert [Path(fault.split(":")[0]).name for fault in source.skipped] == ["broken.jpg", "opaque.png"]
    assert set(source.plates()) == {b"grey"}
    (grey_room / "grey.png").unlink()
    with pytest.raises(UserError, match="none of its 1 pictures can be used as a plate"):
        LiveComposition(grey_room, red_block, PLAIN)


def test_items_can_be_read_and_named_one_by_one(source: LiveComposition) -> None:
    item = source.read(3)
    assert item.plate.shape == item.frame.shape == (224, 224, 3)
    assert item.mask.shape == (224, 224)
    assert item.depth is None
    assert source.name(3).startswith(f"{source.plates()[3].decode()} with ")
