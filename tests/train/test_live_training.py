"""Training on plates and cutouts that are composed as they are needed, and from given weights."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from trainings import RECIPE, assert_same, equal_weights, parameters, send, small_recipe

from cleanplate import UserError, compare, resume, train
from cleanplate.data.live import LiveComposition
from cleanplate.data.module import PhasedData
from cleanplate.data.split import split_items
from cleanplate.recipe import Sgd
from cleanplate.recipe_pictures import Composition, Mismatch
from cleanplate.weights import load_weights

COMPOSED = {"composition": Composition(items=60, figures=8)}
LIVE = RECIPE.model_copy(update=COMPOSED | {"mismatch": Mismatch.everything()})


def environment(run: Path) -> dict:
    return json.loads((run / "environment.json").read_text())


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture(scope="module")
def live_run(plates: Path, cutouts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("live") / "run"
    before = files(plates) | files(cutouts)
    train(LIVE, plates=plates, cutouts=cutouts, run=run)
    assert files(plates) | files(cutouts) == before
    return run


# Plates and cutouts


@pytest.mark.parametrize("step", [2, 19])
def test_a_live_run_goes_on_to_the_same_bits(
    step: int, live_run: Path, plates: Path, cutouts: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    on_call(step, lambda: send(signal.SIGTERM))
    with pytest.raises(SystemExit):
        train(LIVE, plates=plates, cutouts=cutouts, run=tmp_path / "run")
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", live_run)


def test_a_live_run_says_what_it_was_given(live_run: Path, plates: Path, cutouts: Path) -> None:
    found = environment(live_run)
    assert (found["data"], found["plates"], found["cutouts"]) == (None, str(plates), str(cutouts))
    assert found["depth"] is None


def test_every_epoch_composes_anew_and_validation_does_not(
    plates: Path, cutouts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = LiveComposition(plates, cutouts, LIVE.composition)
    data = PhasedData(source, split_items(source, LIVE.split), LIVE)
    train_items = data.split.train[:4].tolist()
    held_out, read = [], []
    for epoch in (0, 1):
        monkeypatch.setattr(PhasedData, "epoch", epoch)
        held_out.append(next(iter(data.val_dataloader()[0])))
        read.append(data.read(train_items))
        batch = next(iter(data.train_dataloader()))
        assert batch.mask.equal(source.batch(batch.indices.tolist(), 32, LIVE.seed, epoch).mask)
    assert held_out[0].frame.equal(held_out[1].frame)
    assert read[0].frame.equal(read[1].frame)


def test_live_runs_are_compared_and_their_predictions_drawn(
    live_run: Path, plates: Path, cutouts: Path, tmp_path: Path
) -> None:
    compared = compare([live_run], out=tmp_path / "out")
    assert compared.data == f"{plates} with {cutouts}"
    assert (tmp_path / "out" / "predictions.png").exists()


# Given weights


@pytest.fixture(scope="module")
def teacher(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(train(small_recipe(), scenes, run=tmp_path_factory.mktemp("teacher") / "run").run)


def test_a_run_starts_from_given_weights_with_their_normalisation(
    teacher: Path, plates: Path, cutouts: Path, tmp_path: Path
) -> None:
    recipe = small_recipe(optimizer=Sgd(lr=1e-6, momentum=0)).model_copy(update=COMPOSED)
    run = tmp_path / "run"
    train(recipe, plates=plates, cutouts=cutouts, init=teacher, run=run)
    before, after = parameters(teacher), parameters(run)
    learned = [name for name in before if name.endswith(("weight", "bias"))]
    assert learned
    assert all(torch.allclose(before[name], after[name], atol=1e-4) for name in learned)
    assert load_weights(run)[1].normalisation == load_weights(teacher)[1].normalisation
    assert environment(run)["init"] == str(teacher / "weights.safetensors")


def test_a_run_from_given_weights_goes_on_without_them(
    teacher: Path, unbroken: Path, scenes: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    gone = Path(shutil.copytree(teacher, tmp_path / "gone"))
    train(RECIPE, scenes, init=teacher, run=tmp_path / "in one go")
    on_call(2, lambda: send(signal.SIGTERM))
    with pytest.raises(SystemExit):
        train(RECIPE, scenes, init=gone, run=tmp_path / "run")
    shutil.rmtree(gone)
    for state in (tmp_path / "run" / "checkpoints").iterdir():
        state.unlink()  # as if it had been killed before the first one
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "in one go")
    assert not equal_weights(tmp_path / "run", unbroken)  # which began from nothing


def test_weights_of_another_network_are_refused(teacher: Path, scenes: Path, tmp_path: Path) -> None:
    recipe = small_recipe(model="dsresnet", loss="rmse-bce-dice")
    with pytest.raises(UserError, match="is a masknet, and small trains a dsresnet"):
        train(recipe, scenes, init=teacher, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
