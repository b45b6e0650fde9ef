"""The README's commands, run in their order, on small data."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from documented import console_commands

from cleanplate import Predictor, cli
from cleanplate.pictures import list_pictures, read_rgb

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

# No trial of what is fastest, which takes longer than the training
PLAIN_COMPUTE = ["--set", "compute.precision=float32", "--set", "compute.layout=contiguous"]
# What makes each command small enough for a test; the rest of it is run as it stands.
SMALLER = {
    "data museum": ["--rooms", "4", "--frames", "6", "--figures", "5", "--size", "64", "--workers", "1"],
    "data compose": ["--places", "2", "--size", "64", "--workers", "1"],
    "lr-range": ["--sweep", "1e-4:1:3", "--set", "phases=[{size: 32, epochs: 1, batch_size: 4}]", *PLAIN_COMPUTE],
    "train room": ["--set", "composition.items=40", "--set", "composition.figures=3"],
    "train": ["--set", "phases=[{size: 32, epochs: 1, batch_size: 4}]", *PLAIN_COMPUTE],
}


def run(words: list[str]) -> int:
    names = words[0], " ".join(words[:2])
    smaller = [] if "--resume" in words else [word for name in names for word in SMALLER.get(name, [])]
    with pytest.raises(SystemExit) as ended:
        cli.main(words + smaller)
    return ended.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, plates: Path, cutouts: Path) -> Path:
    """A folder with what the README says the user has."""
    folder = tmp_path_factory.mktemp("readme")
    for name, pictures in (("my_plates", plates), ("my_people", cutouts)):
        (folder / name).mkdir()
        for path in list_pictures(pictures):
            shutil.copy(path, folder / name)
    plate = list_pictures(folder / "my_plates")[0]
    (folder / "my_room").mkdir()
    for copy in ("my_plates/hall.jpg", "my_room/plate.jpg", "plate.jpg", "frame.jpg"):
        shutil.copy(plate, folder / copy)
    return folder


def test_every_command_of_the_readme_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for words in console_commands(README):
        if words[0] == "cleanplate":
            assert run(words[1:]) == 0, " ".join(words)
    assert list((folder / "predictions").glob("*_overview.png"))


def test_the_python_of_the_readme_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    recipe = folder / "small.yaml"
    recipe.write_text(yaml.safe_dump({"phases": [{"size": 32, "epochs": 1, "batch_size": 4}]}))
    plate = read_rgb(list_pictures(folder / "museum" / "bg")[0])
    names = {"plate": plate, "frame": plate}
    exec(code.replace('"quick"', f'"{recipe}"'), names)
    assert names["mask"].shape == names["depth"].shape == plate.shape[:2]
    assert isinstance(Predictor.load("runs/museum-2"), Predictor)


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {words[1] for words in console_commands(README) if words[0] == "make"}
    assert targets == {"demo", "test"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
