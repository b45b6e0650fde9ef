"""The command line: what it prints, its exit codes, and one line for whatever is at fault."""

import inspect
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer

import cleanplate as cleanplate_package
from cleanplate.cli import app, main
from cleanplate.recipes import load_recipe

FAST = [
    *("--set", "model=masknet", "--set", "loss=bce", "--set", "previews=0"),
    *("--set", "phases=[{size: 32, epochs: 1, batch_size: 6}]"),
    *("--set", "compute={precision: float32, layout: contiguous, workers: 0}"),
]
HEAVY = ("torch", "cv2", "matplotlib", "pytorch_lightning", "kornia", "tensorboard")


@pytest.fixture
def cleanplate(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process; returns exit code, standard output and standard error."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, out, err

    return call


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


# Help


def commands() -> list[list[str]]:
    table = typer.main.get_command(app).commands  # type: ignore[attr-defined]
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


# --json


def test_train_evaluate_and_predict_answer_in_json(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    run = tmp_path / "run"
    trained = answer(cleanplate("train", "quick", "--data", scenes, "--run", run, *FAST, "--json"))
    assert {"run", "epochs", "best", "seconds", "items_per_second"} <= trained.keys()
    assert trained["run"] == str(run)
    assert trained["epochs"] == trained["best"]["epoch"] == 1

    again = answer(cleanplate("train", "--resume", run, "--json"))
    assert again["best"] == trained["best"]

    evaluation = answer(cleanplate("evaluate", "--weights", run, "--data", scenes, "--json"))
    assert {"items", "metrics", "parts", "references"} <= evaluation.keys()
    assert evaluation["metrics"].keys() >= {"iou", "soft_iou", "false_positive_share", "rmse", "abs_rel", "delta_1.25"}
    assert evaluation["metrics"]["rmse"] is None  # a masknet
    assert evaluation["references"].keys() == {"difference", "mean_depth"}

    plate = sorted((scenes / "bg").iterdir())[0]
    frame = sorted((scenes / "bg_fg").iterdir())[0]
    predicted = answer(
        cleanplate("predict", "--weights", run, "--plate", plate, frame, "--out", tmp_path / "out", "--json")
    )
    assert predicted["frames"] == 1
    assert all(Path(file).exists() for file in predicted["files"])


def test_several_seeds_are_trained_and_compared(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    command = ("train", "quick", "--data", scenes, "--run", tmp_path / "run", *FAST, "--seeds", "1,2")
    trained = answer(cleanplate(*command, "--json"))
    runs = [run["run"] for run in trained["runs"]]
    assert runs == [str(tmp_path / f"run-seed-{seed}") for seed in (1, 2)]
    compared = answer(cleanplate("compare", *runs, "--out", tmp_path / "out", "--json"))
    (group,) = compared["groups"]
    assert [run["seed"] for run in group["runs"]] == [1, 2]
    assert group["deviation"]["iou"] > 0
    assert (tmp_path / "out" / "compare.html").exists()
    code, out, _ = cleanplate("compare", *runs, "--out", tmp_path / "out")
    assert code == 0
    assert out.splitlines()[1].startswith("A  quick")


def test_range_test_answers_with_sweeps_and_suggestions(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    command = ("lr-range", "quick", "--data", scenes, *FAST, "--sweep", "1e-4:1:8", "--sweep", "1e-3:1:1epoch")
    found = answer(cleanplate(*command, "--out", tmp_path / "one", "--json"))
    wanted = {"start", "end", "iterations", "lowest_loss", "lowest_loss_lr", "diverged_at"}
    assert [wanted <= sweep.keys() for sweep in found["sweeps"]] == [True, True]
    assert found["suggestions"].keys() == {"steepest", "lowest_loss", "before_divergence"}
    code, out, _ = cleanplate(*command, "--out", tmp_path / "two", "--validation", "--linear")
    assert code == 0
    assert (tmp_path / "two" / "lr_range.png").exists()
    following = out.splitlines()[-1]
    assert following.startswith(f"next: cleanplate train quick --data {scenes} --set model=masknet")
    assert " --set optimizer.lr=" in following


@pytest.mark.parametrize(
    ("sweep", "text"),
    [
        ("1:0.1:10", "--sweep 1:0.1:10: the start must be above 0 and below the end"),
        ("1e-5:1:0", "--sweep 1e-5:1:0: needs one iteration at least"),
        ("1e-5", "--sweep 1e-5: expected START:END:ITERATIONS"),
    ],
)
def test_a_faulty_sweep_is_one_line(sweep: str, text: str, scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    out = tmp_path / "out"
    assert text in fault(cleanplate("lr-range", "quick", "--data", scenes, "--sweep", sweep, "--out", out))
    assert not out.exists()


def test_runs_of_different_data_are_not_compared(
    scenes: Path, dataset: Path, run: Path, tmp_path: Path, cleanplate: Call
) -> None:
    other = tmp_path / "other"
    answer(cleanplate("train", "quick", "--data", dataset, "--run", other, *FAST, "--json"))
    line = fault(cleanplate("compare", run, other, "--out", tmp_path / "out"))
    assert "were trained on different data" in line
    assert "cannot be ranked" in line


def test_an_experiment_runs_from_the_command_line(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    done = answer(
        cleanplate("experiments", "losses-mask", "--data", scenes, "--out", tmp_path / "e", "--seeds", "1", "--json")
    )
    assert [group["label"] for group in done["groups"]] == ["losses-mask-bce", "losses-mask-dice", "losses-mask-ssim"]
    assert done["rankings"] == []  # six steps each
    assert len(done["notes"]) == 3


def test_data_commands_answer_in_json(plates: Path, cutouts: Path, tmp_path: Path, cleanplate: Call) -> None:
    out = tmp_path / "composed"
    made = answer(
        cleanplate(
            *("data", "compose", "--plates", plates, "--cutouts", cutouts, out),
            *("--places", "1", "--size", "32", "--workers", "1", "--json"),
        )
    )
    assert made["items"] == 24
    checked = answer(cleanplate("data", "check", out, "--json"))
    assert checked["items"] == 24
    assert checked["faults"] == []
    answer(cleanplate("data", "stats", out, "--json"))


def test_recipes_and_print_answer_in_json(cleanplate: Call) -> None:
    assert answer(cleanplate("recipes", "--json")).keys() >= {"quick", "masks"}
    assert answer(cleanplate("train", "quick", "--print", "--json"))["name"] == "quick"


def test_printed_recipe_is_the_same_recipe(tmp_path: Path, cleanplate: Call) -> None:
    code, out, _ = cleanplate("train", "quick", "--print", "--set", "optimizer.lr=0.125")
    assert code == 0
    (tmp_path / "mine.yaml").write_text(out)
    printed = load_recipe(tmp_path / "mine.yaml")
    assert printed == load_recipe("quick", ["optimizer.lr=0.125"])
    assert printed.optimizer.lr == 0.125


def test_check_with_faults_names_them_and_exits_with_2(own_dataset: Path, cleanplate: Call) -> None:
    broken = sorted((own_dataset / "bg_fg").iterdir())[0]
    broken.write_bytes(b"text")
    code, out, _ = cleanplate("data", "check", own_dataset, "--json")
    assert code == 2
    assert [fault["file"].endswith(broken.name) for fault in json.loads(out)["faults"]] == [True]


# One line for each fault


def test_unknown_key_of_a_recipe_is_named_with_its_file(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    recipe = tmp_path / "my.yaml"
    recipe.write_text("phases: [{size: 32, epochs: 1, batch_size: 4}, {szie: 64, epochs: 1, batch_size: 4, size: 64}]")
    line = fault(cleanplate("train", recipe, "--data", scenes))
    assert line.startswith("my.yaml: phases.1.szie: Extra inputs are not permitted")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "qick", "--data", "."], "qick: no such recipe; give a YAML file or one of losses-depth-rmse-bce, "),
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
        (["train", "quick", "--data", ".", "--set", "optimizer.nam=sgd"], "optimizer.nam: Extra inputs"),
        (["train", "quick", "--data", ".", "--set", "optimizer.name=lion"], "optimizer: "),
        (["evaluate", "--weights", "nowhere", "--data", "."], "file_map.txt: missing"),
        (["predict", "--weights", "nowhere", "--plate", "p.png", "frame.png"], "frame.png: no such picture"),
        (["train", "quick", "--data", ".", "--seeds", "1,x"], "--seeds 1,x: expected whole numbers"),
        (["train", "quick", "--data", ".", "--seeds", "1,1"], "--seeds 1,1: give each seed once"),
        (["train", "--resume", "nowhere", "--seeds", "1"], "leave out RECIPE, --run, --set, --seeds"),
        (["lr-range", "qick", "--data", "."], "qick: no such recipe"),
        (["compare", "nowhere"], "nowhere: not a run folder"),
        (["compare"], "Missing argument 'runs'"),
        (["experiments", "lossses", "--data", "."], "lossses: no such experiment; there are losses-mask"),
        (["experiments", "report", "--data", "nowhere"], "nowhere: this data set folder does not exist"),
        (["data", "check", "nowhere"], "nowhere: this data set folder does not exist"),
        (["data", "museum", "out", "--size", "33"], "33 is not a multiple of 32"),
        (["evaluate", "--data", "."], "Missing option '--weights'"),
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


@pytest.mark.parametrize("content", ["phases: [", "- a list", "phases: 3", "\tx: 1", ""])
def test_recipe_that_is_no_recipe_is_named(content: str, scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    (tmp_path / "my.yaml").write_text(content)
    assert "my.yaml: " in fault(cleanplate("train", tmp_path / "my.yaml", "--data", scenes))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def make_text(path: Path) -> None:
    path.write_text("this is text")


def make_larger(path: Path) -> None:
    cv2.imwrite(str(path), np.zeros((70, 70), np.uint8))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("folder", "spoil", "text"),
    [
        ("bg_fg", cut_short, "the picture ends early"),
        ("bg_fg_mask", make_text, "not a readable picture"),
        ("bg_fg_mask", make_larger, "is 70x70, but its frame"),
    ],
)
def test_spoilt_picture_is_named_and_no_run_folder_is_left(
    workers: int,
    folder: str,
    spoil: Callable[[Path], None],
    text: str,
    own_dataset: Path,
    tmp_path: Path,
    cleanplate: Call,
) -> None:
    for path in (own_dataset / folder).iterdir():
        spoil(path)
    run = tmp_path / "run"
    line = fault(
        cleanplate("train", "quick", "--data", own_dataset, "--run", run, *FAST, "--set", f"compute.workers={workers}")
    )
    assert text in line
    assert f"{own_dataset / folder}/" in line
    assert not run.exists()


def test_output_that_is_a_file_is_refused(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert f"{taken}: exists already" in fault(cleanplate("train", "quick", "--data", scenes, "--run", taken, *FAST))
    assert f"{taken}: exists already" in fault(cleanplate("data", "museum", taken, "--rooms", "2"))
    assert taken.read_text() == "mine"


def test_prediction_into_what_is_a_file_is_one_line(run: Path, scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    plate = sorted((scenes / "bg").iterdir())[0]
    for out in (taken, taken / "below"):
        line = fault(cleanplate("predict", "--weights", run, "--plate", plate, plate, "--out", out))
        assert str(taken) in line
        assert "choose another place" in line


# A full disk


def test_full_disk_while_making_data_is_one_line_and_leaves_nothing(
    plates: Path, cutouts: Path, tmp_path: Path
) -> None:
    composing = process(
        *("data", "compose", "--plates", plates, "--cutouts", cutouts, tmp_path / "composed"),
        *("--places", "1", "--workers", "1"),
        limit=2_000,
    )
    assert "File too large; raise the limit on file sizes" in fault(composing)
    rendering = process("data", "museum", tmp_path / "museum", "--rooms", "2", "--size", "64", limit=1_000)
    assert "File too large" in fault(rendering)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_in_training_leaves_a_run_to_go_on_with(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    run = tmp_path / "run"
    done = process("train", "quick", "--data", scenes, "--run", run, *FAST, limit=150_000)
    assert "File too large" in fault(done)
    assert str(run) in fault(done)
    assert not list(run.rglob("*.partial"))
    assert cleanplate("train", "--resume", run)[0] == 0
    cleanplate("train", "quick", "--data", scenes, "--run", tmp_path / "whole", *FAST)
    assert (run / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()


# Ctrl-C


def interrupt_when(
    arguments: list[str | Path], ready: Callable[[], bool], number: int = signal.SIGINT
) -> tuple[int, str, str]:
    """Start a command, send it a signal, Ctrl-C by default, once `ready`, and return how it ended."""
    command = [sys.executable, "-m", "cleanplate", *map(str, arguments)]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # As in a terminal: tests that run in the background of a shell inherit a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while child.poll() is None and not ready():
        with suppress(subprocess.TimeoutExpired):
            child.wait(0.02)
    os.killpg(child.pid, number)  # as a terminal does: to every process of the command
    out, err = child.communicate(timeout=60)
    return child.returncode, out, err


def test_ctrl_c_while_rendering_leaves_nothing(tmp_path: Path) -> None:
    ending = interrupt_when(
        ["data", "museum", tmp_path / "museum", "--rooms", "500", "--workers", "2"],
        lambda: any(tmp_path.glob(".museum.partial-*/bg_fg/*")),
    )
    assert ending == (130, "", "cleanplate: stopped\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)])
def test_a_signal_in_training_leaves_a_run_to_go_on_with(
    number: int, code: int, scenes: Path, tmp_path: Path, cleanplate: Call
) -> None:
    run = tmp_path / "run"
    phases = "phases=[{size: 32, epochs: 60, batch_size: 6}]"
    ended, out, err = interrupt_when(
        ["train", "quick", "--data", scenes, "--run", run, *FAST, "--set", phases],
        lambda: any(run.glob("checkpoints/*.ckpt")),
        number,
    )
    assert (ended, out) == (code, "")
    assert err.splitlines()[-1].endswith(f"; go on with `cleanplate train --resume {run}`")
    assert "Traceback" not in err
    assert "Detected" not in err
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("epochs: 60", "epochs: 3"))
    assert "give --take file" in cleanplate("train", "--resume", run)[2]
    assert answer(cleanplate("train", "--resume", run, "--take", "file", "--json"))["epochs"] >= 3


def test_a_dry_run_says_what_it_would_take(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    found = answer(
        cleanplate("train", "quick", "--data", scenes, "--run", tmp_path / "run", *FAST, "--dry-run", "--json")
    )
    assert found.keys() >= {"phases", "minutes", "memory_gb", "disk_gb", "disk_free_gb"}
    assert list(tmp_path.iterdir()) == []


def test_a_training_in_stretches(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    run = tmp_path / "run"
    phases = ("--set", "phases=[{size: 32, epochs: 3, batch_size: 6}]")
    code, out, err = cleanplate("train", "quick", "--data", scenes, "--run", run, *FAST, *phases, "--epochs-now", "1")
    assert code == 0
    assert "best epoch 1 of 1" in out
    assert f"stopped as asked; go on with `cleanplate train --resume {run}`" in err
    assert "no epoch has ended yet" not in cleanplate("train", "--resume", run, "--stop-after", "0s")[1]
    assert "best epoch" in cleanplate("train", "--resume", run, "--stop-after", "1h")[1]
