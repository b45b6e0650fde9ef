"""Several sources as one: each item as its source has it, and a split that holds for all of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import FAR, write_scenes

from cleanplate.data.live import LiveComposition
from cleanplate.data.mixed import Mixed
from cleanplate.data.modest import ModestFolder
from cleanplate.data.source import DataSet
from cleanplate.data.split import split_items
from cleanplate.data.statistics import normalisation_of
from cleanplate.recipe import HeldOutSplit
from cleanplate.recipe_pictures import Composition

LIVE_ITEMS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ModestFolder:
    """48 items, wider than high, all with metric depth."""
    return ModestFolder(write_scenes(tmp_path_factory.mktemp("mixed") / "scenes", shape=(48, 64)))


@pytest.fixture(scope="module")
def live(folder: ModestFolder, cutouts: Path) -> LiveComposition:
    return LiveComposition(folder.path / "bg", cutouts, Composition(items=LIVE_ITEMS), keep=128)


@pytest.fixture(scope="module")
def mixed(folder: ModestFolder, live: LiveComposition) -> Mixed:
    return Mixed([folder, live])


def names_of(source: DataSet, items: np.ndarray) -> tuple[set[bytes], set[str]]:
    """Return the plates and the cutouts of items."""
    people = source.cutouts()
    return set(source.plates()[items].tolist()), {name for item in items for name in people[item]}


@settings(max_examples=20, deadline=None)
@given(items=st.lists(st.integers(0, 48 + LIVE_ITEMS - 1), min_size=1, max_size=12), epoch=st.integers(0, 3))
def test_every_item_is_as_its_source_has_it_in_the_order_asked_for(
    items: list[int], epoch: int, folder: ModestFolder, live: LiveComposition, mixed: Mixed
) -> None:
    batch = mixed.batch(items, 32, 7, epoch)
    assert batch.indices.tolist() == items
    for row, item in enumerate(items):
        alone = folder.batch([item], 32, 7, epoch) if item < 48 else live.batch([item - 48], 32, 7, epoch)
        for field in ("plate", "frame", "mask", "depth", "has_depth"):
            assert getattr(batch, field)[row].equal(getattr(alone, field)[0]), field
        if batch.valid is None:
            assert alone.valid is None
        else:
            assert batch.valid[row].equal(torch.ones_like(alone.mask[0] > 0) if alone.valid is None else alone.valid[0])


def test_items_are_read_and_named_by_their_source(folder: ModestFolder, live: LiveComposition, mixed: Mixed) -> None:
    assert len(mixed) == 48 + LIVE_ITEMS
    for item, source, own in ((0, folder, 0), (47, folder, 47), (48, live, 0), (107, live, 59)):
        assert mixed.name(item) == source.name(own)
        assert np.array_equal(mixed.read(item).frame, source.read(own).frame)
    assert mixed.labelled().tolist() == [True] * 48 + [False] * LIVE_ITEMS
    assert mixed.card.depth.far == FAR


@pytest.mark.parametrize("seed", range(4))
def test_what_is_held_out_of_one_source_is_trained_on_in_neither(
    seed: int, folder: ModestFolder, live: LiveComposition, mixed: Mixed
) -> None:
    split = split_items(mixed, HeldOutSplit(share=0.3, seed=seed))
    sources: list[tuple[DataSet, int, int]] = [(folder, 0, 48), (live, 48, 48 + LIVE_ITEMS)]
    trained_plates, trained_people = set[bytes](), set[str]()
    for source, start, end in sources:
        own = split.train[(split.train >= start) & (split.train < end)] - start
        assert len(own)
        plates, people = names_of(source, own)
        trained_plates |= plates
        trained_people |= people
    for part, items in split.parts.items():
        for source, start, end in sources:
            plates, people = names_of(source, items[(items >= start) & (items < end)] - start)
            if part in ("new_plate", "new_both"):
                assert plates.isdisjoint(trained_plates)
            if part in ("new_cutout", "new_both"):
                assert people.isdisjoint(trained_people)
    new_plate = split.parts["new_plate"]
    assert (new_plate < 48).any()
    assert (new_plate >= 48).any()
    used = np.concatenate([split.train, *split.parts.values()])
    assert len(set(used.tolist())) == len(used)


@pytest.mark.parametrize("own", [False, True])
def test_a_composed_data_set_knows_its_plates_and_cutouts_by_number_and_by_file(
    own: bool, dataset: Path, plates: Path, cutouts: Path
) -> None:
    folders = (dataset / "bg", dataset / "fg") if own else (plates, cutouts)
    live = LiveComposition(*folders, Composition(items=200))
    mixed = Mixed([ModestFolder(dataset), live])
    known, people = names_of(mixed, np.arange(48))
    assert names_of(mixed, np.arange(48, 248)) == (known, people)
    assert (len(known), len(people)) == (6, 4)
    split = split_items(mixed, HeldOutSplit(share=0.4))
    trained_plates, trained_people = names_of(mixed, split.train)
    seen_live = {live.plates()[item - 48] for item in split.parts["new_both"] if item >= 48}
    assert seen_live.isdisjoint(live.plates()[item - 48] for item in split.train if item >= 48)
    held_out, strangers = names_of(mixed, split.parts["new_both"])
    assert held_out.isdisjoint(trained_plates)
    assert strangers.isdisjoint(trained_people)


def test_normalisation_is_that_of_all_items(dataset: Path, plates: Path, cutouts: Path) -> None:
    live = LiveComposition(plates, cutouts, Composition(items=20), keep=128)
    folder = ModestFolder(dataset)
    folder.card.normalisation = None
    mixed = Mixed([folder, live])
    found = normalisation_of(mixed)
    for field in ("plate", "frame"):
        pictures = np.stack([getattr(mixed.read(item), field) for item in range(len(mixed))]) / 255
        assert getattr(found, field).mean == pytest.approx(pictures.mean((0, 1, 2)), abs=1e-4)
        assert getattr(found, field).std == pytest.approx(pictures.std((0, 1, 2)), abs=1e-4)


def test_the_fingerprint_is_of_both_sources(folder: ModestFolder, live: LiveComposition, cutouts: Path) -> None:
    more = LiveComposition(folder.path / "bg", cutouts, Composition(items=LIVE_ITEMS + 1))
    known = [folder.fingerprint(), live.fingerprint(), Mixed([folder, live]).fingerprint()]
    assert len({*known, Mixed([folder, more]).fingerprint()}) == 4
    assert Mixed([folder, live]).fingerprint() == known[-1]


@given(items=st.integers(1, 100_000), share=st.floats(0.01, 0.99))
def test_the_share_is_of_all_items(items: int, share: float) -> None:
    composed = Composition(share=share).beside(items).items
    assert composed >= 1
    assert abs(composed - share * (composed + items)) <= 1
