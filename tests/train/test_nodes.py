"""Processes that torchrun or SLURM has started train together."""

from pathlib import Path

import pytest
from chaos import differences
from commands import start
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from trainings import TWO

from cleanplate import UserError, train
from cleanplate.experiments import run_experiment
from cleanplate.train.fit import train_seeds


def test_torchrun_on_two_nodes(pair: Path, scenes: Path, tmp_path: Path) -> None:
    run, port = tmp_path / "run", find_free_network_port()
    (tmp_path / "recipe.yaml").write_text(TWO.to_yaml())
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
        train(TWO, scenes, run=tmp_path / "run")


def test_what_trains_one_run_after_the_other_is_refused_beside_other_processes(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "train"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="--seeds trains one run after the other, in one process"):
        train_seeds(TWO, scenes, [1, 2], run=tmp_path / "run")
    with pytest.raises(UserError, match="cleanplate experiments trains one run after the other"):
        run_experiment("losses-mask", scenes, out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_slurm_tasks_on_two_nodes_go_on_with_a_run_of_two_processes(pair: Path, scenes: Path, tmp_path: Path) -> None:
    run, port = tmp_path / "run", find_free_network_port()
    train(TWO, scenes, run=run, devices=2, epochs_now=1)
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
