"""Evaluation: the best epoch's figures again, other data, native size, and the references beside them."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import write_scenes

from cleanplate import UserError, evaluate
from cleanplate.data.modest import ModestFolder
from cleanplate.evaluate import Evaluation, Figures, format_table
from cleanplate.metrics import NAMES, STRUCTURE_NAMES

PARTS = ("seen", "new_plate", "new_cutout", "new_both")


@pytest.fixture(scope="module")
def own(run: Path, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """The run on the data set of its training."""
    return evaluate(run, scenes, out=tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="module")
def other_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("other") / "other", 2, seed=9)


@pytest.fixture(scope="module")
def wide_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("wide") / "wide", 2, shape=(48, 64), seed=9)


def best_epoch(run: Path) -> dict[str, str]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))[-1]  # one epoch in the last phase


@pytest.mark.parametrize("part", ["validation", *PARTS])
def test_own_data_gives_the_best_epochs_row_again(part: str, own: Evaluation, run: Path) -> None:
    figures = own.metrics if part == "validation" else own.parts[part]
    expected = {name: best_epoch(run)[f"{part}/{name}"] for name in NAMES}
    assert figures.keys() == {*NAMES, *STRUCTURE_NAMES}
    for name in NAMES:
        value = figures[name]
        if value is None:
            assert expected[name] == "", name
        else:
            assert value == pytest.approx(float(expected[name]), abs=1e-4), name


def test_own_data_is_scored_on_validation_items_alone(own: Evaluation) -> None:
    assert own.items == 22
    assert own.size == 64
    assert set(own.parts) == set(own.reference_parts) == set(PARTS)


def test_other_data_is_scored_whole(run: Path, other_data: Path, tmp_path: Path) -> None:
    evaluation = evaluate(run, other_data, out=tmp_path)
    assert evaluation.items == 12
    assert evaluation.parts == {}
    assert evaluation.metrics["iou"] is not None
    assert evaluation.metrics["abs_rel"] is not None


def test_reference_by_difference_is_nearly_perfect_on_what_can_be_separated(own: Evaluation) -> None:
    iou = own.references["difference"]["iou"]
    assert iou is not None
    assert iou > 0.95
    assert "rmse" not in own.references["difference"]


def test_reference_by_mean_depth_is_that_of_numpy(run: Path, other_data: Path, tmp_path: Path) -> None:
    folder = ModestFolder(other_data)
    truths = np.array([folder.read(index).depth for index in range(len(folder))]) / 65535
    mean = np.load(run / "references.npz")["mean_depth"]
    expected = np.sqrt(np.square(truths - mean).mean())
    assert evaluate(run, other_data, out=tmp_path).references["mean_depth"]["rmse"] == pytest.approx(expected, rel=1e-5)


def test_native_equals_the_network_size_for_square_pictures_of_that_size(
    run: Path, other_data: Path, tmp_path: Path
) -> None:
    at_size = evaluate(run, other_data, out=tmp_path)
    native = evaluate(run, other_data, native=True, out=tmp_path)
    assert native.size is None
    assert same_figures(native.metrics, at_size.metrics)
    for name, figures in at_size.references.items():
        assert same_figures(native.references[name], figures)


def same_figures(first: Figures, second: Figures) -> bool:
    """Tell whether two rows agree; `batch_rmse` may differ, since batches do."""
    names = first.keys() - {"batch_rmse"}
    return first.keys() == second.keys() and all(first[name] == pytest.approx(second[name], abs=1e-4) for name in names)


def test_wide_pictures_score_the_same_with_and_without_padding(run: Path, wide_data: Path, tmp_path: Path) -> None:
    at_size = evaluate(run, wide_data, out=tmp_path).metrics
    native = evaluate(run, wide_data, native=True, out=tmp_path).metrics
    for name in ("iou", "soft_iou", "rmse", "mae"):
        assert native[name] == pytest.approx(at_size[name], abs=0.05), name


def test_another_size_is_scored_at_that_size(run: Path, other_data: Path, tmp_path: Path) -> None:
    evaluation = evaluate(run, other_data, size=32, out=tmp_path)
    assert evaluation.size == 32
    assert evaluation.metrics != evaluate(run, other_data, out=tmp_path).metrics


def test_worst_items_are_drawn_into_the_run_folder(run: Path, other_data: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    worst = evaluate(copy, other_data).worst
    assert worst == str(copy / "evaluation" / "other-worst.png")
    lines = 6  # 12 items, two a line
    assert cv2.imread(worst).shape[0] == 18 + lines * (112 + 4 + 18)


def test_weights_file_alone_is_enough_but_has_no_references(run: Path, scenes: Path) -> None:
    evaluation = evaluate(run / "epochs" / "003.safetensors", scenes)
    assert evaluation.items == 48
    assert evaluation.references == {}
    assert evaluation.parts == {}
    assert evaluation.worst is None
    assert evaluation.metrics["iou"] is not None


def test_items_without_depth_have_no_depth_figures(run: Path, tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "masks", 2, depth=False)
    for native in (False, True):
        evaluation = evaluate(run, data, native=native, out=tmp_path / "out")
        assert evaluation.metrics["rmse"] is None
        assert evaluation.metrics["iou"] is not None


def test_table_has_a_row_for_each_part_and_reference(own: Evaluation) -> None:
    labels = [line[:30].strip() for line in format_table(own).splitlines()]
    for label in ("all", *PARTS, "(difference)", "(mean depth)", "(difference, new_both)"):
        assert any(found.startswith(label) for found in labels), label


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"size": 32, "native": True}, "leave --size out"),
        ({"size": 50}, "50 is not a multiple of 32; the next that fits is 64"),
    ],
)
def test_settings_at_fault_are_refused(arguments: dict, text: str, run: Path, other_data: Path) -> None:
    with pytest.raises(UserError, match=text):
        evaluate(run, other_data, **arguments)


def test_missing_data_and_weights_are_refused(run: Path, scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: this data set folder does not exist"):
        evaluate(run, tmp_path / "none")
    with pytest.raises(UserError, match="none: no such weights"):
        evaluate(tmp_path / "none", scenes)
