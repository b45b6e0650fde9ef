"""How a training in several processes ends: killed, told to stop, or at fault."""

import multiprocessing
import os
import signal
import subprocess
import time
from multiprocessing.connection import wait
from multiprocessing.popen_forkserver import Popen
from pathlib import Path

import pytest
from commands import start
from scenes import write_scenes
from trainings import TWO

from cleanplate import UserError, resume, train
from cleanplate.data.modest import ModestFolder
from cleanplate.data.split import split_items
from cleanplate.data.statistics import normalisation_of
from cleanplate.recipe import Phase
from cleanplate.train.processes import OtherProcessError, Place, run_in_processes


def long_recipe(path: Path) -> Path:
    """Return the file of a recipe that does not end within the test."""
    phases = (Phase(size=32, epochs=2000, batch_size=4),)
    path.write_text(TWO.model_copy(update={"phases": phases, "previews": 0}).to_yaml())
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


def be_killed_or_miss_the_other(place: Place, folder: Path) -> None:
    """The first is killed, but only gone after the other has missed it: connections close before a process ends."""
    joined, gone = folder / "joined", folder / "gone"
    if place.rank == 1:
        wait_for_file(joined)  # who joins while the other leaves fails in that
        gone.touch()
        raise OtherProcessError("another process has ended, so this one cannot go on")
    joined.touch()
    wait_for_file(gone)
    wait([multiprocessing.parent_process().sentinel], timeout=0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_file(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def test_one_that_is_killed_is_named_though_the_other_ended_first(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="process 1 of 2 was ended by SIGKILL, and the others with it"):
        run_in_processes(2, be_killed_or_miss_the_other, [tmp_path])


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
    broken = folder.find(int(split_items(folder, TWO.split).parts["new_plate"][-1]), "frame")
    broken.write_bytes(broken.read_bytes()[:-30])
    with pytest.raises(UserError, match=rf"^{broken}: the picture ends early"):
        train(TWO, data, run=tmp_path / "run", devices=2)
