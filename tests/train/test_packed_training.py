"""Training from packs: the bits are those of training from pictures."""

import shutil
from pathlib import Path

import pytest
from disks import Usage, fill_up
from scenes import write_scenes
from trainings import equal_weights, read_rows, small_recipe

from cleanplate import UserError, evaluate, resume, train
from cleanplate.data.modest import ModestFolder
from cleanplate.data.opening import open_data
from cleanplate.data.packing import pack
from cleanplate.data.split import split_items
from cleanplate.recipe import Phase
from cleanplate.train.packs import packs_to_make

PHASES = (Phase(size=32, epochs=2, batch_size=6), Phase(size=64, epochs=1, batch_size=4))


def test_a_training_gives_the_same_bits_from_packs_pictures_and_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_scenes(tmp_path / "data")
    recipe = small_recipe(phases=PHASES)
    train(recipe, data, run=tmp_path / "pictures", pack=False)
    assert not (data / "packs").exists()
    train(recipe, data, run=tmp_path / "packs")
    said = capsys.readouterr().err
    assert "packs/32: packing 48 items at 32x32, 0.00 GB, about" in said
    assert "read from packs of 32x32, 64x64; --no-pack reads the pictures instead" in said
    train(recipe, data, run=tmp_path / "both", epochs_now=1)
    resume(tmp_path / "both", pack=False, epochs_now=1)
    pack(data, tmp_path / "alone", sizes=[64])
    resume(tmp_path / "both", tmp_path / "alone")
    for other in ("packs", "both"):
        assert equal_weights(tmp_path / "pictures", tmp_path / other)
        assert read_rows(tmp_path / "pictures") == read_rows(tmp_path / other)
    one, other = (evaluate(tmp_path / "both", folder, out=tmp_path) for folder in (data, tmp_path / "alone"))
    assert one.metrics == other.metrics


def test_a_changed_picture_is_packed_anew_by_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_scenes(tmp_path / "data", plates=3)
    recipe = small_recipe(split={"kind": "random"})
    train(recipe, data, run=tmp_path / "first")
    picture = next((data / "bg_fg").iterdir())
    picture.write_bytes(picture.read_bytes() + b"more")
    train(recipe, data, run=tmp_path / "second")
    assert f"pictures of {picture.stem} have changed since); it is packed anew" in capsys.readouterr().err
    assert open_data(data).packs


def test_training_goes_without_packs_where_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_scenes(tmp_path / "data", plates=3)
    recipe = small_recipe(split={"kind": "random"})
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: Usage(100_000))
        train(recipe, data, run=tmp_path / "little")
    assert "note: not packed at 32x32: 0.0 GB are more than half of what is free" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        fill_up(patch, after=20)
        train(recipe, data, run=tmp_path / "full")
    assert "No space left on device" in capsys.readouterr().err
    assert not (data / "packs" / "32").exists()
    (data / "packs").rmdir()
    (data / "packs").write_text("in the way, as a folder that cannot be written to is")
    train(recipe, data, run=tmp_path / "readonly")
    assert "note: not packed at 32x32 (" in capsys.readouterr().err
    (data / "packs").unlink()
    train(recipe, data, run=tmp_path / "packed")
    for other in ("full", "readonly", "packed"):
        assert equal_weights(tmp_path / "little", tmp_path / other)


def test_a_training_of_few_of_the_items_packs_nothing(tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "data", plates=20)
    few = small_recipe(split={"kind": "random", "train_items": 10, "items_per_part": 10})
    folder = open_data(data)
    assert packs_to_make(folder, few, split_items(folder, few.split)) == []
    all_of_them = small_recipe(split={"kind": "random"})
    assert len(packs_to_make(folder, all_of_them, split_items(folder, all_of_them.split))) == 1


@pytest.mark.parametrize("part", ["train", "seen"])
def test_bad_items_are_left_out_of_a_training_from_packs_as_from_pictures(tmp_path: Path, part: str) -> None:
    data = write_scenes(tmp_path / "data", plates=20)
    recipe = small_recipe(split={"kind": "random"}, on_bad_item="skip")
    split = split_items(ModestFolder(data), recipe.split)
    item = int((split.train if part == "train" else split.parts["seen"])[-1])
    (data / "bg_fg" / f"{ModestFolder(data).name(item)}.png").write_bytes(b"text")
    train(recipe, data, run=tmp_path / "pictures", pack=False)
    train(recipe, data, run=tmp_path / "packs")
    assert equal_weights(tmp_path / "pictures", tmp_path / "packs")
    assert (tmp_path / "pictures" / "skipped.csv").read_text() == (tmp_path / "packs" / "skipped.csv").read_text()
    with pytest.raises(UserError, match="not a readable picture"):
        train(recipe.model_copy(update={"on_bad_item": "fail"}), data, run=tmp_path / "fails")
    assert not (tmp_path / "fails").exists()
