"""Commands that score a network and put it to use."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cleanplate.cli.options import GENERAL, Json, OptionalData, Weights, tell
from cleanplate.errors import UserError


def evaluate(
    more: Annotated[list[Path] | None, typer.Argument(help="More folders of footage, after --footage.")] = None,
    weights: Weights = GENERAL,
    data: OptionalData = None,
    footage: Annotated[
        list[Path] | None,
        typer.Option(metavar="<path>", help="A folder of footage with masks, or of several such; more may follow."),
    ] = None,
    size: Annotated[int | None, typer.Option(help="Pixels a side.", show_default="the last phase's")] = None,
    native: Annotated[bool, typer.Option("--native", help="Score at the pictures' own size.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the worst items' picture goes.", show_default="RUN/evaluation; of a file nowhere"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score a network on a data set, on footage or on both, beside references that learn nothing from data.

    Example: cleanplate evaluate --weights runs/first --data museum --footage lawn corridor
    """
    if more and not footage:
        raise UserError(f"{more[0]}: what is it? give --footage before folders of footage, --data before a data set")
    if data is None and not footage:
        raise UserError("give --data, a data set folder, or --footage, a folder of footage with masks")
    if native and not data:
        raise UserError("--native: is for --data, since footage is scored at its own size in any case; leave it out")
    from cleanplate.data.sequences import find_footage
    from cleanplate.evaluate import evaluate as evaluate_weights
    from cleanplate.evaluate import format_table
    from cleanplate.footage import evaluate_footage
    from cleanplate.footage import format_table as format_footage

    films = [*(footage or []), *(more or [])]
    find_footage(films)  # what is at fault there is told before the data set has been scored
    result, texts = dict[str, Any](), []
    if data:
        evaluation = evaluate_weights(weights, data, size=size, native=native, out=out)
        result, texts = evaluation.model_dump(mode="json"), [format_table(evaluation)]
    if films:
        on_footage = evaluate_footage(weights, films, size=size, out=out)
        result = _join(on_footage.model_dump(mode="json"), result)
        texts.append(format_footage(on_footage))
    tell(as_json, result, "\n\n".join(texts))


def _join(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return both results as one: what both have is the second's, references of one name hold the figures of both."""
    references = {
        name: first["references"].get(name, {}) | second.get("references", {}).get(name, {})
        for name in {**first["references"], **second.get("references", {})}
    }
    return first | second | {"references": references}


def predict(
    frames: Annotated[list[Path], typer.Argument(help="Pictures, folders of pictures, videos, or patterns of them.")],
    plate: Annotated[Path, typer.Option(help="The same scene with nobody in it.")],
    weights: Weights = GENERAL,
    out: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("predictions"),
    size: Annotated[
        int | None, typer.Option(help="Pixels of the longer side that the network sees.", show_default="its training's")
    ] = None,
    onto: Annotated[
        str | None, typer.Option(metavar="BACKGROUND", help="Put the people on a picture, or a colour: '#00ff00'.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="Write no more than this: mask, cutout, depth, depth_metres, depth_colour, onto, overview.",
            show_default="all",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict mask and depth of pictures and videos of one scene.

    Example: cleanplate predict --weights runs/first --plate plate.jpg frame.jpg talk.mp4 --onto beach.jpg
    """
    from cleanplate.predict.pictures import predict as predict_pictures

    predicted = predict_pictures(weights, plate, frames, out=out, size=size, onto=onto, only=only)
    tell(as_json, predicted, f"{predicted.out}: {len(predicted.files)} files of {predicted.frames} frames")


def plate(
    footage: Annotated[Path, typer.Argument(help="A video, or a folder of pictures, of a camera that stands still.")],
    out: Annotated[Path, typer.Option(help="The picture to write; NAME_share.png comes beside it.")] = Path(
        "plate.png"
    ),
    samples: Annotated[int, typer.Option(min=3, help="How many frames to look at, spread over the footage.")] = 100,
    as_json: Json = False,
) -> None:
    """Find the clean plate of footage in which people do not stay for good.

    Example: cleanplate plate talk.mp4 --out plate.png
    """
    from cleanplate.predict.plate import make_plate

    made = make_plate(footage, out, samples=samples)
    text = f"{made.plate}: of {made.frames} frames; {made.seldom_seen:.1%} of it were seen empty in under 30 % of them"
    tell(as_json, made, f"{text} (dark in {made.share})")
