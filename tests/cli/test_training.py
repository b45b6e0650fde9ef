"""The commands that train networks and set trainings side by side."""

import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import FAST, Call, answer, fault, interrupt_when, process

from cleanplate.recipes import load_recipe
from cleanplate.train import compute


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
    assert shlex.split(following)[1:-1] == ["cleanplate", "train", "quick", "--data", str(scenes), *FAST, "--set"]


def test_the_rate_that_a_phase_has_is_the_one_to_change(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    rate = ("--set", "phases.0.lr=0.5")
    command = ("lr-range", "quick", "--data", scenes, *FAST, *rate, "--sweep", "1e-4:1:8", "--out", tmp_path / "out")
    assert " --set phases.0.lr=0.5 --set phases.0.lr=0." in cleanplate(*command)[1].splitlines()[-1]


@pytest.mark.parametrize(
    ("sweep", "text"),
    [
        ("1:0.1:10", "--sweep 1:0.1:10: the start must be above 0 and below the end"),
        ("1e-5:1:0", "--sweep 1e-5:1:0: needs one iteration at least"),
        ("1e-5", "--sweep 1e-5: expected START:END:ITERATIONS"),
        ("1e-5:1:9999999", "--sweep 1e-5:1:9999999: takes at most 1,000,000 iterations"),
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


def test_an_experiment_runs_from_the_command_line(
    scenes: Path, tmp_path: Path, cleanplate: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "TRIAL_SECONDS", 0)
    done = answer(
        cleanplate("experiments", "losses-mask", "--data", scenes, "--out", tmp_path / "e", "--seeds", "1", "--json")
    )
    assert [group["label"] for group in done["groups"]] == ["losses-mask-bce", "losses-mask-dice", "losses-mask-ssim"]
    assert done["rankings"] == []  # six steps each
    assert len(done["notes"]) == 3


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (("--seeds", "1,1"), "--seeds 1,1: give each seed once"),
        (("--seeds", "-1"), "--seeds -1: give seeds from 0 to"),
        (("--seeds", ""), "--seeds : expected whole numbers"),
        (("--scale", "2e-6"), "--scale 2e-06: 1 items of the report's 400,000 are too few"),
    ],
)
def test_an_experiment_that_cannot_be_is_one_line(
    option: tuple[str, str], text: str, scenes: Path, tmp_path: Path, cleanplate: Call
) -> None:
    out = tmp_path / "out"
    assert text in fault(cleanplate("experiments", "losses-mask", "--data", scenes, "--out", out, *option))
    assert not out.exists()


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


def test_unknown_key_of_a_recipe_is_named_with_its_file(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    recipe = tmp_path / "my.yaml"
    recipe.write_text("phases: [{size: 32, epochs: 1, batch_size: 4}, {szie: 64, epochs: 1, batch_size: 4, size: 64}]")
    line = fault(cleanplate("train", recipe, "--data", scenes))
    assert line.startswith("my.yaml: phases.1.szie: Extra inputs are not permitted")


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


def test_full_disk_in_training_leaves_a_run_to_go_on_with(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    run = tmp_path / "run"
    done = process("train", "quick", "--data", scenes, "--run", run, *FAST, limit=150_000)
    assert "File too large" in fault(done)
    assert str(run) in fault(done)
    assert not list(run.rglob("*.partial"))
    assert cleanplate("train", "--resume", run)[0] == 0
    cleanplate("train", "quick", "--data", scenes, "--run", tmp_path / "whole", *FAST)
    assert (run / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()


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
