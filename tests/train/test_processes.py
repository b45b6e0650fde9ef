"""Training in several processes: who has which items, and that figures and weights are right."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
from chaos import differences
from commands import start
from hypothesis import assume, given
from hypothesis import strategies as st
from trainings import TWO, parameters, read_rows, small_recipe

from cleanplate import Recipe, UserError, resume, train
from cleanplate.compare.summary import Loaded
from cleanplate.data.modest import ModestFolder
from cleanplate.data.module import PhasedData, steps_per_epoch
from cleanplate.data.source import shuffled
from cleanplate.data.split import Split, split_items
from cleanplate.data.statistics import normalisation_of
from cleanplate.recipe import Phase, RandomSplit
from cleanplate.train.task import CleanplateTask

# Who has which items


def place(rank: int, processes: int) -> Any:
    """Return what PhasedData asks of a trainer that begins its first epoch."""
    progress = SimpleNamespace(current=SimpleNamespace(started=0, processed=0))
    loop = SimpleNamespace(epoch_progress=progress)
    return SimpleNamespace(global_rank=rank, world_size=processes, current_epoch=0, fit_loop=loop)


def loaders(
    split: Split, recipe: Recipe, processes: int
) -> tuple[list[list[np.ndarray]], list[list[list[np.ndarray]]]]:
    """Return the item numbers of each process's training batches, and of its validation batches part by part."""
    training, validation = [], []
    for rank in range(processes):
        data = PhasedData(SimpleNamespace(), split, recipe)  # nothing is read
        data.trainer = place(rank, processes)
        training.append(data.train_dataloader().dataset.groups)
        validation.append([loader.dataset.groups for loader in data.val_dataloader()])
    return training, validation


@given(items=st.integers(4, 90), held_out=st.integers(1, 40), batch_size=st.integers(1, 9), processes=st.integers(1, 4))
def test_every_item_has_its_process(items: int, held_out: int, batch_size: int, processes: int) -> None:
    assume(held_out + 1 >= processes)  # fewer are refused when a run begins
    split = Split(np.arange(items), {"seen": np.arange(items, items + held_out), "new_both": np.arange(500, 501)})
    recipe = small_recipe(phases=(Phase(size=32, epochs=1, batch_size=batch_size),))
    training, validation = loaders(split, recipe, processes)
    (whole,), (alone,) = loaders(split, recipe, 1)

    steps = steps_per_epoch(items, batch_size * processes)
    assert {len(share) for share in training} == {steps}
    seen = np.concatenate([np.concatenate([share[step] for share in training]) for step in range(steps)])
    assert seen.tolist() == shuffled(split.train, recipe.seed, 0)[: len(seen)].tolist()
    assert len(seen) == min(items, steps * batch_size * processes)
    if processes == 1:
        assert [group.tolist() for group in whole] == [group.tolist() for group in training[0]]

    assert all(any(share) for share in validation)  # one without any would be missed in adding up
    for part, batches in enumerate(alone):
        shared = [group.tolist() for share in validation for group in share[part]]
        assert sorted(item for group in shared for item in group) == sorted(np.concatenate(batches).tolist())
        if sum(map(len, alone)) >= processes:
            assert sorted(shared) == sorted(group.tolist() for group in batches)


# What comes of it


def test_metrics_of_two_processes_are_those_of_one(pair: Path, scenes: Path) -> None:
    folder = ModestFolder(scenes)
    split = split_items(folder, TWO.split)
    task = CleanplateTask(TWO, normalisation_of(folder), folder.card.depth, list(split.parts), len(split.train))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
    for row in read_rows(pair):
        task.model.load_state_dict(parameters(pair / "epochs" / f"{int(row['epoch']):03d}.safetensors"))
        pl.Trainer(**quiet).validate(task, datamodule=PhasedData(folder, split, TWO), verbose=False)
        for part in split.parts:
            figures = task.tallies[part].compute()
            found = {name: float(row[f"{part}/{name}"]) for name, value in figures.items() if value is not None}
            assert found == pytest.approx({name: figures[name] for name in found}, abs=1e-6)


def test_one_process_writes_and_each_epoch_stands_once(pair: Path) -> None:
    assert [row["epoch"] for row in read_rows(pair)] == ["1", "2", "3"]
    assert [row["steps"] for row in read_rows(pair)] == ["3", "6", "9"]
    assert len(list((pair / "events").iterdir())) == 1
    assert not list(pair.rglob(".*"))
    assert Loaded(pair).items_seen() == [24, 48, 72]


def test_the_effective_batch_and_what_is_left_out_are_said(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"26 training items are too few for 27 processes; use fewer"):
        train(TWO, scenes, run=tmp_path / "run", devices=27)
    train(TWO, scenes, run=tmp_path / "run", devices=2, stop_after="0s")
    said = " ".join(capsys.readouterr().err.split())
    assert "2 processes with batches of 4, 8 items a step; 2 of 26 training items are left out of each epoch" in said


def test_two_processes_go_on_exactly(pair: Path, scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TWO, scenes, run=run, devices=2, stop_after="0s")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000000001.ckpt"]
    resume(run)
    assert differences(run, pair) == []


def test_another_number_of_processes_goes_on_and_says_so(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    train(TWO, scenes, run=run, devices=2, stop_after="0s")
    assert resume(run, devices=1).epochs == 3
    assert "note: going on with 1 processes after 2" in " ".join(capsys.readouterr().err.split())
    assert [row["steps"] for row in read_rows(run)] == ["5", "11", "17"]


@pytest.mark.parametrize("model", ["dsresnet", "roomnet"])
def test_what_a_loss_of_masks_alone_leaves_untrained_is_no_hindrance(model: str, scenes: Path, tmp_path: Path) -> None:
    recipe = TWO.model_copy(update={"model": model, "phases": (Phase(size=32, epochs=1, batch_size=4),)})
    assert train(recipe, scenes, run=tmp_path / "run", devices=2).epochs == 1


def test_items_without_depth_in_one_process_are_no_hindrance(dataset: Path, tmp_path: Path) -> None:
    recipe = TWO.model_copy(
        update={"model": "dsresnet", "loss": "rmse-bce-dice", "phases": (Phase(size=64, epochs=1, batch_size=1),)}
    )
    (row,) = [train(recipe, dataset, run=tmp_path / "run", devices=2).best]
    assert row
    assert row["validation/rmse"] < 1


def test_there_are_fewer_validation_batches_than_processes(scenes: Path, tmp_path: Path) -> None:
    run, recipe = tmp_path / "run", tmp_path / "recipe.yaml"
    few = TWO.model_copy(update={"split": RandomSplit(kind="random", items_per_part=3), "previews": 0})
    recipe.write_text(few.to_yaml())
    training = start("train", recipe, "--data", scenes, "--run", run, "--devices", "2")
    try:
        _, err = training.communicate(timeout=120)
    finally:
        training.kill()
    assert training.returncode == 0, err
    assert len(read_rows(run)) == 3


def test_as_many_as_before_are_the_last_number_and_are_too_many_for_fewer_items(scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(TWO, scenes, run=run, devices=2, epochs_now=1)
    resume(run, devices=1, epochs_now=1)
    with pytest.raises(UserError, match="26 training items are too few for 27 processes; use fewer"):
        resume(run, devices=27)
    assert resume(run).epochs == 3
    assert [row["steps"] for row in read_rows(run)] == ["3", "9", "15"]
