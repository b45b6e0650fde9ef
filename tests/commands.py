"""What tests of the command line share: commands in a process of their own, and how they end."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

FAST = [
    *("--set", "model=masknet", "--set", "loss=bce", "--set", "previews=0"),
    *("--set", "phases=[{size: 32, epochs: 1, batch_size: 6}]"),
    *("--set", "compute={precision: float32, layout: contiguous, workers: 0}"),
]
Call = Callable[..., tuple[int, str, str]]


def process(*arguments: str | Path, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, its files no larger than `limit` bytes."""
    return subprocess.run(
        [sys.executable, "-m", "cleanplate", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None,
    )


def start(
    *arguments: str | Path, command: Sequence[str] = ("-m", "cleanplate"), **environment: str
) -> subprocess.Popen[str]:
    """Start `cleanplate`, or another command of Python's, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, *command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        # As in a terminal: tests that run in the background of a shell inherit a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def fault(done: tuple[int, str, str] | subprocess.CompletedProcess[str]) -> str:
    """Return the one line of a command that ended with a fault of the user's."""
    code, out, err = done if isinstance(done, tuple) else (done.returncode, done.stdout, done.stderr)
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    line = err.splitlines()[-1]
    assert line.startswith("cleanplate: ")
    assert sum(other.startswith("cleanplate: ") for other in err.splitlines()) == 1
    return line.removeprefix("cleanplate: ")


def answer(done: tuple[int, str, str]) -> dict:
    """Return the JSON object that is all of standard output."""
    code, out, err = done
    assert code == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


def interrupt_when(
    arguments: list[str | Path], ready: Callable[[], bool], number: int, *, alone: bool = False
) -> tuple[int, str, str]:
    """Start a command, send it a signal once `ready`, and return how it and all its processes ended.

    As a terminal does, the signal goes to every process of the command, or to the first `alone`.
    """
    child = start(*arguments)
    while child.poll() is None and not ready():
        with suppress(subprocess.TimeoutExpired):
            child.wait(0.02)
    (os.kill if alone else os.killpg)(child.pid, number)
    out, err = child.communicate(timeout=60)
    return child.returncode, out, err
