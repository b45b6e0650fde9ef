"""The command line as a whole: help, imports, and one line for whatever is at fault."""

import inspect
import json
import math
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from commands import FAST, Call, fault

import cleanplate as cleanplate_package
from cleanplate.cli import app
from cleanplate.cli.options import tell
from cleanplate.train.fit import Trained

HEAVY = ("torch", "cv2", "matplotlib", "pytorch_lightning", "kornia", "tensorboard")


def commands() -> list[list[str]]:
    table = typer.main.get_command(app).commands
    groups = {name: command.commands for name, command in table.items() if hasattr(command, "commands")}
    in_groups = [[group, name] for group, names in groups.items() for name in names]
    return [[name] for name in table if name not in groups] + in_groups


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_help_shows_an_example_that_begins_with_the_command(command: list[str], cleanplate: Call) -> None:
    code, out, _ = cleanplate(*command, "--help")
    assert code == 0
    assert f"Example: cleanplate {' '.join(command)}" in out
    assert "--json" in out


@pytest.mark.parametrize("arguments", [[], ["data"], ["--help"], ["data", "--help"]], ids=" ".join)
def test_help_comes_without_a_command_too(arguments: list[str], cleanplate: Call) -> None:
    code, out, _ = cleanplate(*arguments)
    assert code == 0
    assert "Usage: cleanplate" in out


def test_version(cleanplate: Call) -> None:
    assert cleanplate("--version") == (0, "0.1.0\n", "")


@pytest.mark.parametrize("code", ["import cleanplate", "import cleanplate.cli", "from cleanplate import UserError"])
def test_heavy_imports_wait_until_needed(code: str) -> None:
    script = f"{code}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


def test_what_does_not_train_does_without_lightning() -> None:
    modules = "cleanplate.evaluate, cleanplate.footage, cleanplate.compare.report, cleanplate.predict.pictures"
    script = f"import {modules}\nimport sys\nprint('pytorch_lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"


def test_help_in_a_process_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cleanplate", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {*HEAVY, "numpy"}


def test_functions_stay_functions_when_modules_of_their_names_are_imported() -> None:
    for module in ("cleanplate.train.fit", "cleanplate.evaluate", "cleanplate.predict.pictures"):
        import_module(module)
    assert inspect.isfunction(cleanplate_package.train)
    assert inspect.isfunction(cleanplate_package.compare)
    assert inspect.isfunction(cleanplate_package.evaluate)
    assert inspect.isfunction(cleanplate_package.predict)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "qick", "--data", "."], "qick: no such recipe; give a YAML file or one of fast, general, "),
        (["train", "quick"], "--data is missing"),
        (["train"], "give a recipe"),
        (["train", "quick", "--resume", "."], "leave out RECIPE"),
        (["train", "--resume", "nowhere"], "nowhere: not a run folder"),
        (["train", "--resume", "nowhere", "--stop-after", "soon"], "--stop-after soon: expected a time such as 45m"),
        (["train", "--resume", "nowhere", "--epochs-now", "0"], "--epochs-now 0: give 1 or more"),
        (["train", "quick", "--data", ".", "--take", "file"], "--take goes with --resume"),
        (["train", "quick", "--data", ".", "--dry-run", "--devices", "2"], "--dry-run looks at a whole training"),
        (["train", "quick", "--data", ".", "--seeds", "1,2", "--epochs-now", "1"], "leave out --stop-after"),
        (["train", "quick", "--data", "nowhere"], "nowhere: this data set folder does not exist"),
        (["train", "quick", "--data", ".", "--set", "seed"], "--set seed: expected key=value"),
        (["train", "quick", "--data", ".", "--set", "phases.7.size=32"], "--set phases.7.size=32: there is no such"),
        (["train", "quick", "--data", ".", "--set", "phases.0.size=33"], "phases.0.size: size: 33 is not a multiple"),
        (["train", "quick", "--data", ".", "--set", "model=masknet"], "rmse-bce-dice needs depth"),
        (
            ["train", "quick", "--data", ".", "--set", "loss=bce", "--set", "depth_weight=8"],
            "depth_weight: loss bce looks",
        ),
        (["train", "quick", "--data", ".", "--set", "depth_weight=0"], "depth_weight"),
        (
            ["train", "quick", "--data", ".", "--set", "optimizer={name: adamw, betas: [0.9, 1]}"],
            "optimizer.betas.1",
        ),
        (["train", "quick", "--data", ".", "--set", "optimizer.nam=sgd"], "optimizer.nam: Extra inputs"),
        (["train", "quick", "--data", ".", "--set", "optimizer.name=lion"], "optimizer: "),
        (["evaluate", "--weights", "nowhere", "--data", "."], "file_map.txt: missing"),
        (["predict", "--weights", "nowhere", "--plate", "p.png", "frame.png"], "frame.png: no such picture"),
        (["train", "quick", "--data", ".", "--seeds", "1,x"], "--seeds 1,x: expected whole numbers"),
        (["train", "quick", "--data", ".", "--seeds", "1,1"], "--seeds 1,1: give each seed once"),
        (["train", "quick", "--data", ".", "--seeds", "1,-1"], "--seeds 1,-1: give seeds from 0 to 4294967295"),
        (["train", "quick", "--data", ".", "--seeds", "4294967296"], "--seeds 4294967296: give seeds from 0"),
        (["train", "--resume", "nowhere", "--seeds", "1"], "leave out RECIPE, --run, --set, --seeds"),
        (["lr-range", "qick", "--data", "."], "qick: no such recipe"),
        (["compare", "nowhere"], "nowhere: not a run folder"),
        (["compare"], "Missing argument 'runs'"),
        (["experiments", "lossses", "--data", "."], "lossses: no such experiment; there are losses-mask"),
        (["experiments", "report", "--data", "nowhere"], "nowhere: this data set folder does not exist"),
        (["data", "check", "nowhere"], "nowhere: this data set folder does not exist"),
        (["data", "museum", "."], ".: the folder that one works in cannot be replaced; give the name of a new one"),
        (["train", "quick", "--data", "nowhere", "--run", "."], ".: the folder that one works in cannot be replaced"),
        (["data", "stats", "nowhere", "--sheet", "sheet"], "--sheet sheet: is no name of a picture; end it in .png"),
        (["data", "museum", "out", "--size", "33"], "33 is not a multiple of 32"),
        (["lr-range", "quick"], "--data is missing: give a data set folder"),
        (["experiments", "report"], "Missing option '--data'"),
        (["train", "quick", "--epochs", "3"], "No such option: --epochs"),
        (["evalute"], "No such command 'evalute'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_fault_of_the_users_is_one_line(
    arguments: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanplate: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    assert text in fault(cleanplate(*arguments))
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_is_no_number_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"validation/loss": math.nan, "validation/iou": 0.5}
    tell(True, Trained(run="run", epochs=1, best=row, seconds=1, items_per_second=None), "")
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["best"] == {**row, "validation/loss": None}


def test_a_terminal_that_is_gone_is_one_line() -> None:
    mine, its = os.openpty()
    os.close(mine)
    command = [sys.executable, "-m", "cleanplate", "recipes"]
    done = subprocess.run(command, stdout=its, stderr=subprocess.PIPE, text=True)
    os.close(its)
    assert done.returncode == 2
    assert done.stderr.startswith("cleanplate: writing: Input/output error; ")
    assert done.stderr.count("\n") == 1


def test_output_that_nobody_reads_any_more_ends_a_command_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "cleanplate", "recipes"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_output_that_is_a_file_is_refused(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert f"{taken}: exists already" in fault(cleanplate("train", "quick", "--data", scenes, "--run", taken, *FAST))
    assert f"{taken}: exists already" in fault(cleanplate("data", "museum", taken, "--rooms", "2"))
    assert taken.read_text() == "mine"
