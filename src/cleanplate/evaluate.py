"""How good a network is on a data set, beside two references that learn nothing."""

import heapq
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from cleanplate.data.mixed import share_out
from cleanplate.data.opening import Given, open_data
from cleanplate.data.source import BatchLoader, DataSet, Skipped, read_good, skipped_by
from cleanplate.data.split import split_items
from cleanplate.errors import UserError
from cleanplate.losses import Target
from cleanplate.metrics import MaskDepthMetrics, iou
from cleanplate.pictures import write_picture
from cleanplate.predict.predictor import Predictor
from cleanplate.progress import say, track
from cleanplate.recipe import Recipe
from cleanplate.references import References
from cleanplate.sheet import COMPARISON, colour_depth, draw_sheet
from cleanplate.train.run import Run
from cleanplate.weights import find_run, find_weights

BATCH_SIZE = 32
"""Items at a time where no recipe says how many."""
WORST_ITEMS = 16

Figures = dict[str, float | None]


class Evaluation(BaseModel):
    """The figures of a network on a data set."""

    weights: str
    data: str
    size: int | None
    """Pixels a side at which it was scored; None for the pictures' own size."""
    items: int
    metrics: Figures
    parts: dict[str, Figures]
    """The same of each part of the split, on the data set of the run's own training."""
    references: dict[str, Figures]
    """`difference` and `mean_depth`; empty where the run that fitted them is not at hand."""
    reference_parts: dict[str, dict[str, Figures]]
    worst: str | None
    """A picture of the items of lowest IoU."""
    seconds: float


class _Scored(NamedTuple):
    """Some items with the network's answers, arrays `(B, H, W[, 3])`, and their truth."""

    indices: list[int]
    plates: np.ndarray
    frames: np.ndarray
    masks: np.ndarray
    depths: np.ndarray | None
    mean_depths: np.ndarray | None
    target: Target


class _Tally:
    """The metrics of the network and of both references, over the same items."""

    def __init__(self, near: float | None, far: float | None) -> None:
        self.network, self.difference, self.mean_depth = (MaskDepthMetrics(near, far, structure=True) for _ in range(3))

    def update(self, scored: _Scored, references: References | None) -> None:
        self.network.update(_tensor(scored.masks), _tensor_or_none(scored.depths), scored.target)
        if references:
            masks = _tensor(references.mask(scored.plates, scored.frames))
            self.difference.update(masks, None, scored.target)
            self.mean_depth.update(masks, _tensor_or_none(scored.mean_depths), scored.target)

    def merge(self, other: "_Tally") -> None:
        for name in ("network", "difference", "mean_depth"):
            getattr(self, name).merge_state(getattr(other, name))

    def references(self) -> dict[str, Figures]:
        masks, depths = self.difference.compute(), self.mean_depth.compute()
        of_masks = ("iou", "soft_iou", "false_positive_share")
        return {
            "difference": {name: masks[name] for name in of_masks},
            "mean_depth": {name: value for name, value in depths.items() if name not in of_masks},
        }


def evaluate(
    weights: Path | str,
    data: Path | str,
    *,
    size: int | None = None,
    native: bool = False,
    out: Path | str | None = None,
) -> Evaluation:
    """Score a network on a data set.

    On the data set that a run was trained on, the run's validation items are scored, part by part, in the batches of
    its training; where its recipe has no mismatch, that gives the best epoch's row of metrics.csv again. On any other,
    all items are. Nothing is mismatched here.

    Args:
        weights: a run folder, a `.safetensors` or an `.onnx` file; `general` are the package's own.
        data: a data set folder.
        size: pixels a side to score at; that of the run's last phase when None.
        native: score at the pictures' own size instead.
        out: a folder for the picture of the worst items; `evaluation` in the run folder when None.

    Raises:
        UserError: weights or data set are at fault.
    """
    if native and size is not None:
        raise UserError("--native scores at the pictures' own size; leave --size out")
    started = time.perf_counter()
    folder = open_data(data)
    predictor = Predictor.load(weights, size, exact=True)
    run = Run.open(path) if (path := find_run(weights)) else None
    references = References.load(run.references) if run else None
    parts, batch_size = _what_to_score(folder, run, predictor.size)
    skipped = skipped_by(run.recipe(), folder) if run else None
    tallies, lowest = {}, list[tuple[float, int]]()
    for part, indices in parts.items():
        tallies[part] = _Tally(folder.card.depth.near, folder.card.depth.far)
        if native:
            groups = _native(folder, indices, predictor, references, skipped)
        else:
            groups = _at_size(folder, indices, predictor, references, batch_size, skipped)
        for scored in track(groups, len(indices) if native else -(-len(indices) // batch_size), f"scoring {part}"):
            tallies[part].update(scored, references)
            scores = iou(_tensor(scored.masks), scored.target.mask, scored.target.valid).tolist()
            lowest = heapq.nsmallest(WORST_ITEMS, lowest + list(zip(scores, scored.indices, strict=True)))
    total, *others = deepcopy(list(tallies.values()))
    for tally in others:
        total.merge(tally)
    own_data = list(parts) != ["all"]
    folder_out = Path(out) if out else run.path / "evaluation" if run else None
    return Evaluation(
        weights=str(find_weights(weights)),
        data=str(folder.path),
        size=None if native else predictor.size,
        items=sum(map(len, parts.values())) - (len(skipped.faults) if skipped else 0),
        metrics=total.network.compute(),
        parts={part: tally.network.compute() for part, tally in tallies.items()} if own_data else {},
        references=total.references() if references else {},
        reference_parts={p: t.references() for p, t in tallies.items()} if references and own_data else {},
        worst=_draw_worst(folder, lowest, predictor, folder_out / f"{folder.path.resolve().name}-worst.png")
        if folder_out
        else None,
        seconds=round(time.perf_counter() - started, 1),
    )


def _what_to_score(folder: DataSet, run: Run | None, size: int) -> tuple[dict[str, np.ndarray], int]:
    """Return the items of each part and how many to take at a time."""
    if run is None:
        return {"all": np.arange(len(folder))}, BATCH_SIZE
    recipe = run.recipe()
    batch_size = next((phase.batch_size for phase in reversed(recipe.phases) if phase.size == size), BATCH_SIZE)
    if (trained_on := _trained_on(folder, run, recipe)) is not None:
        say("the data set of its training: scoring the items kept for validation")
        parts = split_items(trained_on, recipe.split).parts
        own = {part: share_out(trained_on, items)[0][1] for part, items in parts.items()}
        if not (scored := {part: items for part, items in own.items() if len(items)}):
            raise UserError(f"{folder.path}: none of it is what {run.path} is validated by; score another set")
        return scored, batch_size
    return {"all": np.arange(len(folder))}, batch_size


def _trained_on(folder: DataSet, run: Run, recipe: Recipe) -> DataSet | None:
    """Return what a run was trained on if that is this data set, or is mixed of it and of plates; else None."""
    environment = run.environment()
    given, trained_on = Given.recorded(environment), folder
    if given.data and given.plates:
        try:
            trained_on = given.moved(Given.named(folder.path)).open(recipe)
        except UserError as error:
            say(f"note: {error}; all items are scored, those of its training too if this is its data set")
            return None
    return trained_on if trained_on.fingerprint() == environment["data_fingerprint"] else None


def _at_size(
    folder: DataSet,
    indices: np.ndarray,
    predictor: Predictor,
    references: References | None,
    batch_size: int,
    skipped: Skipped | None,
) -> Iterator[_Scored]:
    loader = BatchLoader(
        folder, indices, size=predictor.size, batch_size=batch_size, skipped=skipped, may_lose_batches=True
    )
    for batch in loader:
        plates, frames = (pictures.permute(0, 2, 3, 1).numpy() for pictures in (batch.plate, batch.frame))
        masks, depths = predictor.backend(predictor.backend.keep_plates(plates), frames)
        mean_depths = references.depth(len(masks), masks.shape[1:]) if references else None
        yield _Scored(batch.indices.tolist(), plates, frames, masks, depths, mean_depths, batch.target)


def _native(
    folder: DataSet,
    indices: np.ndarray,
    predictor: Predictor,
    references: References | None,
    skipped: Skipped | None,
) -> Iterator[_Scored]:
    for index in indices.tolist():
        if (item := read_good(folder, index, skipped)) is None:
            continue
        answer = predictor.with_plate(item.plate)(item.frame)
        mean_depth = references.native_depth(item.frame.shape) if references else None
        depth = np.zeros_like(answer.mask) if item.depth is None else item.depth.astype(np.float32) / 65535
        yield _Scored(
            [index],
            item.plate[None],
            item.frame[None],
            answer.mask[None],
            None if answer.depth is None else answer.depth[None],
            None if mean_depth is None else mean_depth[None],
            Target(
                _tensor(item.mask[None] / np.float32(255)), _tensor(depth[None]), torch.tensor([item.depth is not None])
            ),
        )


def _draw_worst(folder: DataSet, lowest: list[tuple[float, int]], predictor: Predictor, path: Path) -> str:
    rows, notes = [], []
    for score, index in lowest:
        item = folder.read(index)
        answer = predictor.with_plate(item.plate)(item.frame)
        rows.append(
            (
                item.plate,
                item.frame,
                item.mask,
                (answer.mask * 255).round().astype(np.uint8),
                None if item.depth is None else colour_depth(item.depth / 65535),
                None if answer.depth is None else colour_depth(answer.depth),
            )
        )
        notes.append(f"{folder.name(index)}: IoU {score:.3f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, draw_sheet(rows, COMPARISON, across=2, notes=notes))
    return str(path)


def _tensor(pictures: np.ndarray) -> Tensor:
    """Return `(B, H, W)` as `(B, 1, H, W)`."""
    return torch.from_numpy(pictures)[:, None]


def _tensor_or_none(pictures: np.ndarray | None) -> Tensor | None:
    return None if pictures is None else _tensor(pictures)


def format_table(evaluation: Evaluation) -> str:
    """Return an evaluation as a table of text: the network, its parts and the references."""
    rows = {"all": evaluation.metrics, **evaluation.parts}
    rows |= {f"({name.replace('_', ' ')})": figures for name, figures in evaluation.references.items()}
    for part, references in evaluation.reference_parts.items():
        rows |= {f"({name.replace('_', ' ')}, {part})": figures for name, figures in references.items()}
    names = [name for name in evaluation.metrics if any(figures.get(name) is not None for figures in rows.values())]
    first = max(map(len, rows))
    lines = [" " * first + "".join(f"{name:>{max(len(name), 6) + 2}}" for name in names)]
    for label, figures in rows.items():
        cells = ("" if (value := figures.get(name)) is None else f"{value:.4f}" for name in names)
        lines.append(
            f"{label:<{first}}" + "".join(f"{c:>{max(len(n), 6) + 2}}" for c, n in zip(cells, names, strict=True))
        )
    at = "their own size" if evaluation.size is None else f"{evaluation.size}x{evaluation.size}"
    lines.append(f"{evaluation.items} items of {evaluation.data} at {at}; in brackets: references that learn nothing")
    if evaluation.worst:
        lines.append(f"worst items: {evaluation.worst}")
    return "\n".join(lines)
