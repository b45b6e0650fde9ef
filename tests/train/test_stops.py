"""A run that is stopped or killed at any moment goes on, and ends with what it would have had."""

import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from chaos import kill_often
from chaos import small_recipe as chaos_recipe
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trainings import RECIPE, STEPS, assert_same, send, small_recipe, states

from cleanplate import UserError, resume, train
from cleanplate.recipe import Phase
from cleanplate.train import record
from cleanplate.train.fit import train_seeds


@pytest.mark.parametrize("step", [1, 3, 4, 5, 16, 17, 20, STEPS])
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
    assert resume(run, epochs_now=9).epochs == RECIPE.epochs
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
    recipe = chaos_recipe("masknet")
    recipe = recipe.model_copy(update={"phases": recipe.phases[:2], "checkpoint_minutes": 0.1 / 60})
    found = kill_often(recipe, scenes, tmp_path, kills=8, seed=1)
    assert found.kills == 8
    assert found.finished_runs >= 1
    assert found.differing == []
