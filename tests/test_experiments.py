"""The report's experiments: how they are scaled, and that they go on where they were stopped."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from cleanplate import UserError
from cleanplate.experiments import EXPERIMENTS, Experiment, run_experiment, scaled
from cleanplate.recipes import load_recipe

TINY = """
name: {loss}
model: masknet
loss: {loss}
phases: [{{size: 32, epochs: 2, batch_size: 8}}]
split: {{kind: random}}
previews: 0
compute: {{precision: float32, layout: contiguous, workers: 0}}
"""
SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_experiments import run_tiny
run_tiny(*sys.argv[1:])
"""


def figures(out: Path) -> list:
    """What a comparison says, but for times and places."""
    content = json.loads((out / "comparison" / "compare.json").read_text())
    return [
        (group["label"], group["mean"], group["deviation"], [(run["steps"], run["best"]) for run in group["runs"]])
        for group in content["groups"]
    ]


def run_tiny(folder: Path | str, data: Path | str, out: Path | str) -> None:
    """Run an experiment of two recipes, which are written into a folder."""
    recipes = tuple(str(Path(folder) / f"{loss}.yaml") for loss in ("bce", "dice"))
    for recipe in map(Path, recipes):
        recipe.write_text(TINY.format(loss=recipe.stem))
    tiny = Experiment("tiny", recipes, seeds=(1, 2), sweeps=("1e-4:1:5",))
    with patch.dict(EXPERIMENTS, tiny=tiny):
        run_experiment("tiny", data, out=out)


def test_killed_in_the_middle_and_called_again_it_ends_with_the_same_report(scenes: Path, tmp_path: Path) -> None:
    run_tiny(tmp_path, scenes, tmp_path / "whole")

    script = SCRIPT.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", script, tmp_path, scenes, tmp_path / "killed"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    started = time.monotonic()
    while not (tmp_path / "killed" / "runs" / "bce-seed-2" / "recipe.yaml").exists():
        assert time.monotonic() - started < 120
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "comparison").exists()
    run_tiny(tmp_path, scenes, tmp_path / "killed")

    assert figures(tmp_path / "killed") == figures(tmp_path / "whole")
    text = (tmp_path / "killed" / "comparison" / "compare.md").read_text()
    assert "Learning-rate range test" in text
    assert "![Learning-rate range test](../lr_range/lr_range.png)" in text
    assert re.search(r"scale 0\.00012 of the report: 48 items, batches of \d+ and more, \d+ steps", text)
    assert "at scale 0.00012" in (tmp_path / "killed" / "lr_range" / "lr_range.json").read_text()  # its plot's title


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_recipes_of_an_experiment_can_be_scaled(name: str) -> None:
    for recipe_name in EXPERIMENTS[name].recipes:
        recipe = load_recipe(recipe_name)
        small = scaled(recipe, 0.05)
        assert (small.split.train_items, small.split.items_per_part) == (14_000, 6_000)
        assert all(phase.batch_size >= 16 for phase in small.phases)
        assert [phase.size for phase in small.phases] == [phase.size for phase in recipe.phases]
        whole = scaled(recipe, 1)
        assert whole.phases == recipe.phases
        assert (whole.split.train_items, whole.split.items_per_part) == (280_000, 120_000)


def test_batches_shrink_with_the_items() -> None:
    recipe = scaled(load_recipe("report-ssim-dice"), 0.25)
    assert [phase.batch_size for phase in recipe.phases] == [64, 24]


def test_faults_are_named(scenes: Path, tmp_path: Path) -> None:
    for name, settings, words in [
        ("lossses", {}, "lossses: no such experiment; there are losses-mask"),
        ("report", {"scale": 0.05}, r"holds 48 items, and --scale 0.05 of the report's 400,000 needs 20,000"),
        ("report", {"scale": 0}, "--scale 0: give a share above 0"),
    ]:
        with pytest.raises(UserError, match=words):
            run_experiment(name, scenes, out=tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_experiment_is_not_gone_on_with(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text("[1]")
    with pytest.raises(UserError, match=r"experiment\.json: cannot be read \(no table\)"):
        run_experiment("losses-mask", scenes, out=tmp_path)
    (tmp_path / "experiment.json").write_text(json.dumps({"experiment": "report", "scale": 1}))
    with pytest.raises(UserError, match="was begun with another experiment and data and scale and seeds"):
        run_experiment("losses-mask", scenes, out=tmp_path)
