"""docs/python.md: that each function is where the page says, and that its script runs."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from commands import FAST

from cleanplate.weights import find_run

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text()
TABLE = [line for line in PAGE.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("line", TABLE, ids=[line.split("|")[1].strip() for line in TABLE])
def test_functions_are_where_the_page_says(line: str) -> None:
    named = re.findall(r"`([\w.]+)`", line.split("|")[2])
    assert named
    module = ""
    for name in named:
        module = name.rpartition(".")[0] or module  # a second one may stand without
        function = getattr(import_module(module), name.rpartition(".")[2])
        assert function.__doc__


def test_the_script_trains(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "museum").symlink_to(scenes)
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    small = [setting for setting in FAST if setting != "--set"]
    exec(script.replace('["optimizer.lr=0.01"]', repr(small)), {})
    assert find_run("runs/second")
