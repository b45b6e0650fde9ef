"""Curves over the epochs of a run, the borders of its phases marked."""

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cleanplate.files import write_bytes
from cleanplate.train.run import Row

FIGURES = {"rmse": "RMSE of depth", "iou": "IoU of mask", "loss": "loss", "lr": "learning rate"}
PARTS = ("train", "validation", "seen", "new_plate", "new_cutout", "new_both")


def draw_curves(rows: Sequence[Row], folder: Path, title: str) -> None:
    """Write `rmse.png`, `iou.png`, `loss.png` and `lr.png` under `title`; what a run has no figures of is left out."""
    epochs = [row["epoch"] for row in rows]
    borders = [row["epoch"] - 0.5 for before, row in pairwise(rows) if row["phase"] != before["phase"]]
    for name, quantity in FIGURES.items():
        columns = {"learning rate": "lr"} if name == "lr" else {part: f"{part}/{name}" for part in PARTS}
        lines = {label: [row[column] for row in rows] for label, column in columns.items() if column in rows[0]}
        lines = {label: values for label, values in lines.items() if any(value is not None for value in values)}
        if not lines:
            continue
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
        for label, values in lines.items():
            axes.plot(epochs, [float("nan") if v is None else v for v in values], marker="o", markersize=3, label=label)
        for border in borders:
            axes.axvline(border, color="grey", linestyle=":", linewidth=1)
        for size, epoch in {row["phase"]: (row["size"], row["epoch"]) for row in reversed(rows)}.values():
            axes.annotate(f"{size}x{size}", (epoch, 1.01), xycoords=("data", "axes fraction"), fontsize=8, color="grey")
        axes.set(xlabel="epoch", ylabel=quantity, yscale="log" if name == "lr" else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(lines) > 1:
            axes.legend()
        figure.suptitle(title, fontsize=10)
        write_bytes(folder / f"{name}.png", as_png(figure))


def as_png(figure: Figure, dpi: int = 110) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
