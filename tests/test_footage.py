"""Masks scored on footage: figures against torchmetrics, the references against OpenCV itself, what is written."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from documented import console_commands
from hypothesis import given, settings
from hypothesis import strategies as st
from shots import SHAPE, draw_shot, write_footage
from skimage.morphology import opening
from torchmetrics.functional.classification import (
    binary_f1_score,
    binary_jaccard_index,
    binary_precision,
    binary_recall,
)

from cleanplate import Predictor, UserError, clean_plate, cli, evaluate_footage
from cleanplate.footage import FootageEvaluation, figures, format_table, rates
from cleanplate.pictures import read_rgb, write_picture
from cleanplate.references import References, count, sweep
from cleanplate.references import difference as difference_of_blurred

PAGE = (Path(__file__).parents[1] / "docs" / "footage.md").read_text()
OFFICIAL = {
    "iou": binary_jaccard_index,
    "f_measure": binary_f1_score,
    "precision": binary_precision,
    "recall": binary_recall,
}
NAN = float("nan")


def official(masks: np.ndarray, truths: np.ndarray) -> dict[str, float]:
    """Return the figures of masks, bool, by torchmetrics; truths as in a mask file."""
    labels = np.select([truths == 255, np.isin(truths, (0, 50))], [1, 0], -1)
    pairs = [(torch.from_numpy(m.astype(int)), torch.from_numpy(t)) for m, t in zip(masks, labels, strict=True)]
    everything = torch.from_numpy(masks.astype(int)), torch.from_numpy(labels)
    return {
        name: float(np.mean([metric(*pair, ignore_index=-1).item() for pair in pairs]))
        for name, metric in OFFICIAL.items()
    } | {f"pooled_{name}": metric(*everything, ignore_index=-1).item() for name, metric in OFFICIAL.items()}


def count_all(masks: np.ndarray, truths: np.ndarray) -> np.ndarray:
    return np.stack([count(m, t == 255, np.isin(t, (0, 50))) for m, t in zip(masks, truths, strict=True)])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_figures_agree_with_torchmetrics(seed: int, frames: int) -> None:
    rng = np.random.default_rng(seed)
    truths = rng.choice([0, 50, 85, 170, 255], (frames, 12, 17))
    masks = rng.random(truths.shape) < rng.uniform(0.1, 0.9)
    assert figures(count_all(masks, truths)) == pytest.approx(official(masks, truths), abs=1e-6)


def test_figures_by_hand() -> None:
    truth = np.array([[255, 255, 255, 0, 50, 85, 170]])
    mask = np.array([[True, True, False, True, False, True, True]])
    assert count_all(mask[None], truth[None]).tolist() == [[2, 1, 1]]
    assert figures(np.array([[2, 1, 1], [0, 0, 0]])) == pytest.approx(
        {
            "iou": (0.5 + 1) / 2,
            "f_measure": (2 / 3 + 1) / 2,
            "precision": 2 / 3,
            "recall": 2 / 3,
            "pooled_iou": 0.5,
            "pooled_f_measure": 2 / 3,
            "pooled_precision": 2 / 3,
            "pooled_recall": 2 / 3,
        }
    )


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 0, 0], [1, 1, NAN, NAN]),
        ([0, 5, 0], [0, 0, 0, NAN]),
        ([0, 0, 5], [0, 0, NAN, 0]),
        ([5, 0, 0], [1, 1, 1, 1]),
    ],
)
def test_rates_of_what_is_empty(counts: list[int], expected: list[float]) -> None:
    found = rates(np.array(counts))
    assert [float(value) for value in found.values()] == pytest.approx(expected, nan_ok=True)
    assert figures(np.array([counts]))["recall"] == (None if np.isnan(expected[3]) else expected[3])


def test_sweep_counts_what_the_reference_says_at_each_threshold() -> None:
    frame, truth = draw_shot(1)
    plate = np.roll(draw_shot(2)[0], 1, 0)
    thresholds = np.arange(2, 100, 7)
    found = sweep(difference_of_blurred(plate, frame), truth == 255, truth == 0, thresholds)
    for threshold, counts in zip(thresholds.tolist(), found, strict=True):
        mask = References(threshold, None).mask(plate[None], frame[None])[0] > 0
        right, wrong = (mask & (truth == 255)).sum(), (mask & (truth == 0)).sum()
        assert counts.tolist() == [right, wrong, (~mask & (truth == 255)).sum()]


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two sequences, one in each layout, the second with two frames that have no mask."""
    folder = tmp_path_factory.mktemp("footage")
    first = write_footage(folder / "lawn")
    second = write_footage(folder / "office", 8, distributed=True)
    for number in (1, 4):
        (second / "groundtruth" / f"gt{number:06d}.png").unlink()
    return [first, second]


LABELLED = {"lawn": range(1, 7), "office": (2, 3, 5, 6, 7, 8)}


@pytest.fixture(scope="module")
def evaluation(run: Path, footage: list[Path], tmp_path_factory: pytest.TempPathFactory) -> FootageEvaluation:
    return evaluate_footage(run, footage, out=tmp_path_factory.mktemp("out"))


def expect(masks: list[np.ndarray], numbers: list[int] | range | tuple[int, ...]) -> dict[str, float]:
    return official(np.stack(masks), np.stack([draw_shot(number)[1] for number in numbers]))


def test_network_is_scored_by_its_answers_at_the_frames_size(
    run: Path, footage: list[Path], evaluation: FootageEvaluation
) -> None:
    scene = Predictor.load(run, exact=True).with_plate(read_rgb(footage[0] / "plate.png"))
    for name, labelled in LABELLED.items():
        masks = [scene(draw_shot(number)[0]).mask >= 0.5 for number in labelled]
        assert evaluation.sequences[name] == pytest.approx(expect(masks, labelled), abs=1e-6)
    assert evaluation.frames == 12
    ious = [row["iou"] for row in evaluation.sequences.values()]
    assert evaluation.mean["iou"] == pytest.approx(np.mean(ious))
    assert min(ious) > 0.5


def test_subtraction_of_opencv_learns_from_every_frame_in_order(evaluation: FootageEvaluation) -> None:
    makers = {"mog2": cv2.createBackgroundSubtractorMOG2, "knn": cv2.createBackgroundSubtractorKNN}
    for reference, make in makers.items():
        for name, labelled in LABELLED.items():
            subtractor = make()
            masks = {number: subtractor.apply(draw_shot(number)[0]) == 255 for number in range(1, max(labelled) + 1)}
            expected = expect([masks[number] for number in labelled], labelled)
            assert evaluation.references[reference][name]["iou"] == pytest.approx(expected["iou"], abs=1e-6)


def test_difference_is_at_the_one_threshold_that_is_best_for_all(
    footage: list[Path], evaluation: FootageEvaluation
) -> None:
    plate = read_rgb(footage[0] / "plate.png")

    def mask(frame: np.ndarray, threshold: int) -> np.ndarray:
        far = cv2.GaussianBlur(np.abs(plate.astype(int) - frame).max(2).astype(np.uint8), (0, 0), 1)
        return opening(far > threshold, np.ones((3, 3)))

    def ious(threshold: int) -> dict[str, float]:
        return {
            name: expect([mask(draw_shot(number)[0], threshold) for number in labelled], labelled)["iou"]
            for name, labelled in LABELLED.items()
        }

    best = ious(evaluation.difference_threshold)
    found = {name: row["iou"] for name, row in evaluation.references["difference"].items()}
    assert found == pytest.approx(best, abs=1e-6)
    mean = np.mean(list(best.values()))
    assert evaluation.reference_means["difference"]["iou"] == pytest.approx(mean, abs=1e-6)
    for other in (3, 10, 30, 60, 100):
        assert np.mean(list(ious(other).values())) <= mean + 1e-6


def test_missing_plate_is_made_of_the_frames_and_kept(run: Path, tmp_path: Path) -> None:
    folder = write_footage(tmp_path / "lawn", plate=False)
    evaluate_footage(run, [folder], out=tmp_path / "out")
    expected, _ = clean_plate([draw_shot(number)[0] for number in range(1, 7)])
    assert np.array_equal(read_rgb(folder / "plate.png"), expected)
    write_picture(folder / "plate.png", np.zeros((*SHAPE, 3), np.uint8))
    evaluate_footage(run, [folder], out=tmp_path / "out")
    assert read_rgb(folder / "plate.png").max() == 0


def test_size_is_what_the_network_sees(run: Path, footage: list[Path], evaluation: FootageEvaluation) -> None:
    small = evaluate_footage(run, footage[:1], size=32, out=footage[0].parent / "out")
    assert (small.size, evaluation.size) == (32, 64)
    assert small.sequences["lawn"] != evaluation.sequences["lawn"]
    assert small.references["mog2"]["lawn"] == evaluation.references["mog2"]["lawn"]


def test_worst_frames_are_drawn_where_there_is_a_place(
    run: Path, footage: list[Path], evaluation: FootageEvaluation
) -> None:
    assert evaluation.worst_frames is not None
    assert Path(evaluation.worst_frames).name == "footage-worst.png"
    lines = 6  # 12 frames, two a line
    assert cv2.imread(evaluation.worst_frames).shape[0] == 18 + lines * (112 + 4 + 18)
    assert evaluate_footage(run / "epochs" / "003.safetensors", footage[:1]).worst_frames is None


def test_table_has_a_row_for_each_sequence_and_their_mean(evaluation: FootageEvaluation) -> None:
    head, *lines = format_table(evaluation).splitlines()
    assert head.split()[-3:] == ["(difference)", "(mog2)", "(knn)"]
    assert [line.split()[0] for line in lines[:3]] == ["lawn", "office", "mean"]
    assert f"{evaluation.sequences['lawn']['iou']:.4f}" in lines[0]


def test_commands_and_python_of_the_page_run(
    run: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, "run")
    Path("museum").symlink_to(scenes)
    for name in ("lawn", "corridor"):
        write_footage(Path(name))
    write_footage(Path("dataset/baseline/office"), distributed=True)
    commands = console_commands(PAGE)
    assert len(commands) == 3
    for words in commands:
        with pytest.raises(SystemExit) as ended:
            cli.main(words[1:])
        assert ended.value.code == 0, " ".join(words)
    assert Path("report/footage-worst.png").exists()
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], {"evaluate_footage": evaluate_footage})


def test_sequence_without_a_pixel_that_counts_is_refused(run: Path, tmp_path: Path) -> None:
    folder = write_footage(tmp_path / "lawn", 2)
    for mask in (folder / "masks").iterdir():
        write_picture(mask, np.full(SHAPE, 170, np.uint8))
    with pytest.raises(UserError, match="lawn: no mask has a pixel that counts; 255 is foreground, 0 background"):
        evaluate_footage(run, [folder])
