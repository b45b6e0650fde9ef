"""A run whose recipe.yaml has changed: what may change, what may not, and what is done where it did."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from trainings import RECIPE, assert_same, back_to, equal_weights, read_rows, send

from cleanplate import UserError, resume, train
from cleanplate.recipe import Phase
from cleanplate.train import engine


def edit(run: Path, old: str, new: str) -> None:
    file = run / "recipe.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_recipe_that_has_changed_is_refused_with_the_keys(unbroken: Path, tmp_path: Path) -> None:
    run = back_to(16, unbroken, tmp_path / "run")
    edit(run, "lr: 0.5", "lr: 0.25")
    with pytest.raises(UserError, match=r"has changed .*\(optimizer\.lr was 0\.5 and is 0\.25\); give --take"):
        resume(run)


def test_the_recipe_of_the_state_can_be_taken(unbroken: Path, tmp_path: Path) -> None:
    run = back_to(16, unbroken, tmp_path / "run")
    edit(run, "lr: 0.5", "lr: 0.25")
    resume(run, take="state")
    assert_same(run, unbroken)
    assert (run / "recipe.yaml").read_text() == (unbroken / "recipe.yaml").read_text()


def test_the_changed_recipe_can_be_taken(unbroken: Path, tmp_path: Path) -> None:
    run = back_to(16, unbroken, tmp_path / "run")
    edit(run, "epochs: 1", "epochs: 2")
    assert resume(run, take="file").epochs == 6
    assert read_rows(run)[:5] == read_rows(unbroken)


def test_a_smaller_batch_goes_on_at_the_same_place(scenes: Path, tmp_path: Path, on_call: Callable[..., None]) -> None:
    run = tmp_path / "run"
    on_call(2, lambda: send(signal.SIGTERM))
    with pytest.raises(SystemExit):
        train(RECIPE, scenes, run=run)
    edit(run, "batch_size: 6", "batch_size: 3")
    resume(run, take="file", epochs_now=1)
    assert read_rows(run)[0]["steps"] == str(2 + (26 // 3 - 2 * 2))


def test_a_place_in_an_epoch_is_found_again_where_phases_were_parted(
    scenes: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    run = tmp_path / "run"
    one = RECIPE.model_copy(update={"phases": (Phase(size=32, epochs=2, batch_size=6),)})
    on_call(6, lambda: send(signal.SIGTERM))  # in the second epoch
    with pytest.raises(SystemExit):
        train(one, scenes, run=run)
    halves = (Phase(size=32, epochs=1, batch_size=6), Phase(size=32, epochs=1, batch_size=3))
    (run / "recipe.yaml").write_text(one.model_copy(update={"phases": halves}).to_yaml())
    resume(run, take="file")
    assert [row["steps"] for row in read_rows(run)] == ["4", str(6 + (26 // 3 - 2 * 2))]


def test_settings_of_the_optimiser_that_have_changed_count(unbroken: Path, tmp_path: Path) -> None:
    run, same = back_to(16, unbroken, tmp_path / "run"), back_to(16, unbroken, tmp_path / "same")
    edit(run, "momentum: 0.9", "momentum: 0.1")
    resume(run, take="file")
    resume(same)
    assert_same(same, unbroken)
    assert not equal_weights(run, same)


def test_what_the_recipe_says_of_computing_counts_after_a_change(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, arranged = back_to(16, unbroken, tmp_path / "run"), list[str]()
    monkeypatch.setattr(engine, "arrange", lambda model, compute: arranged.append(compute["layout"]))
    edit(run, "layout: contiguous", "layout: channels_last")
    resume(run, take="file")
    assert arranged == ["channels_last"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("model: masknet", "model: dsresnet"),
        ("loss: bce", "loss: dice"),
        ("share: 0.2", "share: 0.3"),
        ("noise: null", "noise: {}"),
        ("name: sgd\n  lr: 0.5\n  momentum: 0.9", "name: adamw\n  lr: 0.5"),
    ],
)
def test_what_cannot_change_within_a_run_is_refused(old: str, new: str, unbroken: Path, tmp_path: Path) -> None:
    run = back_to(16, unbroken, tmp_path / "run")
    edit(run, old, new)
    with pytest.raises(UserError, match="cannot change within a run; give --take state"):
        resume(run, take="file")


def test_a_network_changed_before_the_first_state_does_not_fit_the_weights_given(scenes: Path, tmp_path: Path) -> None:
    first = train(RECIPE, scenes, run=tmp_path / "first", epochs_now=1).run
    train(RECIPE, scenes, run=tmp_path / "run", init=first, epochs_now=1)
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    edit(tmp_path / "run", "model: masknet", "model: platenet")
    with pytest.raises(UserError, match="is a masknet, and small trains a platenet"):
        resume(tmp_path / "run")
