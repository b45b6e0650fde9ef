"""The rehearsal of a training: what it says, and that it leaves nothing behind."""

import shutil
from collections import namedtuple
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from scenes import write_scenes
from trainings import small_recipe

from cleanplate import UserError
from cleanplate.data.modest import ModestFolder
from cleanplate.data.split import split_items
from cleanplate.models.masknet import MaskNet
from cleanplate.recipe import AdamW, Phase
from cleanplate.train.lr_range import lr_range
from cleanplate.train.rehearsal import format_rehearsal, rehearse

PHASES = (Phase(size=32, epochs=2, batch_size=6), Phase(size=64, epochs=3, batch_size=4))


def test_a_rehearsal_says_what_a_training_takes_and_writes_nothing(scenes: Path, tmp_path: Path) -> None:
    data, before = without_normalisation(scenes, tmp_path / "data"), contents(tmp_path)
    found = rehearse(small_recipe(phases=PHASES), data, run=tmp_path / "run")
    assert (found.train_items, sum(found.validation_items.values())) == (26, 22)
    assert [(phase.steps, phase.epochs) for phase in found.phases] == [(4, 2), (6, 3)]
    assert found.phases[0].items_per_second > found.phases[1].items_per_second > 0
    assert found.minutes >= 0
    assert 0 < found.memory_gb < found.memory_of_machine_gb
    assert contents(tmp_path) == before
    assert "phase 2  64x64, batches of 4, 3 epochs of 6 steps" in format_rehearsal(found)


def without_normalisation(scenes: Path, copy: Path) -> Path:
    """Return a copy of a data set as it is downloaded, nothing measured yet."""
    shutil.copytree(scenes, copy)
    (copy / "dataset.yaml").unlink()
    return copy


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("batch_size", [1, 6])  # with nothing else in its batch, or with others
def test_what_a_training_leaves_out_its_rehearsal_and_range_test_leave_out_too(batch_size: int, tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "data", plates=20)
    recipe = small_recipe(on_bad_item="skip", phases=(Phase(size=64, epochs=1, batch_size=batch_size),))
    folder = ModestFolder(data)
    bad = int(next(iter(split_items(folder, recipe.split).parts.values()))[0])  # both look at it
    (data / "bg_fg" / f"{folder.name(bad)}.png").write_bytes(b"text")
    sweep = partial(lr_range, sweeps=["1e-6:2e-6:3"], validation=True)
    assert rehearse(recipe, data, run=tmp_path / "run").minutes >= 0
    assert sweep(recipe, data, out=tmp_path / "range").sweeps
    for attempt in (partial(rehearse, run=tmp_path / "other"), partial(sweep, out=tmp_path / "other")):
        with pytest.raises(UserError, match="not a readable picture"):
            attempt(recipe.model_copy(update={"on_bad_item": "fail"}), data)


def test_a_part_of_nothing_but_such_items_is_named(tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "data", plates=20)
    recipe = small_recipe(split={"kind": "random", "items_per_part": 1}, on_bad_item="skip")
    folder = ModestFolder(data)
    (bad,) = split_items(folder, recipe.split).parts["seen"]
    (data / "bg_fg" / f"{folder.name(int(bad))}.png").write_bytes(b"text")
    with pytest.raises(UserError, match="data: none of the 1 items that are tried can be read"):
        rehearse(recipe, data, run=tmp_path / "run")


def test_disk_is_that_of_weights_and_states(scenes: Path) -> None:
    weights = sum(x.nbytes for x in MaskNet().state_dict().values()) / 1e9
    recipe = small_recipe(phases=PHASES, optimizer=AdamW(name="adamw"), keep_checkpoints=200)
    assert rehearse(recipe, scenes).disk_gb == round(weights * 6 + 3 * weights * 202, 2) > 0


def test_a_full_disk_is_foreseen(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1000))
    with pytest.raises(UserError, match=r"run: the run takes .* GB, and 0\.0 GB are free; make room"):
        rehearse(small_recipe(), scenes, run=tmp_path / "run")


@pytest.mark.parametrize(("room", "said"), [(3, "one of 2 does"), (1, "nor does one of 2")])
def test_a_batch_that_does_not_fit_is_named_with_one_that_does(
    room: int, said: str, scenes: Path, memory_for: Callable[..., None]
) -> None:
    memory_for(room, size=64)
    with pytest.raises(
        UserError, match=rf"small: phases\.1: a batch of 4 at 64x64 does not fit in memory, {said}; lower"
    ):
        rehearse(small_recipe(phases=PHASES), scenes)


def test_a_run_that_is_there_is_refused(run: Path, scenes: Path) -> None:
    with pytest.raises(UserError, match="holds a run already"):
        rehearse(small_recipe(), scenes, run=run)
