"""How good a network's masks are on footage, beside a difference threshold and OpenCV's background subtraction."""

import heapq
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel

from cleanplate.data.sequences import FootageFolder, Labels, find_footage
from cleanplate.errors import UserError
from cleanplate.pictures import write_picture
from cleanplate.predict.plate import make_plate
from cleanplate.predict.predictor import Predictor
from cleanplate.progress import say, track
from cleanplate.references import count, open_mask, sweep
from cleanplate.sheet import COMPARISON, draw_sheet
from cleanplate.weights import find_run, find_weights

THRESHOLDS = np.arange(2, 128)
"""The differences, of 255, that are tried."""
WORST_FRAMES = 16
NAMES = ("iou", "f_measure", "precision", "recall")
REFERENCES = ("difference", "mog2", "knn")

Figures = dict[str, float | None]


class FootageEvaluation(BaseModel):
    """The figures of a network's masks on footage, at the frames' own size."""

    weights: str
    size: int
    """Pixels of the longer side that the network saw."""
    frames: int
    """Frames that were scored."""
    sequences: dict[str, Figures]
    """Of each sequence `iou`, `f_measure`, `precision` and `recall`, the means over its frames; with `pooled_` before
    the name, of all its pixels together."""
    mean: Figures
    """Over the sequences."""
    references: dict[str, dict[str, Figures]]
    """The same as `sequences` of `difference`, `mog2` and `knn`."""
    reference_means: dict[str, Figures]
    difference_threshold: int
    """The difference, of 255, above which a pixel is foreground: the one of best mean IoU over these sequences."""
    worst_frames: str | None
    """A picture of the frames of lowest IoU."""
    seconds: float


def evaluate_footage(
    weights: Path | str, footage: Iterable[Path | str], *, size: int | None = None, out: Path | str | None = None
) -> FootageEvaluation:
    """Score a network's masks on footage with hand-made masks. A `plate.png` that is missing is made.

    Args:
        weights: a run folder, a `.safetensors` or an `.onnx` file; `general` are the package's own.
        footage: folders of a sequence each, or of several; docs/footage.md has the layouts.
        size: pixels of the longer side that the network sees; that of its training when None.
        out: a folder for the picture of the worst frames; `evaluation` in the run folder when None.

    Raises:
        UserError: weights or footage are at fault.
    """
    started = time.perf_counter()
    sequences = find_footage(footage)
    predictor = Predictor.load(weights, size, exact=True)
    counts, lowest = {}, list[tuple[float, str, str]]()
    for name, sequence in sequences.items():
        counts[name], shots = _count(name, sequence, predictor)
        scores = rates(counts[name]["network"])["iou"].tolist()
        lowest = heapq.nsmallest(WORST_FRAMES, lowest + [(*one, name) for one in zip(scores, shots, strict=True)])
    means = [rates(of["difference"])["iou"].mean(0) for of in counts.values()]
    best = int(np.mean(means, axis=0).argmax())
    for of in counts.values():
        of["difference"] = of["difference"][:, best]
    threshold = int(THRESHOLDS[best])
    tables = {who: {name: figures(of[who]) for name, of in counts.items()} for who in ("network", *REFERENCES)}
    run = find_run(weights)
    folder_out = Path(out) if out else run / "evaluation" if run else None
    return FootageEvaluation(
        weights=str(find_weights(weights)),
        size=predictor.size,
        frames=sum(len(of["network"]) for of in counts.values()),
        sequences=tables["network"],
        mean=_mean(tables["network"]),
        references={who: tables[who] for who in REFERENCES},
        reference_means={who: _mean(tables[who]) for who in REFERENCES},
        difference_threshold=threshold,
        worst_frames=_draw_worst(sequences, lowest, predictor, threshold, folder_out) if folder_out else None,
        seconds=round(time.perf_counter() - started, 1),
    )


def _count(name: str, sequence: FootageFolder, predictor: Predictor) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return what `count` says of the masks of each labelled frame, `(N, 3)`, and the frames' names.

    Of the difference it is `(N, T, 3)`, for each threshold.
    """
    if not sequence.plate.exists():
        made = make_plate(sequence.frames[0].parent, sequence.plate)
        say(f"{made.plate}: made of {made.frames} frames")
    plate = sequence.read_plate()
    scene = predictor.with_plate(plate)
    learning = {"mog2": cv2.createBackgroundSubtractorMOG2(), "knn": cv2.createBackgroundSubtractorKNN()}
    counts, names = defaultdict(list), []
    for shot in track(sequence.read(), len(sequence.frames), f"scoring {name}"):
        # They learn from every frame; 127 is what they take for shadow.
        masks = {who: subtractor.apply(shot.frame) == 255 for who, subtractor in learning.items()}
        if shot.labels is None:
            continue
        masks["network"] = scene(shot.frame).mask >= 0.5
        for who, mask in masks.items():
            counts[who].append(count(mask, *shot.labels))
        counts["difference"].append(sweep(difference(plate, shot.frame), *shot.labels, THRESHOLDS))
        names.append(shot.name)
    if not names:
        raise UserError(f"{sequence.path}: no mask has a pixel that counts; 255 is foreground, 0 background")
    return {who: np.stack(rows) for who, rows in counts.items()}, names


def difference(plate: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return the largest channel difference `(H, W)` uint8 of `(H, W, 3)` pictures, blurred by one pixel.

    The blur comes last, where that of `references.difference` comes first: with a camera's noise it is the stronger.
    """
    return cv2.GaussianBlur(cv2.absdiff(plate, frame).max(2), (0, 0), 1)


def rates(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return figures of pixel counts.

    IoU is `r / (r + w + m)` and F-measure `2 r / (2 r + w + m)`, both 1 where there is nothing and nothing was found;
    precision is `r / (r + w)` and recall `r / (r + m)`.

    Args:
        counts: `(..., 3)` of pixels that are rightly foreground, wrongly so, and missed.

    Returns:
        For each of `NAMES` an array `(...)`; NaN where precision or recall has nothing to measure.
    """
    right, wrong, missed = np.moveaxis(counts.astype(float), -1, 0)
    fault = wrong + missed
    with np.errstate(invalid="ignore"):
        return {
            "iou": np.where(right + fault > 0, right / (right + fault), 1),
            "f_measure": np.where(right + fault > 0, 2 * right / (2 * right + fault), 1),
            "precision": right / (right + wrong),
            "recall": right / (right + missed),
        }


def figures(counts: np.ndarray) -> Figures:
    """Return the mean over frames of each of `NAMES`, and the same, `pooled_`, of all pixels; counts are `(N, 3)`."""
    pooled = rates(counts.sum(0))
    return {name: _mean_of_known(values) for name, values in rates(counts).items()} | {
        f"pooled_{name}": _mean_of_known(value[None]) for name, value in pooled.items()
    }


def _mean(table: dict[str, Figures]) -> Figures:
    """Return the mean over the sequences, of those that have the figure."""
    rows = list(table.values())
    return {name: _mean_of_known(np.array([row[name] for row in rows], float)) for name in rows[0]}


def _mean_of_known(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _draw_worst(
    sequences: dict[str, FootageFolder],
    lowest: list[tuple[float, str, str]],
    predictor: Predictor,
    threshold: int,
    folder: Path,
) -> str:
    rows, notes = [], []
    for score, shot_name, name in lowest:
        plate, shot = sequences[name].read_plate(), sequences[name].read_shot(shot_name)
        answer = predictor.with_plate(plate)(shot.frame).mask
        by_difference = open_mask(difference(plate, shot.frame) > threshold)
        truth = _draw_labels(shot.labels) if shot.labels else None
        found = (answer * 255).round().astype(np.uint8), by_difference * np.uint8(255)
        rows.append((plate, shot.frame, truth, *found))
        notes.append(f"{name} {shot_name}: IoU {score:.3f}")
    path = folder / "footage-worst.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, draw_sheet(rows, (*COMPARISON[:4], "mask: difference"), across=2, notes=notes))
    return str(path)


def _draw_labels(labels: Labels) -> np.ndarray:
    """Return the truth as `(H, W)` uint8: 255 foreground, 0 background, grey what does not count."""
    return np.where(labels.foreground, 255, np.where(labels.background, 0, 128)).astype(np.uint8)


def format_table(evaluation: FootageEvaluation) -> str:
    """Return an evaluation as a table of text: a row for each sequence, and the IoU of the references in brackets."""
    columns = (*NAMES, "pooled_iou", "pooled_f_measure")
    rows = {
        name: [own.get(column) for column in columns] + [evaluation.references[who][name]["iou"] for who in REFERENCES]
        for name, own in evaluation.sequences.items()
    }
    rows["mean"] = [evaluation.mean[column] for column in columns] + [
        evaluation.reference_means[who]["iou"] for who in REFERENCES
    ]
    heads = [*columns, *(f"({who})" for who in REFERENCES)]
    first = max(map(len, rows))
    lines = [" " * first + "".join(f"  {head:>6}" for head in heads)]
    for name, values in rows.items():
        cells = ("" if value is None else f"{value:.4f}" for value in values)
        lines.append(
            f"{name:<{first}}" + "".join(f"  {c:>{max(len(h), 6)}}" for c, h in zip(cells, heads, strict=True))
        )
    lines += [
        f"{evaluation.frames} frames at their own size; the network saw {evaluation.size} pixels",
        f"in brackets, IoU: the difference above {evaluation.difference_threshold} of 255, which is best for these "
        "sequences, and OpenCV's MOG2 and KNN",
    ]
    if evaluation.worst_frames:
        lines.append(f"worst frames: {evaluation.worst_frames}")
    return "\n".join(lines)
