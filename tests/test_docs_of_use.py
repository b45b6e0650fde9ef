"""The commands and the Python of docs/use.md, run in their order, on small data."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from documented import console_commands
from scenes import draw_wall

from cleanplate import Predictor, cli
from cleanplate.pictures import write_picture

PAGE = (Path(__file__).parents[1] / "docs" / "use.md").read_text()
SHAPE = (96, 128)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Path:
    """A folder with what the page says the user has."""
    from films import draw_frame, write_film

    folder = tmp_path_factory.mktemp("use")
    shutil.copytree(run, folder / "run")
    write_picture(folder / "plate.png", draw_wall(0, SHAPE))
    write_picture(folder / "beach.jpg", draw_wall(4, (50, 50)))
    (folder / "shots").mkdir()
    (folder / "more").mkdir()
    for name in ("frame.jpg", "shots/a.png", "more/b.jpg", "more/c.jpg"):
        write_picture(folder / name, draw_frame(5))
    write_film(folder / "talk.mp4", 30)
    return folder


def test_every_command_of_the_page_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    commands = console_commands(PAGE)
    assert len(commands) >= 5
    for words in commands:
        with pytest.raises(SystemExit) as ended:
            cli.main(words[1:])
        assert ended.value.code == 0, " ".join(words)
    assert {path.stem for path in Path("predictions").glob("*_mask.png")} == {f"{n}_mask" for n in ("frame", *"abc")}
    assert {path.name for path in Path("talk").iterdir()} == {
        "talk_mask.mp4", "talk_cutout.webm", "talk_depth_colour.mp4", "talk_onto.mp4"
    }  # fmt: skip
    assert {path.name for path in Path("green").iterdir()} == {"frame_onto.png", "frame_depth_metres.tiff"}
    assert Path("empty_share.png").exists()
    onto = cv2.imread("green/frame_onto.png")
    assert np.abs(onto[:20].astype(int) - (0, 255, 0)).mean() < 20  # nobody is up there


def test_the_python_of_the_page_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    names = {"Predictor": Predictor, "plate": draw_wall(0, SHAPE), "frame": draw_wall(0, SHAPE)}
    exec(code, names)
    assert names["mask"].shape == names["depth"].shape == SHAPE
    assert np.array_equal(names["answers"][0].mask, names["answers"][1].mask)
