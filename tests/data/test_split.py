from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cleanplate.data.modest import ModestFolder
from cleanplate.data.split import split_items
from cleanplate.errors import UserError
from cleanplate.recipe import HeldOutSplit, RandomSplit

RANDOM, HELD_OUT = RandomSplit(kind="random"), HeldOutSplit()


def write_names(folder: Path, people: list[tuple[str, tuple[str, ...]]]) -> ModestFolder:
    """A data set of names alone: for each item its plate and its cutouts."""
    for name in ("bg", "bg_fg", "bg_fg_mask"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = [f"{plate}\tframe{number}\tmask{number}\t\n" for number, (plate, _) in enumerate(people)]
    rows = [f"frame{number},{plate},{' '.join(who)}\n" for number, (plate, who) in enumerate(people)]
    (folder / "file_map.txt").write_text("".join(lines))
    (folder / "items.csv").write_text("frame,plate,cutouts\n" + "".join(rows))
    return ModestFolder(folder)


def pairs(plates: int, cutouts: int, places: int) -> list[tuple[str, tuple[str, ...]]]:
    return [(f"bg{b}", (f"fg{f}",)) for b in range(plates) for f in range(cutouts) for _ in range(places)]


@given(
    plates=st.integers(2, 8),
    cutouts=st.integers(2, 8),
    crowds=st.integers(0, 40),
    seed=st.integers(0, 1000),
    share=st.floats(0.05, 0.6),
)
def test_what_is_held_out_is_kept_from_training(
    tmp_path_factory: pytest.TempPathFactory, plates: int, cutouts: int, crowds: int, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    people = pairs(plates, cutouts, 2)
    for _ in range(crowds):
        who = rng.permutation(cutouts)[: rng.integers(0, 4)]
        people.append((f"bg{rng.integers(plates)}", tuple(f"fg{number}" for number in who)))
    folder = write_names(tmp_path_factory.mktemp("split"), people)
    try:
        split = split_items(folder, HeldOutSplit(share=share, seed=seed))
    except UserError:  # nothing left to train on: another test's matter
        return

    known_plates = {people[index][0] for index in split.train}
    known = {name for index in split.train for name in people[index][1]}
    used = np.concatenate([split.train, *split.parts.values()])
    assert len(set(used.tolist())) == len(used)
    new_plates = {plate for plate, _ in people} - known_plates
    for part, indices in split.parts.items():
        for plate, who in (people[index] for index in indices):
            assert (plate in new_plates) == (part in ("new_plate", "new_both"))
            assert known.isdisjoint(who) if part in ("new_cutout", "new_both") else True
            assert who or part not in ("new_cutout", "new_both")
    for part in ("new_cutout", "new_both"):
        strangers = {name for index in split.parts.get(part, []) for name in people[index][1]}
        friends = {n for p in ("seen", "new_plate") for i in split.parts.get(p, []) for n in people[i][1]}
        assert strangers.isdisjoint(friends)


def test_a_fifth_of_plates_and_cutouts_is_held_out(tmp_path: Path) -> None:
    people = pairs(10, 20, 2)
    split = split_items(write_names(tmp_path, people), HELD_OUT)
    assert len({people[index][0] for index in split.parts["new_both"]}) == 2
    assert len({people[index][1] for index in split.parts["new_both"]}) == 4
    sizes = {name: len(part) for name, part in split.parts.items()}
    assert sizes == {"seen": 26, "new_plate": 64, "new_cutout": 64, "new_both": 16}
    assert len(split.train) == 8 * 16 * 2 - 26


def test_frames_of_known_and_new_people_are_left_out(tmp_path: Path) -> None:
    everybody = tuple(f"fg{number}" for number in range(5))
    people = [*pairs(5, 5, 4), *[(f"bg{number}", everybody) for number in range(5)]]
    split = split_items(write_names(tmp_path, people), HELD_OUT)
    used = np.concatenate([split.train, *split.parts.values()])
    assert used.max() < 100
    assert len(used) == 100


def test_random_is_70_and_30_percent(tmp_path: Path) -> None:
    split = split_items(write_names(tmp_path, pairs(5, 5, 8)), RANDOM)
    assert len(split.train) == 140
    assert list(split.parts) == ["seen"]
    assert sorted([*split.train, *split.parts["seen"]]) == list(range(200))


@pytest.mark.parametrize("settings", [RANDOM, HELD_OUT])
def test_split_depends_on_its_seed(dataset: Path, settings: RandomSplit | HeldOutSplit) -> None:
    folder = ModestFolder(dataset)
    first, again, other = (split_items(folder, settings.model_copy(update={"seed": seed})) for seed in (1, 1, 2))
    assert np.array_equal(first.train, again.train)
    assert all(np.array_equal(part, again.parts[name]) for name, part in first.parts.items())
    assert not np.array_equal(first.train, other.train)


@pytest.mark.parametrize("settings", [RANDOM, HELD_OUT])
def test_training_items_and_parts_may_be_cut_short(tmp_path: Path, settings: RandomSplit | HeldOutSplit) -> None:
    folder = write_names(tmp_path, pairs(10, 10, 4))
    whole = split_items(folder, settings)
    short = split_items(folder, settings.model_copy(update={"train_items": 7, "items_per_part": 5}))
    assert np.array_equal(short.train, whole.train[:7])
    assert all(np.array_equal(short.parts[name], part[:5]) for name, part in whole.parts.items())


@pytest.mark.parametrize(
    ("people", "settings", "words"),
    [
        (pairs(1, 1, 1), RANDOM, "its 1 items are too few for the split `random`"),
        (pairs(2, 1, 1), HELD_OUT, "too few for the split `held-out`"),
        (pairs(1, 5, 5), HELD_OUT, "has one plate only"),
    ],
)
def test_too_few_items_are_refused(tmp_path: Path, people, settings, words: str) -> None:
    with pytest.raises(UserError, match=words):
        split_items(write_names(tmp_path, people), settings)
