"""A run that is stopped, killed or harmed goes on, and ends with what it would have had."""

import math
import os
import shutil
import signal
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from chaos import kill_often
from chaos import small_recipe as chaos_recipe
from scenes import write_scenes
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator
from trainings import RECIPE, STEPS, assert_same, back_to, equal_weights, read_rows, send, small_recipe, states

from cleanplate import Recipe, UserError, resume, train
from cleanplate.recipe import Phase
from cleanplate.train import engine, record
from cleanplate.train.display import Display
from cleanplate.train.fit import train_seeds
from cleanplate.train.run import best_row
from cleanplate.train.state import read_state


def test_last_three_states_and_the_best_are_kept(unbroken: Path) -> None:
    rows = [{name: float(value) for name, value in row.items() if value} for row in read_rows(unbroken)]
    assert set(states(unbroken)) == {16, 22, 28, int(best_row(rows)["steps"])}


def test_the_best_epoch_is_none_whose_loss_is_no_number() -> None:
    rows = [{"epoch": epoch, "phase": 1, "validation/loss": loss} for epoch, loss in enumerate([math.nan, 0.5, 0.7], 1)]
    assert best_row(rows)["epoch"] == 2
    assert best_row(rows[::-1])["epoch"] == 2


def test_schedule_lowers_the_rate_and_keeps_it_in_the_next_phase(unbroken: Path) -> None:
    rates = [float(row["lr"]) for row in read_rows(unbroken)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 0.5


# Stops


@pytest.mark.parametrize("step", [1, 3, 4, 5, 16, 17, 20, 28])
def test_a_run_stopped_in_any_step_ends_as_if_it_had_not_been(
    step: int, unbroken: Path, scenes: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    run = tmp_path / "run"
    on_call(step, lambda: send(signal.SIGTERM))
    with pytest.raises(SystemExit) as stop:
        train(RECIPE, scenes, run=run)
    assert stop.value.code == 143
    assert states(run)[-1] == step
    resume(run)
    assert_same(run, unbroken)


@pytest.mark.parametrize("call", [1, 2, 3, 4, 30])  # the first three draw TensorBoard's graph, the others validate
def test_a_run_stopped_outside_its_steps_does_what_it_was_at_anew_and_has_its_graph(
    call: int, unbroken: Path, scenes: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    run = tmp_path / "run"
    on_call(call, lambda: send(signal.SIGINT), training=False)
    with pytest.raises(KeyboardInterrupt, match="go on with `cleanplate train --resume"):
        train(RECIPE, scenes, run=run)
    assert EventAccumulator(str(run / "events")).Reload().Tags()["graph"]
    resume(run)
    assert_same(run, unbroken)


def test_the_second_ctrl_c_stops_within_the_step_and_loses_nothing_else(
    unbroken: Path, scenes: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    run = tmp_path / "run"
    on_call(7, lambda: send(signal.SIGINT, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match="go on with"):
        train(RECIPE, scenes, run=run)
    assert states(run)[-1] == 6
    resume(run)
    assert_same(run, unbroken)


def test_ctrl_c_at_the_end_of_a_training_stops_those_that_would_follow(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "draw_curves", lambda *_: send(signal.SIGINT))  # the last thing that a run writes
    with pytest.raises(KeyboardInterrupt, match="all epochs are done"):
        train_seeds(small_recipe(), scenes, [1, 2], run=tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run-seed-1"]
    assert resume(tmp_path / "run-seed-1").epochs == 1


@pytest.mark.parametrize("write", [1, 2, 3, 4, 5, 9])  # of files and folders: states, weights, figures
def test_ctrl_c_twice_while_something_is_written_loses_nothing(
    write: int, unbroken: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, fsync, writes = tmp_path / "run", os.fsync, count(1)

    def interrupted(number: int) -> None:
        if next(writes) == write:
            send(signal.SIGINT, signal.SIGINT)
        fsync(number)

    with monkeypatch.context() as patches:
        patches.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt, match="go on with"):
            train(RECIPE, scenes, run=run)
    assert not list(run.rglob(".*"))
    resume(run)
    assert_same(run, unbroken)


def test_a_run_in_stretches_ends_as_if_it_had_been_one(unbroken: Path, scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = train(RECIPE, scenes, run=run, epochs_now=1)
    assert first.epochs == 1
    assert resume(run, epochs_now=2).epochs == 3
    stopped = resume(run, stop_after="0s")
    assert stopped.epochs == 3
    assert states(run)[-1] == 13
    assert resume(run, epochs_now=9).epochs == 6
    assert_same(run, unbroken)


def test_a_run_stopped_before_its_first_epoch_has_no_best_epoch(scenes: Path, tmp_path: Path) -> None:
    assert train(RECIPE, scenes, run=tmp_path / "run", stop_after="0s").best is None


def test_states_are_written_by_time(scenes: Path, tmp_path: Path, on_call: Callable[..., None]) -> None:
    run = tmp_path / "run"
    found: list[list[int]] = []
    on_call(3, lambda: found.append(states(run)))
    train(small_recipe(checkpoint_minutes=1e-6), scenes, run=run)
    assert found == [[1, 2]]


def test_within_an_epoch_no_more_states_are_kept_than_said(
    scenes: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    run = tmp_path / "run"
    found: list[list[int]] = []
    on_call(5, lambda: found.append(states(run)))
    phases = (Phase(size=32, epochs=1, batch_size=4),)
    train(small_recipe(phases=phases, checkpoint_minutes=1e-6, keep_checkpoints=2), scenes, run=run)
    assert found == [[3, 4]]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stop_after": "soon"}, "--stop-after soon: expected a time such as 45m"),
        ({"stop_after": ""}, "expected a time"),
        ({"epochs_now": 0}, "--epochs-now 0: give 1 or more"),
    ],
)
def test_stretches_that_are_none_are_refused(options: Any, words: str, scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        train(RECIPE, scenes, run=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_kills_at_random_moments_leave_no_trace(scenes: Path, tmp_path: Path) -> None:
    recipe = chaos_recipe("masknet").model_copy(update={"checkpoint_minutes": 0.1 / 60})
    found = kill_often(recipe, scenes, tmp_path, kills=8, seed=1)
    assert found.kills == 8
    assert found.finished_runs >= 1
    assert found.differing == []


# What a resume finds


def test_resume_from_an_epochs_end_equals_the_unbroken_run(unbroken: Path, tmp_path: Path) -> None:
    run = back_to(16, unbroken, tmp_path / "run")
    for path in (run / "weights.safetensors", run / "epochs" / "006.safetensors"):
        path.unlink()
    resume(run)
    assert_same(run, unbroken)
    for name in ("recipe.yaml", "environment.json"):
        assert (run / name).read_bytes() == (unbroken / name).read_bytes()


def test_tensorboard_has_each_epoch_once_after_a_resume(unbroken: Path, tmp_path: Path) -> None:
    run = back_to(16, unbroken, tmp_path / "run")
    resume(run)
    events = EventAccumulator(str(run / "events"), {IMAGES: 0, SCALARS: 0}).Reload()
    assert [event.step for event in events.Scalars("validation/loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events.Images("previews")] == [1, 2, 3, 4, 5, 6]


def test_resume_of_a_finished_run_changes_nothing_and_says_so(
    unbroken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(unbroken, tmp_path / "run"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    trained = resume(run)
    assert "all 6 epochs are done" in " ".join(capsys.readouterr().err.split())
    assert trained.epochs == 6
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
    run = back_to(22, unbroken, tmp_path / "run")
    assert resume(run, moved).epochs == 6


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
    assert names == [f"{epoch:03d}.safetensors" for epoch in range(1, 7)]
    assert not equal_weights(unbroken / "epochs" / "005.safetensors", unbroken / "epochs" / "006.safetensors")


def test_a_recipe_in_a_state_is_the_runs(unbroken: Path) -> None:
    state = read_state(unbroken / "checkpoints" / f"step-{STEPS:09d}.ckpt")
    assert Recipe.model_validate(state["recipe"]) == RECIPE
