"""The range test of a recipe on a data set."""

import json
from pathlib import Path

import pytest
from scenes import PLAIN

from cleanplate.errors import UserError
from cleanplate.pictures import read_rgb
from cleanplate.recipe import Phase, Recipe, Sgd
from cleanplate.train.lr_range import LrRange, format_table, lr_range
from cleanplate.train.trial import Trial

RECIPE = Recipe(
    name="small",
    model="masknet",
    loss="bce",
    optimizer=Sgd(),
    phases=(Phase(size=32, epochs=1, batch_size=8), Phase(size=64, epochs=1, batch_size=4)),
    compute=PLAIN,
)


def test_every_sweep_starts_from_the_same_weights_and_is_written_down(scenes: Path, tmp_path: Path) -> None:
    answer = lr_range(RECIPE, scenes, sweeps=["1e-6:2e-6:3", "1e-6:2e-6:3"], out=tmp_path / "range")
    assert LrRange.model_validate(json.loads((tmp_path / "range" / "lr_range.json").read_text())) == answer
    assert read_rgb(tmp_path / "range" / "lr_range.png").std() > 10
    first, second = (sweep.losses for sweep in answer.sweeps)
    assert len(first) == 3
    assert first == pytest.approx(second, rel=0.3)  # rates too low to learn by; the batches differ
    assert first != second
    assert (answer.size, answer.batch_size) == (32, 8)


def test_a_great_rate_diverges_and_is_told(scenes: Path, tmp_path: Path) -> None:
    answer = lr_range(RECIPE, scenes, sweeps=["1e-3:1e6:60"], out=tmp_path / "range")
    (sweep,) = answer.sweeps
    assert sweep.diverged_at is not None
    assert len(sweep.rates) < 60
    assert sweep.lowest_loss < sweep.losses[0]
    assert sweep.start < sweep.steepest_lr <= sweep.lowest_loss_lr < sweep.diverged_at
    assert answer.suggestions.before_divergence == pytest.approx(sweep.diverged_at / 10)
    assert "a tenth of the divergence" in format_table(answer)


def test_validation_loss_is_of_the_same_items_each_time(scenes: Path, tmp_path: Path) -> None:
    answer = lr_range(RECIPE, scenes, sweeps=["1e-9:2e-9:4"], validation=True, out=tmp_path / "range")
    assert answer.sweeps[0].losses == pytest.approx([answer.sweeps[0].losses[0]] * 4, rel=0.1)


def test_a_batch_that_does_not_fit_is_named(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(Trial, "training_loss", fail)
    with pytest.raises(
        UserError, match=r"small: phases.0: a batch of 8 at 32x32 does not fit in memory; take smaller ones"
    ):
        lr_range(RECIPE, scenes, sweeps=["1e-6:2e-6:3"], out=tmp_path / "range")
    assert not (tmp_path / "range").exists()


def test_same_recipe_same_answer(scenes: Path, tmp_path: Path) -> None:
    first, second = (lr_range(RECIPE, scenes, sweeps=["1e-3:1:1epoch"], out=tmp_path / name) for name in "ab")
    assert first.sweeps == second.sweeps


def test_a_folder_that_holds_something_is_refused_before_any_work(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(UserError, match="exists already"):
        lr_range(RECIPE, scenes, out=tmp_path)
