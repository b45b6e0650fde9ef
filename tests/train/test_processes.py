"""Training in several processes: who has which items, that figures and weights are right, and how it ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.popen_forkserver import Popen
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
from chaos import differences
from hypothesis import assume, given
from hypothesis import strategies as st
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from scenes import write_scenes
from trainings import parameters, read_rows, small_recipe

from cleanplate import Recipe, UserError, resume, train
from cleanplate.compare.summary import Loaded
from cleanplate.data.modest import ModestFolder
from cleanplate.data.module import PhasedData, steps_per_epoch
from cleanplate.data.source import shuffled
from cleanplate.data.split import Split, split_items
from cleanplate.data.statistics import normalisation_of
from cleanplate.experiments import run_experiment
from cleanplate.recipe import Augmentation, Contrast, Phase, RandomSplit, Sgd
from cleanplate.train.fit import train_seeds
from cleanplate.train.processes import OtherProcessError, Place, run_in_processes
from cleanplate.train.task import CleanplateTask

RECIPE = small_recipe(
    optimizer=Sgd(lr=0.1),
    phases=(Phase(size=32, epochs=3, batch_size=4),),
    augmentation=Augmentation(contrast=Contrast()),
    previews=2,
)


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


@pytest.fixture(scope="module")
def pair(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of three epochs in two processes."""
    return Path(train(RECIPE, scenes, run=tmp_path_factory.mktemp("pair") / "run", devices=2).run)


def test_metrics_of_two_processes_are_those_of_one(pair: Path, scenes: Path) -> None:
    folder = ModestFolder(scenes)
    split = split_items(folder, RECIPE.split)
    task = CleanplateTask(RECIPE, normalisation_of(folder), folder.card.depth, list(split.parts), len(split.train))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
    for row in read_rows(pair):
        task.model.load_state_dict(parameters(pair / "epochs" / f"{int(row['epoch']):03d}.safetensors"))
        pl.Trainer(**quiet).validate(task, datamodule=PhasedData(folder, split, RECIPE), verbose=False)
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
        train(RECIPE, scenes, run=tmp_path / "run", devices=27)
    train(RECIPE, scenes, run=tmp_path / "run", devices=2, stop_after="0s")
    said = " ".join(capsys.readouterr().err.split())
    assert "2 processes with batches of 4, 8 items a step; 2 of 26 training items are left out of each epoch" in said


def test_two_processes_go_on_exactly(pair: Path, scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(RECIPE, scenes, run=run, devices=2, stop_after="0s")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000000001.ckpt"]
    resume(run)
    assert differences(run, pair) == []


def test_another_number_of_processes_goes_on_and_says_so(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    train(RECIPE, scenes, run=run, devices=2, stop_after="0s")
    assert resume(run, devices=1).epochs == 3
    assert "note: going on with 1 processes after 2" in " ".join(capsys.readouterr().err.split())
    assert [row["steps"] for row in read_rows(run)] == ["5", "11", "17"]


@pytest.mark.parametrize("model", ["dsresnet", "roomnet"])
def test_what_a_loss_of_masks_alone_leaves_untrained_is_no_hindrance(model: str, scenes: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"model": model, "phases": (Phase(size=32, epochs=1, batch_size=4),)})
    assert train(recipe, scenes, run=tmp_path / "run", devices=2).epochs == 1


def test_items_without_depth_in_one_process_are_no_hindrance(dataset: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(
        update={"model": "dsresnet", "loss": "rmse-bce-dice", "phases": (Phase(size=64, epochs=1, batch_size=1),)}
    )
    (row,) = [train(recipe, dataset, run=tmp_path / "run", devices=2).best]
    assert row
    assert row["validation/rmse"] < 1


def test_there_are_fewer_validation_batches_than_processes(scenes: Path, tmp_path: Path) -> None:
    run, recipe = tmp_path / "run", tmp_path / "recipe.yaml"
    few = RECIPE.model_copy(update={"split": RandomSplit(kind="random", items_per_part=3), "previews": 0})
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
    train(RECIPE, scenes, run=run, devices=2, epochs_now=1)
    resume(run, devices=1, epochs_now=1)
    with pytest.raises(UserError, match="26 training items are too few for 27 processes; use fewer"):
        resume(run, devices=27)
    assert resume(run).epochs == 3
    assert [row["steps"] for row in read_rows(run)] == ["3", "9", "15"]


# How it ends


def start(
    *arguments: str | Path, command: Sequence[str] = ("-m", "cleanplate"), **environment: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def long_recipe(path: Path) -> Path:
    """Return the file of a recipe that does not end within the test."""
    phases = (Phase(size=32, epochs=2000, batch_size=4),)
    path.write_text(RECIPE.model_copy(update={"phases": phases, "previews": 0}).to_yaml())
    return path


def wait_for(run: Path, training: "subprocess.Popen[str]") -> None:
    """Wait until an epoch has ended."""
    deadline = time.monotonic() + 120
    while not (run / "metrics.csv").exists() and training.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (run / "metrics.csv").exists(), training.communicate()


def trainers_of(training: "subprocess.Popen[str]") -> list[int]:
    """Return the processes that a training has started to train in: those of its session that lead a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        group, session = map(int, path.read_text().rpartition(")")[2].split()[2:4])
        if session == training.pid != group == int(path.parent.name):
            found.append(group)
    return sorted(found)


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the processes in /proc, which this system has not")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_the_others_with_one_line(rank: int, scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = long_recipe(tmp_path / "long.yaml")
    training = start("train", recipe, "--data", scenes, "--run", run, "--devices", "2")
    wait_for(run, training)
    pids = trainers_of(training)
    assert len(pids) == 2
    os.kill(pids[rank], signal.SIGKILL)
    _, err = training.communicate(timeout=60)
    assert training.returncode == 2
    line = f"cleanplate: process {rank + 1} of 2 was ended by SIGKILL, and the others with it"
    assert err.splitlines()[-1].startswith(line)
    assert "Traceback" not in err
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert resume(run, epochs_now=1, devices=1).epochs >= 1


def be_killed_or_miss_the_other(place: Place, gone: Path) -> None:
    """The first is killed, but only gone after the other has missed it: connections close before a process ends."""
    if place.rank == 1:
        gone.touch()
        raise OtherProcessError("another process has ended, so this one cannot go on")
    while not gone.exists():
        time.sleep(0.01)
    wait([multiprocessing.parent_process().sentinel], timeout=0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def test_one_that_is_killed_is_named_though_the_other_ended_first(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="process 1 of 2 was ended by SIGKILL, and the others with it"):
        run_in_processes(2, be_killed_or_miss_the_other, [tmp_path / "gone"])


def be_killed(place: Place) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_one_that_is_killed_is_named_though_its_exit_code_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process closes its sentinel while it ends, and has no exit code for a moment longer."""
    ours, known = Popen.poll, set[int]()

    def late(self: Popen, flag: int = os.WNOHANG) -> int | None:
        code = ours(self, flag)
        if code is None or self.pid in known:
            return code
        known.add(self.pid)
        return None if flag == os.WNOHANG else code

    monkeypatch.setattr(Popen, "poll", late)
    with pytest.raises(UserError, match="process 1 of 1 was ended by SIGKILL"):
        run_in_processes(1, be_killed, [])


def test_a_signal_stops_all_of_them(scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = long_recipe(tmp_path / "long.yaml")
    training = start("train", recipe, "--data", scenes, "--run", run, "--devices", "2")
    wait_for(run, training)
    os.kill(training.pid, signal.SIGTERM)
    _, err = training.communicate(timeout=60)
    assert training.returncode == 143
    assert err.splitlines()[-1] == f"stopped by SIGTERM; go on with `cleanplate train --resume {run}`"
    assert "Traceback" not in err


def test_a_fault_in_one_process_is_one_line(tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "data")
    folder = ModestFolder(data)
    normalisation_of(folder)
    broken = folder.find(int(split_items(folder, RECIPE.split).parts["new_plate"][-1]), "frame")
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.raises(UserError, match=rf"^{broken}: the picture ends early"):
        train(RECIPE, data, run=tmp_path / "run", devices=2)


def test_torchrun_on_two_nodes(pair: Path, scenes: Path, tmp_path: Path) -> None:
    run, port = tmp_path / "run", find_free_network_port()
    (tmp_path / "recipe.yaml").write_text(RECIPE.to_yaml())
    nodes = [
        start(
            *("--nnodes", "2", "--node-rank", str(node), "--nproc-per-node", "1"),
            *("--master-addr", "127.0.0.1", "--master-port", str(port)),
            *("-m", "--", "cleanplate", "train", tmp_path / "recipe.yaml", "--data", scenes, "--run", run),
            command=("-m", "torch.distributed.run"),
        )
        for node in (0, 1)
    ]
    printed, said = zip(*(node.communicate(timeout=180) for node in nodes), strict=True)
    assert [node.returncode for node in nodes] == [0, 0], said
    assert "2 processes with batches of 4" in " ".join(said[0].split())
    assert "best epoch 3 of 3" in printed[0]
    assert printed[1] == ""
    assert differences(run, pair) == []


def test_slurm_without_a_number_of_tasks_a_node_is_refused(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    with pytest.raises(UserError, match="SLURM: give --ntasks-per-node, not --ntasks"):
        train(RECIPE, scenes, run=tmp_path / "run")


def test_what_trains_one_run_after_the_other_is_refused_beside_other_processes(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "train"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="--seeds trains one run after the other, in one process"):
        train_seeds(RECIPE, scenes, [1, 2], run=tmp_path / "run")
    with pytest.raises(UserError, match="cleanplate experiments trains one run after the other"):
        run_experiment("losses-mask", scenes, out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_slurm_tasks_on_two_nodes_go_on_with_a_run_of_two_processes(pair: Path, scenes: Path, tmp_path: Path) -> None:
    run, port = tmp_path / "run", find_free_network_port()
    train(RECIPE, scenes, run=run, devices=2, epochs_now=1)
    job = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1"}
    tasks = [
        start(
            *("train", "--resume", run),
            **job,
            SLURM_PROCID=str(task),
            SLURM_NODEID=str(task),
            SLURM_LOCALID="0",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
        for task in (0, 1)
    ]
    said = [task.communicate(timeout=180)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert differences(run, pair) == []
