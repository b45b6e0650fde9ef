"""The script that docs/own-training.md shows, run as it stands there."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from scenes import PLAIN

from cleanplate.data.modest import ModestFolder
from cleanplate.data.module import PhasedData
from cleanplate.data.source import BatchLoader
from cleanplate.data.split import split_items
from cleanplate.data.statistics import normalisation_of
from cleanplate.recipe import Phase, Recipe, Sgd, Step
from cleanplate.train.task import CleanplateTask

PAGE = Path(__file__).parents[2] / "docs" / "own-training.md"


def test_script_of_the_documentation_trains(scenes: Path, tmp_path: Path) -> None:
    script = tmp_path / "own_training.py"
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    script.write_text(code)
    settings = ["phases=[{size: 32, epochs: 1, batch_size: 13}]", "model=masknet", "loss=bce"]
    done = subprocess.run(
        [sys.executable, str(script), str(scenes), *settings], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    figures = ast.literal_eval(done.stdout.splitlines()[-1])
    assert 0 <= figures["validation/iou"] <= 1
    assert figures["validation/loss"] > 0


@pytest.fixture
def own_trainer(scenes: Path) -> tuple[pl.Trainer, CleanplateTask, PhasedData]:
    """A plain Lightning trainer, and what it trains: three epochs in two phases, its rate lowered after each."""
    folder = ModestFolder(scenes)
    recipe = Recipe(
        model="masknet",
        loss="bce",
        optimizer=Sgd(lr=0.1),
        schedule=Step(name="step", every=1, factor=0.5),
        phases=(Phase(size=32, epochs=2, batch_size=13), Phase(size=64, epochs=1, batch_size=13)),
        compute=PLAIN,
    )
    split = split_items(folder, recipe.split)
    task = CleanplateTask(recipe, normalisation_of(folder), folder.card.depth, list(split.parts), len(split.train))
    trainer = pl.Trainer(
        max_epochs=recipe.epochs,
        accelerator="cpu",
        reload_dataloaders_every_n_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return trainer, task, PhasedData(folder, split, recipe)


@pytest.mark.filterwarnings("ignore::pytorch_lightning.utilities.warnings.PossibleUserWarning")
def test_schedule_goes_on_without_a_run_folder(
    own_trainer: tuple[pl.Trainer, CleanplateTask, PhasedData],
) -> None:
    trainer, task, data = own_trainer
    trainer.fit(task, datamodule=data)
    assert len(task.finished_losses) == 3
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 / 4)
    assert task.finished_losses[-1] == pytest.approx(float(trainer.callback_metrics["validation/loss"]))


@pytest.mark.filterwarnings("ignore::pytorch_lightning.utilities.warnings.PossibleUserWarning")
def test_validating_by_itself_after_training_repeats_the_last_figures(
    own_trainer: tuple[pl.Trainer, CleanplateTask, PhasedData],
) -> None:
    trainer, task, data = own_trainer
    trainer.fit(task, datamodule=data)
    last = {name: float(value) for name, value in trainer.callback_metrics.items()}
    trainer.validate(task, datamodule=data, verbose=False)
    again = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert again == pytest.approx(last)
    assert len(task.finished_losses) == 3


def test_batch_loader_gives_the_batches_alone(scenes: Path) -> None:
    batches = list(BatchLoader(ModestFolder(scenes), np.arange(10), size=32, batch_size=4))
    assert [batch.indices.tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches[0].frame.shape == (4, 3, 32, 32)
    assert batches[0].frame.dtype == torch.uint8
