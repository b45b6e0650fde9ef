"""The one check of all readers of foreign files: an answer, or a UserError of one line.

`fuzz_readers.py` has the readers, `fuzz_inputs.py` what they are fed with: by the thousands in `benchmarks/fuzz.py`, by
the hundreds in `test_fuzz.py`.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy as np
import yaml
from fuzz_inputs import FILE_MAP
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from cleanplate.data.modest import FIELDS
from cleanplate.errors import UserError
from cleanplate.pictures import write_picture
from cleanplate.recipes import load_recipe

SECONDS = 10
"""A reader that takes longer hangs."""
MEGABYTES = 2000
"""A reader that takes more is no longer bounded: a picture of 100 million pixels takes some 1,200."""


class Finding(NamedTuple):
    """What a reader should not have done."""

    reader: str
    fault: str
    content: bytes


class Tally(NamedTuple):
    """What came of a reader's inputs."""

    reader: str
    inputs: int
    answered: int
    refused: int
    seconds: float
    findings: list[Finding]


class Reader(NamedTuple):
    """A reader under test: the input becomes `file` of a furnished folder, and `read` reads it there."""

    name: str
    file: str
    inputs: st.SearchStrategy[bytes]
    read: Callable[[Path], object]


def fuzz(reader: Reader, inputs: int, folder: Path, seed: int = 0) -> Tally:
    """Feed a reader with inputs that follow from the seed; `folder` is furnished and used for nothing else."""
    _furnish(folder)
    outcomes: list[str | Finding] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=inputs, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=HealthCheck
    )
    @hypothesis.given(reader.inputs)
    def feed(content: bytes) -> None:
        outcomes.append(_try(reader, folder / reader.file, content))

    _try(reader, folder / reader.file, b"")  # what is imported late is imported now
    start = time.perf_counter()
    feed()
    seconds = time.perf_counter() - start
    findings = [outcome for outcome in outcomes if isinstance(outcome, Finding)]
    return Tally(reader.name, len(outcomes), outcomes.count("answered"), outcomes.count("refused"), seconds, findings)


def _try(reader: Reader, path: Path, content: bytes) -> str | Finding:
    path.write_bytes(content)
    peak, start = _peak_megabytes(), time.perf_counter()
    outcome = "answered"
    with _watch(path.parent) as faults:
        try:
            reader.read(path)
        except UserError as error:
            outcome = "refused"
            message = str(error)
            if not message.isprintable():
                faults.append(f"a message of several lines: {message!r}")
            if path.name not in message and str(path.parent) not in message:
                faults.append(f"a message that names no file: {message}")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            faults.append(f"{type(error).__name__}: {error}")
    if time.perf_counter() - start > SECONDS:
        faults.append(f"took {time.perf_counter() - start:.0f} s")
    if _peak_megabytes() - peak > MEGABYTES:
        faults.append(f"took {_peak_megabytes() - peak:.0f} MB")
    return Finding(reader.name, "; ".join(faults), content) if faults else outcome


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _Hang(BaseException):
    """A reader has taken too long."""


_FORBIDDEN = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "pickle.find_class"}
_CHANGES = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate"}
_INSTALLED = tuple(
    str(Path(place).resolve()) for place in (sys.prefix, sys.base_prefix, Path(yaml.__file__).parent, "src", "/proc")
)
_watched: list[tuple[Path, list[str]]] = []


@contextmanager
def _watch(folder: Path) -> Iterator[list[str]]:
    """Yield a list that fills with what happens within: what leaves the folder, runs programs, or hangs."""

    def stop(*_: object) -> None:
        raise _Hang

    faults: list[str] = []
    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    _watched.append((folder.resolve(), faults))
    try:
        yield faults
    finally:
        _watched.pop()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _note(event: str, details: tuple) -> None:
    if not _watched:
        return
    folder, faults = _watched[-1]
    if event in _FORBIDDEN:
        faults.append(f"{event} {details}")
    elif (event == "open" or event in _CHANGES) and isinstance(details[0], str | bytes | os.PathLike):
        path = os.path.realpath(os.fsdecode(details[0]))
        reads = event == "open" and not details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not path.startswith((str(folder), *_INSTALLED) if reads else str(folder)):
            faults.append(f"{event} {path}")


sys.addaudithook(_note)


def _furnish(folder: Path) -> None:
    """Fill a folder with a data set of one item `a` and a recipe to extend."""
    for field in FIELDS:
        (folder / field).mkdir(parents=True)
        write_picture(folder / field / "a.png", np.full((8, 8, 3) if field in FIELDS[:2] else (8, 8), 99, np.uint8))
    (folder / "file_map.txt").write_bytes(FILE_MAP)
    (folder / "base.yaml").write_text(load_recipe("quick").to_yaml())
