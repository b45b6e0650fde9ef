"""Commands that make, check, measure and pack data sets."""

from pathlib import Path
from typing import Annotated

import typer

from cleanplate.cli.options import Json, Seed, Workers, as_yaml, tell, warn

data_app = typer.Typer(help="Make, check, measure and pack data sets.")

MOST_FAULTS = 20
"""So many are printed one by one."""


@data_app.command("museum")
def data_museum(
    out: Annotated[Path, typer.Argument(help="The data set folder to make.")],
    rooms: Annotated[int, typer.Option(help="How many rooms, each seen by one camera.")] = 600,
    figures: Annotated[int, typer.Option(help="How many people there are to draw from.")] = 200,
    frames: Annotated[int, typer.Option(help="Frames of each room.")] = 10,
    size: Annotated[int, typer.Option(help="Pixels a side, a multiple of 32.")] = 224,
    seed: Seed = 1,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Render the built-in sample set: rooms with people, exact masks and depths.

    Example: cleanplate data museum museum --rooms 100
    """
    from cleanplate.data.museum import make_museum

    made = make_museum(out, rooms=rooms, figures=figures, frames=frames, size=size, seed=seed, workers=workers)
    tell(as_json, {"path": str(made), "items": rooms * frames}, f"{made}: {rooms * frames} frames of {rooms} rooms")


@data_app.command("compose")
def data_compose(
    out: Annotated[Path, typer.Argument(help="The data set folder to make.")],
    plates: Annotated[Path, typer.Option(help="Pictures of places; depth maps may lie in PLATES/depth.")],
    cutouts: Annotated[Path, typer.Option(help="Pictures of people with transparency (RGBA).")],
    size: Annotated[int, typer.Option(help="Pixels of a frame's longer side, a multiple of 32.")] = 224,
    places: Annotated[int, typer.Option(help="Frames of each pair; in half of them the cutout is mirrored.")] = 40,
    scale: Annotated[tuple[float, float], typer.Option(help="Least and greatest height, of the frame's.")] = (0.3, 0.9),
    people: Annotated[int, typer.Option(help="At most so many cutouts in a frame.")] = 1,
    seed: Seed = 1,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Compose photographs of places and cutouts of people into a data set.

    Example: cleanplate data compose --plates rooms --cutouts people composed --places 4
    """
    from cleanplate.data.compose import compose

    made = compose(
        plates, cutouts, out, size=size, places=places, scale=scale, people=people, seed=seed, workers=workers
    )
    for fault in made.skipped:
        warn(f"skipped {fault}")
    tell(as_json, made, f"{made.path}: {made.items} frames of {made.plates} plates and {made.cutouts} cutouts")


@data_app.command("label-depth")
def data_label_depth(
    data: Annotated[Path, typer.Argument(help="A data set folder, or a folder of plates.")],
    model: Annotated[Path, typer.Option(help="A monocular depth network, an .onnx file.")],
    description: Annotated[
        str | None,
        typer.Option(help="midas, depth-anything or a YAML file.", show_default="the YAML beside the model"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Label frames or plates with relative depth from a monocular network, where they have none; goes on when stopped.

    Example: cleanplate data label-depth rooms --model model-f6b98070.onnx --description midas
    """
    from cleanplate.data.label_depth import label_depth

    made = label_depth(data, model, description=description)
    tell(as_json, made, f"{made.path}: {made.labelled} labelled, {made.already} had a label already")


@data_app.command("check")
def data_check(
    data: Annotated[Path, typer.Argument(help="A data set folder.")],
    as_json: Json = False,
) -> None:
    """Find every fault of a data set; the exit code is 2 when there are any.

    Example: cleanplate data check museum
    """
    from cleanplate.data.check import check

    report = check(data)
    lines = [f"{fault.file}: {fault.fault}" for fault in report.faults]
    tell(as_json, report, "\n".join([*lines, f"{data}: {report.items} items, {len(lines)} faults"]))
    if report.faults:
        raise typer.Exit(2)


@data_app.command("stats")
def data_stats(
    data: Annotated[Path, typer.Argument(help="A data set folder.")],
    sheet: Annotated[
        Path | None, typer.Option(help="Where to write the contact sheet.", show_default="DATA/contact_sheet.png")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a data set: means, deviations, foreground, depth; and draw a contact sheet.

    Example: cleanplate data stats museum
    """
    from cleanplate.data.statistics import stats

    statistics = stats(data, sheet=sheet)
    tell(as_json, statistics, as_yaml(statistics))


@data_app.command("pack")
def data_pack(
    data: Annotated[Path, typer.Argument(help="A data set folder, or the zip of one.")],
    out: Annotated[
        Path | None, typer.Argument(help="A folder to make, of packs alone; for a zip.", show_default="DATA itself")
    ] = None,
    size: Annotated[
        list[int] | None, typer.Option(metavar="<int>", help="Pixels a side, again and again.", show_default="96")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads to work with.", show_default="one a core")] = None,
    as_json: Json = False,
) -> None:
    """Decode and resize a data set once, for training; go on with that, or verify it.

    Example: cleanplate data pack museum --size 96 --size 160
    """
    from cleanplate.data.packing import pack

    packed = pack(data, out, sizes=size or [96], workers=workers)
    for fault in packed.faults[:MOST_FAULTS]:
        warn(f"left out {fault}")
    if len(packed.faults) > MOST_FAULTS:
        warn(f"left out {len(packed.faults) - MOST_FAULTS:,} more items; `cleanplate data check` names them all")
    sizes = ", ".join(f"{size}x{size}" for size in packed.sizes)
    tell(as_json, packed, f"{packed.path}: {packed.items:,} items packed at {sizes}, {packed.bytes / 1e9:.2f} GB")


@data_app.callback(invoke_without_command=True)
def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
