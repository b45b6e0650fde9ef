"""Commands that train on plates and cutouts, and from given weights."""

import json
import shutil
from pathlib import Path

import pytest
from commands import FAST, Call, answer, fault
from trainings import assert_same, read_rows, small_recipe

from cleanplate import train, weights
from cleanplate.recipe import Phase
from cleanplate.recipe_pictures import Composition

LIVE = small_recipe(composition=Composition(items=60), phases=(Phase(size=32, epochs=2, batch_size=6),), previews=2)


@pytest.fixture(scope="module")
def live_run(plates: Path, cutouts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(train(LIVE, plates=plates, cutouts=cutouts, run=tmp_path_factory.mktemp("live") / "run").run)


def environment(run: Path) -> dict:
    return json.loads((run / "environment.json").read_text())


def test_museum_figures_stand_in_where_no_cutouts_are_given(plates: Path, tmp_path: Path, cleanplate: Call) -> None:
    settings = ["--set", "composition={items: 40, figures: 4}"]
    run = tmp_path / "run"
    answer(cleanplate("train", "quick", "--plates", plates, "--run", run, *FAST, *settings, "--json"))
    assert environment(run)["cutouts"] is None
    assert len(read_rows(run)) == 1
    again = answer(cleanplate("train", "--resume", run, "--json"))
    assert again["epochs"] == 1


def test_plates_that_have_moved_are_given_anew(
    live_run: Path, plates: Path, cutouts: Path, tmp_path: Path, cleanplate: Call
) -> None:
    run = tmp_path / "run"
    train(LIVE, plates=plates, cutouts=cutouts, run=run, epochs_now=1)
    content = environment(run) | {"plates": str(tmp_path / "gone")}
    (run / "environment.json").write_text(json.dumps(content))
    assert "gone: this folder of plates does not exist" in fault(cleanplate("train", "--resume", run))
    answer(cleanplate("train", "--resume", run, "--plates", shutil.copytree(plates, tmp_path / "moved"), "--json"))
    assert_same(run, live_run)


def test_other_plates_or_another_composition_are_refused(
    live_run: Path, plates: Path, tmp_path: Path, cleanplate: Call
) -> None:
    other = Path(shutil.copytree(plates, tmp_path / "other"))
    (other / "room 1.jpg").unlink()
    line = fault(cleanplate("train", "--resume", live_run, "--plates", other))
    assert "is not the data set that" in line
    assert "a picture or the recipe's composition differs" in line
    run = Path(shutil.copytree(live_run, tmp_path / "run"))
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("items: 60", "items: 61"))
    line = fault(cleanplate("train", "--resume", run, "--take", "file"))
    assert "composition cannot change within a run" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--plates", "nowhere", "--data", "{scenes}"), "nowhere: this folder of plates does not exist"),
        (("--plates", "{plates}", "--data", "nowhere"), "nowhere: this data set folder does not exist"),
        (("--cutouts", "{plates}"), "--cutouts go with --plates"),
        ((), "--data is missing: give a data set folder"),
        (("--plates", "nowhere"), "nowhere: this folder of plates does not exist"),
        (("--plates", "{plates}", "--cutouts", "nowhere"), "nowhere: this folder of cutouts does not exist"),
        (("--plates", "{empty}"), "{empty}"),
        (("--plates", "{plates}", "--dry-run", "--init", "nowhere"), "nowhere: no such weights"),
        (("--plates", "{plates}", "--init", "nowhere"), "nowhere: no such weights"),
    ],
)
def test_wrong_inputs_are_one_line(
    options: tuple[str, ...], words: str, plates: Path, scenes: Path, tmp_path: Path, cleanplate: Call
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"plates": plates, "scenes": scenes, "empty": tmp_path / "empty"}
    given = [option.format(**places) for option in options]
    line = fault(cleanplate("train", "quick", *given, "--run", tmp_path / "run", *FAST))
    assert words.format(**places) in line
    assert not (tmp_path / "run").exists()


def test_one_plate_asks_for_a_random_split(plates: Path, tmp_path: Path, cleanplate: Call) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(plates / "room 0.png", tmp_path / "one")
    command = ("train", "live", "--plates", tmp_path / "one", "--run", tmp_path / "run", *FAST)
    few = ("--set", "composition={items: 20, figures: 2}")
    assert "set split={kind: random}" in fault(cleanplate(*command, *few))
    answer(cleanplate(*command, *few, "--set", "split={kind: random}", "--json"))


def test_a_run_starts_from_given_weights(live_run: Path, scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    command = ("train", "quick", "--data", scenes, "--run", tmp_path / "run", *FAST)
    line = fault(cleanplate(*command, "--set", "model=dsresnet", "--init", live_run))
    assert "is a masknet, and quick trains a dsresnet" in line
    answer(cleanplate(*command, "--init", live_run, "--json"))
    found, before = environment(tmp_path / "run"), environment(live_run)
    assert found["init"] == str(live_run / "weights.safetensors")
    assert found["normalisation"] == before["normalisation"]
    assert "leave out RECIPE, --run, --set, --seeds, --init" in fault(
        cleanplate("train", "--resume", live_run, "--init", live_run)
    )


def test_a_training_on_plates_is_rehearsed_and_its_rates_are_tried(
    live_run: Path, scenes: Path, plates: Path, cutouts: Path, tmp_path: Path, cleanplate: Call
) -> None:
    given = ("--plates", plates, "--cutouts", cutouts)
    few, run = ("--set", "composition={items: 60}"), tmp_path / "run"
    rehearsed = answer(
        cleanplate("train", "quick", *given, "--init", live_run, "--run", run, *FAST, *few, "--dry-run", "--json")
    )
    assert rehearsed["packs_gb"] == 0
    assert 0 < rehearsed["train_items"] < 60
    assert not run.exists()
    both = answer(cleanplate("train", "quick", "--data", scenes, *given, "--run", run, *FAST, "--dry-run", "--json"))
    assert both["train_items"] > rehearsed["train_items"]
    assert not run.exists()
    sweep = ("--sweep", "1e-3:1:12", "--out", tmp_path / "rates")
    code, out, _ = cleanplate("lr-range", "quick", *given, *sweep, *FAST, *few)
    assert code == 0
    assert f"--plates {plates} --cutouts {cutouts} --set" in out


def test_weights_left_out_are_those_of_the_package(
    live_run: Path, scenes: Path, plates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanplate: Call
) -> None:
    own = live_run / "weights.safetensors"
    monkeypatch.setattr(weights, "GENERAL_FILE", own)
    picture = plates / "room 0.png"
    answer(cleanplate("predict", "--plate", picture, picture, "--out", tmp_path / "out", "--json"))
    assert answer(cleanplate("evaluate", "--data", scenes, "--json"))["weights"] == str(own)
    command = ("train", "quick", "--data", scenes, *FAST, "--init", "general", "--run", tmp_path / "run", "--json")
    answer(cleanplate(*command))
    assert environment(tmp_path / "run")["init"] == str(own)
    monkeypatch.setattr(weights, "GENERAL_FILE", tmp_path / "none.safetensors")
    for arguments in (
        ("evaluate", "--data", scenes),
        ("export", "--out", tmp_path / "model.onnx"),
        ("app", "--port", "0"),
    ):
        assert "this installation has no weights of its own" in fault(cleanplate(*arguments))
