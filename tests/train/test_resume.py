"""What a run keeps to go on with, and what going on with it finds."""

import math
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scenes import write_scenes
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator
from trainings import RECIPE, STEPS, assert_same, back_to, equal_weights, read_rows, send, states

from cleanplate import Recipe, UserError, resume, train
from cleanplate.train import engine
from cleanplate.train.display import Display
from cleanplate.train.run import best_row
from cleanplate.train.state import read_state


def test_last_three_states_and_the_best_are_kept(unbroken: Path) -> None:
    rows = [{name: float(value) for name, value in row.items() if value} for row in read_rows(unbroken)]
    assert set(states(unbroken)) == {12, 16, 22, int(best_row(rows)["steps"])}


def test_the_best_epoch_is_none_whose_loss_is_no_number() -> None:
    rows = [{"epoch": epoch, "phase": 1, "validation/loss": loss} for epoch, loss in enumerate([math.nan, 0.5, 0.7], 1)]
    assert best_row(rows)["epoch"] == 2
    assert best_row(rows[::-1])["epoch"] == 2


def test_schedule_lowers_the_rate_and_keeps_it_in_the_next_phase(unbroken: Path) -> None:
    rates = [float(row["lr"]) for row in read_rows(unbroken)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 0.5


def test_resume_from_an_epochs_end_equals_the_unbroken_run(unbroken: Path, tmp_path: Path) -> None:
    run = back_to(16, unbroken, tmp_path / "run")
    for path in (run / "weights.safetensors", run / "epochs" / "005.safetensors"):
        path.unlink()
    resume(run)
    assert_same(run, unbroken)
    for name in ("recipe.yaml", "environment.json"):
        assert (run / name).read_bytes() == (unbroken / name).read_bytes()


def test_tensorboard_has_each_epoch_once_after_a_resume(unbroken: Path, tmp_path: Path) -> None:
    run = back_to(16, unbroken, tmp_path / "run")
    resume(run)
    events = EventAccumulator(str(run / "events"), {IMAGES: 0, SCALARS: 0}).Reload()
    assert [event.step for event in events.Scalars("validation/loss")] == [1, 2, 3, 4, 5]
    assert [event.step for event in events.Images("previews")] == [1, 2, 3, 4, 5]


def test_resume_of_a_finished_run_changes_nothing_and_says_so(
    unbroken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(unbroken, tmp_path / "run"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    trained = resume(run)
    assert "all 5 epochs are done" in " ".join(capsys.readouterr().err.split())
    assert trained.epochs == 5
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_resume_before_the_first_state_starts_anew(unbroken: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for name in ("checkpoints", "epochs", "events", "previews", "curves"):
        (run / name).mkdir(parents=True)
    for name in ("recipe.yaml", "environment.json", "references.npz"):
        shutil.copy(unbroken / name, run / name)
    resume(run)
    assert_same(run, unbroken)


def test_what_was_being_written_when_a_run_was_killed_is_cleared_away(unbroken: Path, tmp_path: Path) -> None:
    run = back_to(16, unbroken, tmp_path / "run")
    for name in ("checkpoints/.step-000000020.ckpt.partial", ".metrics.csv.partial"):
        (run / name).write_bytes(b"half")
    resume(run)
    assert not list(run.rglob(".*"))
    assert_same(run, unbroken)


def test_resume_with_another_data_set_is_refused(unbroken: Path, tmp_path: Path) -> None:
    other = write_scenes(tmp_path / "other", plates=3)
    with pytest.raises(UserError, match=r"other: is not the data set that .* was begun with"):
        resume(unbroken, other)


def test_resume_finds_the_data_where_it_lies_now(scenes: Path, unbroken: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(scenes, tmp_path / "moved"))
    run = back_to(16, unbroken, tmp_path / "run")
    assert resume(run, moved).epochs == RECIPE.epochs


def test_resume_in_no_processes_is_refused(unbroken: Path) -> None:
    with pytest.raises(UserError, match="--devices 0: give 1 or more"):
        resume(unbroken, devices=0)


def test_resume_of_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        resume(tmp_path)


def test_the_bar_goes_on_where_the_epoch_was_left(
    scenes: Path, tmp_path: Path, on_call: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[tuple[float, float | None]]()

    class Watched(Display):
        def on_train_batch_end(self, *args: Any) -> None:
            super().on_train_batch_end(*args)
            seen.append((self.bar.tasks[0].completed, self.bar.tasks[0].total))
            assert time.perf_counter() - self.started < 60

    on_call(2, lambda: send(signal.SIGTERM))
    with pytest.raises(SystemExit):
        train(RECIPE, scenes, run=tmp_path / "run")
    monkeypatch.setattr(engine, "Display", Watched)
    resume(tmp_path / "run", epochs_now=1)
    assert seen == [(3, 4), (4, 4)]


def test_weights_of_every_epoch_stay(unbroken: Path) -> None:
    names = sorted(path.name for path in (unbroken / "epochs").iterdir())
    assert names == [f"{epoch:03d}.safetensors" for epoch in range(1, 6)]
    assert not equal_weights(unbroken / "epochs" / "004.safetensors", unbroken / "epochs" / "005.safetensors")


def test_a_recipe_in_a_state_is_the_runs(unbroken: Path) -> None:
    state = read_state(unbroken / "checkpoints" / f"step-{STEPS:09d}.ckpt")
    assert Recipe.model_validate(state["recipe"]) == RECIPE
