"""The pictures of a comparison: curves of all runs, and what each network makes of the same items."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cleanplate.compare.summary import Group, Loaded
from cleanplate.data.source import DataSet, read_good, skipped_by
from cleanplate.data.split import split_items
from cleanplate.predict.predictor import Predictor
from cleanplate.sheet import colour_depth, draw_sheet
from cleanplate.train.curves import FIGURES, as_png
from cleanplate.train.previews import preview_items

ITEMS = 8
"""How many items the predictions show."""


def draw_curves(groups: Sequence[tuple[Group, list[Loaded]]], note: str) -> bytes:
    """Return curves as PNG: validation metrics and rate over epochs, minutes and items seen; a colour a recipe."""
    shown = {
        name: title
        for name, title in FIGURES.items()
        if name == "lr" or any(run.rows[0].get(f"validation/{name}") is not None for _, runs in groups for run in runs)
    }
    figure = Figure(figsize=(15, 3.2 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 3, squeeze=False)
    for number, (group, runs) in enumerate(groups):
        for member, run in enumerate(runs):
            across = {
                "epoch": [row["epoch"] for row in run.rows],
                "minutes": [seconds / 60 for seconds in run.seconds()],
                "training items seen": run.items_seen(),
            }
            label = f"{letter(number)}  {group.label}, {run.rows[-1]['steps']} steps" if member == 0 else None
            for line, name in zip(grid, shown, strict=True):
                values = [row["lr" if name == "lr" else f"validation/{name}"] for row in run.rows]
                for axes, (xlabel, xs) in zip(line, across.items(), strict=True):
                    heights = [float("nan") if value is None else value for value in values]
                    axes.plot(xs, heights, color=f"C{number}", marker="o", markersize=3, linewidth=1, label=label)
                    axes.set(xlabel=xlabel, ylabel=shown[name], yscale="log" if name == "lr" else "linear")
    for line in grid:
        line[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    grid[0][0].legend(fontsize=8)
    figure.suptitle(note)
    return as_png(figure, dpi=90)


def draw_predictions(groups: Sequence[tuple[Group, list[Loaded]]], folder: DataSet, note: str) -> np.ndarray:
    """Return a sheet of the same validation items, each recipe's first run beside the truth.

    Args:
        groups: the runs by recipe.
        folder: the data set that they were trained on.
        note: a line over the sheet.

    Returns:
        `(height, width, 3)` uint8 RGB.
    """
    firsts = [runs[0] for _, runs in groups]
    networks = [Predictor.load(run.run.path, exact=True) for run in firsts]
    with_depth = [run.environment["depth"] is not None and run.recipe.model != "masknet" for run in firsts]
    captions = ["plate", "frame", "mask: truth", *(f"mask: {letter(number)}" for number in range(len(groups)))]
    if any(with_depth):
        captions += ["depth: truth", *(f"depth: {letter(number)}" for number, has in enumerate(with_depth) if has)]
    rows, names = [], []
    recipe = firsts[0].recipe
    skipped = skipped_by(recipe, folder)
    for index in preview_items(split_items(folder, recipe.split), ITEMS).tolist():
        item = read_good(folder, index, skipped)
        if item is None:
            continue
        answers = [network.with_plate(item.plate)(item.frame) for network in networks]
        masks = [(answer.mask * 255).round().astype(np.uint8) for answer in answers]
        row: list[np.ndarray | None] = [item.plate, item.frame, item.mask, *masks]
        if any(with_depth):
            depths = [answer.depth for answer, has in zip(answers, with_depth, strict=True) if has]
            truth = None if item.depth is None else item.depth / 65535
            row += [None if depth is None else colour_depth(depth) for depth in (truth, *depths)]
        rows.append(row)
        names.append(folder.name(index))
    return draw_sheet(rows, captions, notes=names, title=note)


def letter(number: int) -> str:
    """Return A, B, … by which recipes are called where their names are too long."""
    return chr(ord("A") + number) if number < 26 else f"A{number}"
