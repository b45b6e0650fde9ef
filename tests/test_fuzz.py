"""What no foreign file may do, tried with 500 of them; `python benchmarks/fuzz.py` tries 20,000."""

import os
import re
from pathlib import Path

import pytest
from fuzz_readers import make_readers
from fuzzing import Reader, fuzz
from hypothesis import strategies as st

from cleanplate.errors import UserError

TABLES = ("recipe", "card", "depth_network", "file_map", "items")
READERS = (*TABLES, "png", "jpeg", "bitmap", "cutout", "pack", "zip", "video", "weights", "onnx", "monocular")
INPUTS = 500 // len(READERS)


@pytest.mark.parametrize("name", READERS)
def test_reader_answers_or_refuses_in_a_line(name: str, tmp_path: Path) -> None:
    readers = make_readers(tmp_path)
    assert tuple(readers) == READERS
    tally = fuzz(readers[name], INPUTS, tmp_path / "folder")
    assert [(finding.fault, finding.content[:300]) for finding in tally.findings] == []
    assert tally.answered + tally.refused == tally.inputs
    assert min(tally.answered, tally.refused) > 0


def _refuse(message: str) -> None:
    raise UserError(message)


def _loop(path: Path) -> None:
    while path:
        pass


FAULTS = {
    "another exception": (lambda path: {}[path.name], "KeyError"),
    "no file named": (lambda path: _refuse("something is wrong"), "names no file"),
    "a file written outside": (lambda path: (path.parents[1] / "made").write_text(""), "open .*made"),
    "a folder made outside": (lambda path: (path.parents[1] / "made").mkdir(), r"os\.mkdir .*made"),
    "a file read outside": (lambda path: (path.parents[1] / "secret").read_text(), "open .*secret"),
    "code run": (lambda path: os.system("true"), r"os\.system"),
    "an endless loop": (_loop, "_Hang"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fuzzing_finds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, words = FAULTS[name]
    (tmp_path / "secret").write_text("")
    monkeypatch.setattr("fuzzing.SECONDS", 0.2)
    tally = fuzz(Reader("bad", "a.txt", st.just(b"x"), read), 1, tmp_path / "folder")
    (finding,) = tally.findings
    assert finding.content == b"x"
    assert re.search(words, finding.fault)
