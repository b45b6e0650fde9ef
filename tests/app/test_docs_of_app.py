"""The commands of docs/app.md, run in their order against a server of their own."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from app_process import Served
from documented import console_commands

from cleanplate.app.server import STATIC

PAGE = (Path(__file__).parents[2] / "docs" / "app.md").read_text()

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl; on Debian: apt-get install curl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Path:
    """A folder with what the page says the user has."""
    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(run, folder / "runs" / "museum")
    for kind in ("plate", "frame"):
        shutil.copy(STATIC / "examples" / f"hall-{kind}.jpg", folder / f"{kind}.jpg")
    return folder


@pytest.fixture(scope="module")
def app(folder: Path) -> Iterator[Served]:
    """The server that the page starts, on a free port."""
    ((name, command, weights, path),) = [words for words in console_commands(PAGE) if words[0] == "cleanplate"]
    assert (name, command, weights) == ("cleanplate", "app", "--weights")
    app = Served(weights, folder / path, "--port", "0", "--json")
    yield app
    assert app.stop()[0] == 130


def test_every_request_of_the_page_is_answered(app: Served, folder: Path) -> None:
    plate_id, answers = "", []
    requests = [words for words in console_commands(PAGE) if words[0] == "curl"]
    assert len(requests) == 3
    for words in requests:
        sent = [
            f"plate_id={plate_id}" if word.startswith("plate_id=") else word.replace("http://127.0.0.1:8000", app.url)
            for word in words
        ]
        answered = subprocess.run([*sent, "-sS", "--fail"], cwd=folder, capture_output=True, check=True).stdout
        answers.append(json.loads(answered) if answered else None)
        plate_id = (answers[-1] or {}).get("plate_id", "")
    cutout = cv2.imread(str(folder / "cutout.png"), cv2.IMREAD_UNCHANGED)
    assert cutout.shape == (448, 448, 4)
    assert answers[0] is None
    assert answers[1].keys() == json.loads(next(line for line in PAGE.splitlines() if line.startswith("{"))).keys()
    assert (answers[2]["width"], answers[2]["height"], answers[2]["warnings"]) == (448, 448, [])


def test_the_extra_that_the_page_has_installed_exists() -> None:
    (words,) = [words for words in console_commands(PAGE) if words[0] == "pip"]
    extras = words[-1].partition("[")[2].removesuffix("]")
    assert f"\n{extras} = [" in (Path(__file__).parents[2] / "pyproject.toml").read_text()
