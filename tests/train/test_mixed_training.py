"""Training on a data set and on plates in one run."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from scenes import write_scenes
from trainings import RECIPE, assert_same, read_rows, send, small_recipe

from cleanplate import Recipe, UserError, compare, evaluate, resume, train
from cleanplate.data.mixed import share_out
from cleanplate.data.opening import Given
from cleanplate.data.split import split_items
from cleanplate.recipe import AdamW, Phase, RandomSplit
from cleanplate.recipe_pictures import Composition, Exposure, Mismatch

MIXED = small_recipe(
    model="dsresnet",
    loss="rmse-bce-dice",
    optimizer=AdamW(name="adamw", lr=0.002),
    phases=(Phase(size=32, epochs=2, batch_size=10),),
    composition=Composition(share=0.4, figures=6),
    mismatch=Mismatch(exposure=Exposure()),
    previews=2,
)
LIVE_ITEMS = 32  # 0.4 of all, beside 48


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set folder of this module's own, which gets packs."""
    return write_scenes(tmp_path_factory.mktemp("mixed") / "scenes")


@pytest.fixture(scope="module")
def mixed_run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("mixed") / "run"
    train(MIXED, scenes, plates=scenes / "bg", run=run)
    return run


def test_masks_and_depths_are_learned_where_some_items_have_no_depth(mixed_run: Path, scenes: Path) -> None:
    rows = read_rows(mixed_run)
    assert float(rows[-1]["train/loss"]) < float(rows[0]["train/loss"])
    assert float(rows[-1]["validation/rmse"]) > 0
    environment = json.loads((mixed_run / "environment.json").read_text())
    assert (environment["data"], environment["plates"]) == (str(scenes), str(scenes / "bg"))
    assert environment["depth"]["kind"] == "metric"
    assert (scenes / "packs" / "32").is_dir()


@pytest.mark.parametrize("pack", [True, False])
def test_a_mixed_run_goes_on_to_the_same_bits(pack: bool, mixed_run: Path, scenes: Path, tmp_path: Path) -> None:
    train(MIXED, scenes, plates=scenes / "bg", run=tmp_path / "run", epochs_now=1, pack=pack)
    resume(tmp_path / "run", pack=not pack)
    assert_same(tmp_path / "run", mixed_run)


def test_a_mixed_run_goes_on_within_an_epoch(
    scenes: Path, plates: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    phases = tuple(phase.model_copy(update={"epochs": 1}) for phase in RECIPE.phases)
    changes = {"phases": phases, "composition": MIXED.composition, "mismatch": Mismatch.everything()}
    recipe = RECIPE.model_copy(update=changes)
    train(recipe, scenes, plates=plates, run=tmp_path / "unbroken")
    on_call(6, lambda: send(signal.SIGTERM))
    with pytest.raises(SystemExit):
        train(recipe, scenes, plates=plates, run=tmp_path / "run")
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken")


def test_it_says_how_many_items_are_composed_and_what_does_not_count(
    scenes: Path, plates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = small_recipe(composition=MIXED.composition)
    train(recipe, scenes, plates=plates, run=tmp_path / "run")
    said = capsys.readouterr().err
    assert f"{LIVE_ITEMS} items are composed beside 48 of {scenes}: composition.share is 0.4" in said
    assert "composition.items counts for plates alone" in said
    few = recipe.model_copy(update={"composition": Composition(share=0.4, items=60, figures=6)})
    train(few, plates=plates, run=tmp_path / "alone")
    assert "note: composition.share is ignored" in capsys.readouterr().err


def test_a_mixed_run_is_compared_and_goes_on_with_what_it_was_begun_with_alone(
    mixed_run: Path, scenes: Path, plates: Path, tmp_path: Path
) -> None:
    assert compare([mixed_run], out=tmp_path / "out").data == f"{scenes} and {scenes / 'bg'} with museum figures"
    assert (tmp_path / "out" / "predictions.png").exists()
    with pytest.raises(UserError, match=r"is not the data set that .* file_map.txt, a picture or the recipe's"):
        resume(mixed_run, plates=plates)
    with pytest.raises(UserError, match=r"--cutouts .*: the run was begun with"):
        resume(mixed_run, cutouts=plates)


def test_an_evaluation_on_its_data_set_scores_what_was_held_out_of_it(
    mixed_run: Path, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = Given.of(scenes, scenes / "bg", None).open(MIXED)
    held_out = {part: items[items < 48] for part, items in split_items(mixed, MIXED.split).parts.items()}
    found = evaluate(mixed_run, scenes)
    assert found.parts.keys() == {part for part, items in held_out.items() if len(items)}
    assert found.items == sum(map(len, held_out.values())) < 48
    run = Path(shutil.copytree(mixed_run, tmp_path / "run"))
    file = run / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"plates": str(tmp_path / "gone")}))
    capsys.readouterr()
    assert evaluate(run, scenes).items == 48
    said = capsys.readouterr().err
    assert "gone: this folder of plates does not exist" in said
    assert "all items are scored, those of its training too" in said


def test_a_data_set_with_none_of_the_items_kept_for_validation_is_refused(scenes: Path, tmp_path: Path) -> None:
    def composed_alone(recipe: Recipe) -> bool:
        mixed = Given.of(scenes, scenes / "bg", None).open(recipe)
        return not any(len(share_out(mixed, items)[0][1]) for items in split_items(mixed, recipe.split).parts.values())

    splits = (RandomSplit(kind="random", items_per_part=1, seed=seed) for seed in range(50))
    recipes = (small_recipe(composition=MIXED.composition, split=split) for split in splits)
    train(next(filter(composed_alone, recipes)), scenes, plates=scenes / "bg", run=tmp_path / "run")
    with pytest.raises(UserError, match=r"none of it is what .*run is validated by; score another set"):
        evaluate(tmp_path / "run", scenes)
