"""Training, through `train` and `resume`: what a run folder holds, what it learns, how it goes on."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import PLAIN, write_scenes
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from trainings import equal_weights, parameters, read_rows, small_recipe

from cleanplate import UserError, train
from cleanplate.data.modest import ModestFolder
from cleanplate.data.module import PhasedData
from cleanplate.data.opening import open_data
from cleanplate.data.split import split_items
from cleanplate.data.statistics import normalisation_of
from cleanplate.losses import LOSSES, loss_needs_depth
from cleanplate.models.masknet import MaskNet
from cleanplate.recipe import AdamW, Augmentation, Contrast, Phase, Sgd
from cleanplate.recipe_pictures import Composition, Exposure, Mismatch
from cleanplate.train.fit import Trained, resume
from cleanplate.train.run import best_row
from cleanplate.train.task import CleanplateTask
from cleanplate.train.trial import Trial
from cleanplate.weights import load_weights

METRICS = {"loss", "iou", "soft_iou", "rmse", "batch_rmse", "mae", "aligned_rmse", "abs_rel", "delta_1.25"}
PARTS = {"train", "validation", "seen", "new_plate", "new_cutout", "new_both"}


# What a run folder holds


def test_run_folder_has_all_that_the_design_says(run: Path) -> None:
    assert {path.name for path in run.iterdir()} >= {
        *("recipe.yaml", "environment.json", "references.npz", "metrics.csv", "weights.safetensors"),
        *("events", "previews", "epochs", "checkpoints", "curves"),
    }
    assert sorted(path.name for path in (run / "epochs").iterdir()) == [f"00{n}.safetensors" for n in (1, 2, 3)]
    assert {path.name for path in (run / "curves").iterdir()} == {"rmse.png", "iou.png", "loss.png", "lr.png"}
    assert not list(run.rglob("*.partial"))


def test_environment_says_how_the_run_was_made(run: Path, scenes: Path) -> None:
    environment = json.loads((run / "environment.json").read_text())
    assert environment["data"] == str(scenes)
    assert environment["precision"] == "float32"
    assert environment["layout"] == "contiguous"
    assert torch.__version__.startswith(environment["packages"]["torch"].split("+")[0])
    assert {"commit", "device", "seed", "threads", "data_fingerprint", "normalisation", "depth"} <= environment.keys()


def test_metrics_have_a_row_an_epoch_with_every_part(run: Path) -> None:
    rows = read_rows(run)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {f"{part}/{name}" for part in PARTS for name in METRICS} <= rows[0].keys()
    for row in rows:
        assert 0 <= float(row["validation/iou"]) <= 1
        assert float(row["validation/rmse"]) > 0
        assert float(row["validation/abs_rel"]) > 0
        assert row["train/loss"] != row["validation/loss"] != row["seen/loss"]


def test_validation_is_over_the_items_of_all_parts(run: Path, scenes: Path) -> None:
    counts = {"seen": 3, "new_plate": 9, "new_cutout": 7, "new_both": 3}
    for row in read_rows(run):
        mean = sum(count * float(row[f"{part}/iou"]) for part, count in counts.items()) / sum(counts.values())
        assert float(row["validation/iou"]) == pytest.approx(mean)


def test_rows_say_size_batch_size_and_steps_of_their_phase(run: Path) -> None:
    items = 26  # of the 48; the others are validated by or left out
    columns = ("phase", "size", "batch_size", "steps")
    assert [tuple(int(row[name]) for name in columns) for row in read_rows(run)] == [
        (1, 32, 4, items // 4),
        (1, 32, 4, 2 * (items // 4)),
        (2, 64, 6, 2 * (items // 4) + items // 6),
    ]


def test_tensorboard_has_scalars_previews_and_the_graph_once(run: Path) -> None:
    events = EventAccumulator(str(run / "events"), {IMAGES: 0, SCALARS: 0}).Reload()
    rows = read_rows(run)
    scalars = events.Tags()["scalars"]
    assert {"train/loss", "validation/iou", "new_both/rmse", "lr"} <= set(scalars)
    logged = events.Scalars("validation/iou")
    assert [event.step for event in logged] == [1, 2, 3]
    assert [event.value for event in logged] == pytest.approx([float(row["validation/iou"]) for row in rows])
    assert [event.step for event in events.Images("previews")] == [1, 2, 3]
    assert len(events.Graph().node) > 50
    (file,) = (run / "events").iterdir()
    assert sum(event.HasField("graph_def") for event in EventFileLoader(str(file)).Load()) == 1


def test_tensorboard_and_file_have_the_same_preview_of_each_epoch(run: Path) -> None:
    events = EventAccumulator(str(run / "events"), {IMAGES: 0}).Reload().Images("previews")
    files = sorted((run / "previews").iterdir())
    assert [path.name for path in files] == ["epoch-001.png", "epoch-002.png", "epoch-003.png"]
    for event, path in zip(events, files, strict=True):
        logged = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(logged, cv2.imread(str(path)))


def test_previews_show_six_pictures_of_each_item_two_items_a_line(run: Path) -> None:
    sheet = cv2.imread(str(run / "previews" / "epoch-001.png"))
    tile, lines = 112 + 4, 3  # five items
    assert sheet.shape == (18 + lines * tile, 2 * (6 * tile + 8), 3)
    first, last = sheet[18 : 18 + 112], sheet[18 + 2 * tile : -4]
    for row, filled in ((first, 12), (last, 6)):
        pictures = [row[:, half + n * tile : half + n * tile + 112] for half in (0, 6 * tile + 8) for n in range(6)]
        assert sum(bool((picture < 255).any()) for picture in pictures) == filled


def test_curves_are_pictures(run: Path) -> None:
    for path in (run / "curves").iterdir():
        assert min(cv2.imread(str(path)).shape[:2]) > 300


def test_curves_show_what_was_trained_until_a_stop(scenes: Path, tmp_path: Path) -> None:
    recipe = small_recipe(phases=(Phase(size=32, epochs=2, batch_size=6),))
    path = Path(train(recipe, scenes, run=tmp_path / "run", epochs_now=1).run) / "curves" / "loss.png"
    one_epoch = path.read_bytes()
    resume(tmp_path / "run")
    assert path.read_bytes() != one_epoch


def test_depth_that_the_loss_never_looked_at_is_not_answered(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small_recipe(model="dsresnet", loss="bce"), scenes, run=tmp_path / "run")
    assert load_weights(tmp_path / "run")[1].depth is None
    assert "loss bce looks at no depth: the network will answer with masks alone" in capsys.readouterr().err


def test_weights_are_the_best_of_the_last_phase(run: Path) -> None:
    assert equal_weights(run / "weights.safetensors", run / "epochs" / "003.safetensors")
    assert not equal_weights(run / "epochs" / "001.safetensors", run / "epochs" / "002.safetensors")


def test_weights_say_their_size_normalisation_and_depth(run: Path) -> None:
    card = load_weights(run)[1]
    assert (card.model, card.size, card.recipe) == ("dsresnet", 64, "tiny")
    assert (card.depth.kind, card.depth.near, card.depth.far) == ("metric", 1.0, 5.0)
    assert load_weights(run / "epochs" / "001.safetensors")[1].size == 32


losses_and_phases = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.integers(1, 3)), min_size=1)


@settings(deadline=None)
@given(losses_and_phases)
def test_best_row_is_the_first_of_lowest_loss_in_the_last_phase(given_rows: list[tuple[float, int]]) -> None:
    given_rows.sort(key=lambda row: row[1])
    rows = [{"epoch": n, "phase": phase, "validation/loss": loss} for n, (loss, phase) in enumerate(given_rows)]
    last = [row for row in rows if row["phase"] == max(phase for _, phase in given_rows)]
    best = best_row(rows)
    assert best in last
    assert all(best["validation/loss"] < row["validation/loss"] for row in last if row["epoch"] < best["epoch"])
    assert all(best["validation/loss"] <= row["validation/loss"] for row in last)


# What is trained, and how


def test_network_sees_size_and_batch_size_of_each_phase(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    forward = MaskNet.forward

    def watch(self: MaskNet, plate: torch.Tensor, frame: torch.Tensor) -> Any:
        if self.training:
            seen.append(tuple(frame.shape))
        return forward(self, plate, frame)

    monkeypatch.setattr(MaskNet, "forward", watch)
    phases = (Phase(size=32, epochs=1, batch_size=12), Phase(size=64, epochs=2, batch_size=8))
    train(small_recipe(phases=phases), scenes, run=tmp_path / "run")
    assert seen == 2 * [(12, 3, 32, 32)] + 2 * 3 * [(8, 3, 64, 64)]


LOSS_OF_MODEL = [("dsresnet", loss) for loss in LOSSES] + [
    ("masknet", loss) for loss in LOSSES if not loss_needs_depth(loss)
]


@pytest.mark.parametrize(("model", "loss"), LOSS_OF_MODEL)
def test_every_loss_trains_every_network_it_fits(model: str, loss: str, scenes: Path) -> None:
    recipe = small_recipe(model=model, loss=loss, phases=(Phase(size=32, epochs=1, batch_size=26),))
    folder = ModestFolder(scenes)
    split = split_items(folder, recipe.split)
    task = CleanplateTask(recipe, normalisation_of(folder), folder.card.depth, list(split.parts), len(split.train))
    before = {name: value.clone() for name, value in task.model.named_parameters()}
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(task, datamodule=PhasedData(folder, split, recipe))
    assert task.figures()["train"].keys() >= {"loss", *LOSSES[loss]}
    assert all(np.isfinite(float(value)) for value in trainer.callback_metrics.values())
    touched = [name for name, value in task.model.named_parameters() if not torch.equal(value, before[name])]
    assert "depth" in "".join(touched) or not loss_needs_depth(loss)
    assert len(touched) > len(before) // 3


@pytest.mark.parametrize("optimizer", [Sgd(lr=0.5), AdamW(name="adamw", lr=0.02)])
def test_training_learns(optimizer: Sgd | AdamW, scenes: Path, tmp_path: Path) -> None:
    recipe = small_recipe(optimizer=optimizer, phases=(Phase(size=32, epochs=4, batch_size=4),))
    trained = train(recipe, scenes, run=tmp_path / "run")
    rows = read_rows(tmp_path / "run")
    assert float(rows[-1]["train/loss"]) < 0.5 * float(rows[0]["train/loss"])
    assert trained.best["validation/iou"] > 0.8


def test_a_clipped_gradient_moves_the_weights_by_the_rate_times_its_norm(scenes: Path, tmp_path: Path) -> None:
    def trained(name: str, **settings: Any) -> dict[str, torch.Tensor]:
        phases = (Phase(size=32, epochs=1, batch_size=1000),)  # a single step
        recipe = small_recipe(optimizer=Sgd(momentum=0, **settings), phases=phases)
        train(recipe, scenes, run=tmp_path / name)
        return parameters(tmp_path / name)

    start, freely = trained("start", lr=1e-30), trained("freely", lr=0.5)
    learned = [name for name in start if name.endswith(("weight", "bias"))]

    def moved(after: dict[str, torch.Tensor]) -> float:
        return torch.cat([(after[name] - start[name]).flatten() for name in learned]).norm().item()

    assert moved(freely) > 0.02
    assert moved(trained("clipped", lr=0.5, clip=0.01)) == pytest.approx(0.5 * 0.01, rel=1e-3)
    assert moved(trained("not-reached", lr=0.5, clip=1000)) == moved(freely)


def test_a_step_that_is_tried_is_clipped_as_one_of_a_training(scenes: Path) -> None:
    recipe = small_recipe(optimizer=Sgd(momentum=0, lr=0.5, clip=0.01))
    folder = open_data(scenes)
    trial = Trial(recipe, folder, split_items(folder, recipe.split))
    before = [parameter.detach().clone() for parameter in trial.task.model.parameters()]
    trial.step(next(trial.batches(recipe.phases[0])))
    after = trial.task.model.parameters()
    moved = torch.cat([(new - old).flatten() for old, new in zip(before, after, strict=True)]).norm().item()
    assert moved == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_recipe_says_over_how_many_steps_adam_takes_its_means(scenes: Path, tmp_path: Path) -> None:
    def trained(name: str, **settings: Any) -> dict[str, torch.Tensor]:
        one_epoch(scenes, tmp_path / name, optimizer=AdamW(name="adamw", lr=0.01, **settings))
        return parameters(tmp_path / name)

    usual, same, shorter = trained("usual"), trained("same", betas=(0.9, 0.999)), trained("shorter", betas=(0.9, 0.5))
    assert all(torch.equal(usual[name], same[name]) for name in usual)
    assert not all(torch.equal(usual[name], shorter[name]) for name in usual)


def test_recipe_says_what_depth_weighs(scenes: Path, tmp_path: Path) -> None:
    one_epoch(scenes, tmp_path / "run", model="dsresnet", loss="ssim-dice", depth_weight=8)
    (row,) = read_rows(tmp_path / "run")
    loss, ssim, dice = (float(row[f"train/{name}"]) for name in ("loss", "ssim", "dice"))
    assert loss == pytest.approx(8 * ssim + dice)


def test_network_of_mask_and_depth_learns_both(run: Path) -> None:
    first, *_, last = read_rows(run)
    assert float(last["train/loss"]) < 0.5 * float(first["train/loss"])
    assert float(last["validation/iou"]) > 0.8
    assert float(last["train/rmse"]) < float(first["train/rmse"])


def one_epoch(data: Path, run: Path, **changes: Any) -> Trained:
    return train(small_recipe(**changes), data, run=run)


def test_same_seed_gives_the_same_weights_and_another_does_not(scenes: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        one_epoch(scenes, tmp_path / name, seed=seed)
    assert equal_weights(tmp_path / "one", tmp_path / "same")
    assert not equal_weights(tmp_path / "one", tmp_path / "other")


def test_augmentation_changes_what_is_learned(scenes: Path, tmp_path: Path) -> None:
    one_epoch(scenes, tmp_path / "plain")
    one_epoch(scenes, tmp_path / "changed", augmentation=Augmentation(contrast=Contrast(probability=1)))
    assert not equal_weights(tmp_path / "plain", tmp_path / "changed")


def test_reading_in_other_processes_changes_nothing(scenes: Path, tmp_path: Path) -> None:
    one_epoch(scenes, tmp_path / "here")
    one_epoch(scenes, tmp_path / "there", compute=PLAIN.model_copy(update={"workers": 1}))
    assert equal_weights(tmp_path / "here", tmp_path / "there")


def test_layout_hardly_changes_what_is_learned(scenes: Path, tmp_path: Path) -> None:
    sgd = Sgd(lr=0.1)  # AdamW makes a whole step, this way or that, of a gradient that is all but 0
    one_epoch(scenes, tmp_path / "contiguous", optimizer=sgd)
    one_epoch(scenes, tmp_path / "last", optimizer=sgd, compute=PLAIN.model_copy(update={"layout": "channels_last"}))
    ours, others = parameters(tmp_path / "contiguous"), parameters(tmp_path / "last")
    for name, value in ours.items():
        torch.testing.assert_close(others[name], value, rtol=0.02, atol=0.001)


def test_machine_settings_are_chosen_and_written_down(scenes: Path, tmp_path: Path) -> None:
    train(small_recipe(compute=PLAIN.model_copy(update={"layout": "auto"})), scenes, run=tmp_path / "run")
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["precision"] == "float32"
    assert environment["layout"] in ("contiguous", "channels_last")


def test_bfloat16_trains(scenes: Path, tmp_path: Path) -> None:
    compute = PLAIN.model_copy(update={"precision": "bfloat16"})
    trained = one_epoch(scenes, tmp_path / "run", compute=compute, phases=(Phase(size=32, epochs=1, batch_size=13),))
    assert np.isfinite(trained.best["train/loss"])
    assert {value.dtype for value in parameters(tmp_path / "run").values()} <= {torch.float32, torch.int64}


def test_fewer_items_than_a_batch_make_one_small_batch(scenes: Path, tmp_path: Path) -> None:
    trained = one_epoch(scenes, tmp_path / "run", phases=(Phase(size=32, epochs=2, batch_size=100),))
    assert trained.best["steps"] == trained.best["epoch"]


def test_items_without_depth_train_the_mask_and_have_no_rmse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_scenes(tmp_path / "data", depth=False)
    recipe = small_recipe(model="dsresnet", loss="rmse-bce-dice", phases=(Phase(size=32, epochs=1, batch_size=13),))
    trained = train(recipe, data, run=tmp_path / "run")
    assert trained.best["validation/rmse"] is None
    assert trained.best["validation/iou"] is not None
    assert read_rows(tmp_path / "run")[0]["validation/rmse"] == ""
    assert "no depth labels" in capsys.readouterr().err


def test_some_items_without_depth_are_no_hindrance(dataset: Path, tmp_path: Path) -> None:
    recipe = small_recipe(model="dsresnet", loss="ssim-dice", phases=(Phase(size=32, epochs=1, batch_size=10),))
    trained = train(recipe, dataset, run=tmp_path / "run")
    assert np.isfinite(trained.best["train/ssim"])
    assert trained.best["validation/abs_rel"] is None


def test_run_folder_that_holds_something_is_not_written_over(run: Path, scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds a run already; go on with --resume"):
        train(small_recipe(), scenes, run=run)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        train(small_recipe(), scenes, run=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_recipe_as_data_takes_no_settings(scenes: Path) -> None:
    with pytest.raises(UserError, match="model_copy"):
        train(small_recipe(), scenes, settings=["seed=2"])


def test_mismatch_changes_what_is_learned_and_goes_on_to_the_same_bits(scenes: Path, tmp_path: Path) -> None:
    recipe = small_recipe(phases=(Phase(size=32, epochs=2, batch_size=6),))
    mismatched = recipe.model_copy(update={"mismatch": Mismatch(exposure=Exposure(probability=1))})
    train(recipe, scenes, run=tmp_path / "without")
    train(mismatched, scenes, run=tmp_path / "whole")
    train(mismatched, scenes, run=tmp_path / "broken", epochs_now=1)
    resume(tmp_path / "broken")
    assert not equal_weights(tmp_path / "whole", tmp_path / "without")
    assert equal_weights(tmp_path / "whole", tmp_path / "broken")


def test_composition_that_nothing_reads_is_said_to_be_ignored(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small_recipe(composition=Composition(people=1)), scenes, run=tmp_path / "run")
    assert "note: composition is ignored" in capsys.readouterr().err
