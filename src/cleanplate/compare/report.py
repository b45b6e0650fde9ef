"""Compare runs: a page, a Markdown file and pictures that say which is better, and whether one is at all."""

import base64
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from pydantic import BaseModel

from cleanplate.compare.drawings import draw_curves, draw_predictions, letter
from cleanplate.compare.summary import (
    LEAST_STEPS,
    Group,
    Loaded,
    Ranking,
    group_by_recipe,
    rank,
    require_comparable,
)
from cleanplate.data.opening import Given
from cleanplate.data.source import DataSet
from cleanplate.errors import UserError
from cleanplate.files import write_bytes, write_text
from cleanplate.metrics import NAMES
from cleanplate.pictures import write_picture
from cleanplate.progress import say
from cleanplate.recipe import differing_keys


class Table(NamedTuple):
    """Rows of text under column names."""

    columns: list[str]
    rows: list[list[str]]


class Section(NamedTuple):
    """A part of the page."""

    title: str
    text: str = ""
    points: Sequence[str] = ()
    table: Table | None = None
    picture: Path | None = None


class Comparison(BaseModel):
    """What a comparison has found."""

    data: str
    groups: list[Group]
    rankings: list[Ranking]
    notes: list[str]
    """What keeps the figures from being compared as they stand."""
    out: str
    """The folder with compare.html, compare.md, compare.json and the pictures."""


def compare(
    runs: Sequence[Path | str],
    *,
    out: Path | str = "comparison",
    data: Path | str | None = None,
    title: str = "Comparison of runs",
    note: str = "",
    sections: Sequence[Section] = (),
) -> Comparison:
    """Compare runs of one data set, split and mismatch; runs that differ in their seed alone count as one recipe.

    Args:
        runs: run folders.
        out: the folder to write into; an earlier comparison there is replaced.
        data: where the data set lies now; where the first run found it when None.
        title: of the page.
        note: stands on every picture.
        sections: further parts of the page, shown first.

    Raises:
        UserError: a run is none or given twice, or they were trained on different data, splits or mismatches.
    """
    if not runs:
        raise UserError("give at least one run folder to compare")
    if len({Path(path).resolve() for path in runs}) < len(runs):
        raise UserError(f"{' '.join(map(str, runs))}: give each run once")
    loaded = [Loaded(path) for path in runs]
    require_comparable(loaded)
    groups = group_by_recipe(loaded)
    folder_out = Path(out)
    comparison = Comparison(
        data=str(loaded[0].given),
        groups=[group for group, _ in groups],
        rankings=rank([group for group, _ in groups]),
        notes=_notes([group for group, _ in groups]),
        out=str(folder_out),
    )
    curves = draw_curves(groups, note)
    folder = _find_data(data, loaded[0])
    predictions = draw_predictions(groups, folder, note) if folder else None
    folder_out.mkdir(parents=True, exist_ok=True)
    write_bytes(folder_out / "curves.png", curves)
    if predictions is not None:
        write_picture(folder_out / "predictions.png", predictions)
    page = [*sections, *_sections(comparison, groups, folder_out, predictions=predictions is not None)]
    write_text(folder_out / "compare.json", comparison.model_dump_json(indent=1) + "\n")
    for name in ("compare.md", "compare.html"):
        content = {"title": title, "note": note, "data": comparison.data, "sections": page}
        write_text(folder_out / name, _render(folder_out / name, content))
    return comparison


def _find_data(data: Path | str | None, run: Loaded) -> DataSet | None:
    """Return the data set that the predictions are drawn from; None, with a note, where it is not to be had."""
    try:
        given = run.given if data is None else run.given.moved(Given.named(data))
        folder = given.open(run.recipe)
    except UserError as error:
        say(f"note: no predictions are drawn: {error}")
        return None
    if folder.fingerprint() != run.environment["data_fingerprint"]:
        say(f"note: no predictions are drawn: {given} is not the data set of these runs any more")
        return None
    return folder


def _notes(groups: Sequence[Group]) -> list[str]:
    notes = [
        f"{group.label} is too short to rank: {min(run.steps for run in group.runs)} steps of {LEAST_STEPS} needed"
        for group in groups
        if group.too_short
    ]
    sizes = {run.size for group in groups for run in group.runs}
    if len(sizes) > 1:
        named = ", ".join(f"{size}x{size}" for size in sorted(sizes))
        notes.append(
            f"the runs were scored at different sizes ({named}): figures of larger pictures are harder to come by"
        )
    if len({run.steps for group in groups for run in group.runs}) > 1:
        notes.append("the runs had different numbers of steps")
    return notes


def _sections(
    comparison: Comparison, groups: Sequence[tuple[Group, list[Loaded]]], folder: Path, *, predictions: bool
) -> list[Section]:
    rankings = [
        f"{ranking.metric} ({ranking.better} is better): {statement}"
        for ranking in comparison.rankings
        for statement in ranking.statements
    ]
    drawn = Section(
        "Predictions", "The same validation items, the first run of each recipe.", picture=folder / "predictions.png"
    )
    return [
        Section("Which is better", "" if rankings else "There are not two recipes that can be ranked.", rankings),
        *([Section("Mind", points=comparison.notes)] if comparison.notes else []),
        Section(
            "Figures",
            "Of the best epoch, over all validation parts; mean ± deviation over seeds.",
            table=_figures(comparison),
        ),
        Section("Runs", table=_runs(comparison)),
        Section("Best and last epoch of each run", table=_best_and_last(comparison)),
        Section("Curves", "Of the validation; a colour a recipe, a line a run.", picture=folder / "curves.png"),
        *([drawn] if predictions else []),
        Section("How the recipes differ", table=_differences(groups)),
    ]


def _figures(comparison: Comparison) -> Table:
    metrics = _metrics(comparison)
    rows = [
        [f"{letter(number)}  {group.label}", str(len(group.runs)), *(_spread(group, metric) for metric in metrics)]
        for number, group in enumerate(comparison.groups)
    ]
    return Table(["recipe", "seeds", *metrics], rows)


def _metrics(comparison: Comparison) -> list[str]:
    """Return the metrics that any of the runs has."""
    return [m for m in (*NAMES, "loss") if any(group.mean.get(m) is not None for group in comparison.groups)]


def _spread(group: Group, metric: str) -> str:
    value, deviation = group.mean.get(metric), group.deviation.get(metric)
    if value is None:
        return ""
    return f"{value:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")


def _runs(comparison: Comparison) -> Table:
    columns = ["run", "seed", "size", "epochs", "steps", "items seen", "minutes", "items/s", "parameters"]
    rows = [
        [
            Path(run.run).name,
            str(run.seed),
            f"{run.size}x{run.size}",
            str(run.epochs),
            str(run.steps),
            f"{run.items_seen:,}",
            f"{run.seconds / 60:.1f}",
            f"{run.items_per_second:.1f}",
            f"{run.parameters:,}",
        ]
        for group in comparison.groups
        for run in group.runs
    ]
    return Table(columns, rows)


def _best_and_last(comparison: Comparison) -> Table:
    metrics = _metrics(comparison)
    rows = [
        [f"{Path(run.run).name}, {which}", *(_number(values.get(metric)) for metric in metrics)]
        for group in comparison.groups
        for run in group.runs
        for which, values in (("best", run.best), ("last", run.last))
    ]
    return Table(["run", *metrics], rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _differences(groups: Sequence[tuple[Group, list[Loaded]]]) -> Table:
    found = differing_keys([runs[0].recipe for _, runs in groups])
    if len({runs[0].initial for _, runs in groups}) > 1:
        found["--init"] = [runs[0].environment.get("init") for _, runs in groups]
    rows = [
        [key, *("" if value is None else str(value) for value in values)]
        for key, values in found.items()
        if key not in ("name", "description", "seed")
    ]
    return Table(["key", *(f"{letter(number)}  {group.label}" for number, (group, _) in enumerate(groups))], rows)


def _render(path: Path, content: dict[str, Any]) -> str:
    """Return the text of compare.md or compare.html; the page holds its pictures, the other one names them."""
    environment = jinja2.Environment(
        autoescape=path.suffix == ".html", undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["embedded"] = lambda p: "data:image/png;base64," + base64.b64encode(p.read_bytes()).decode()
    environment.filters["relative"] = lambda picture: Path(os.path.relpath(picture, path.parent)).as_posix()
    template = (files("cleanplate.compare") / f"{path.name}.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(content)


def format_text(comparison: Comparison) -> str:
    """Return the rankings and the figures as text."""
    table = _figures(comparison)
    cells = [table.columns, *table.rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    lines += [f"mind: {note}" for note in comparison.notes]
    lines += [f"{ranking.metric}: {said}" for ranking in comparison.rankings for said in ranking.statements]
    return "\n".join([*lines, f"page: {comparison.out}/compare.html"])
