"""Predict pictures and folders into files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from cleanplate.errors import UserError
from cleanplate.pictures import list_pictures, read_rgb, write_picture
from cleanplate.predict.predictor import Answer, Predictor
from cleanplate.progress import track
from cleanplate.sheet import colour_depth, draw_sheet

CAPTIONS = ("plate", "frame", "mask", "cutout", "depth")
TILE = 320


class Predicted(BaseModel):
    """What `cleanplate predict` has written."""

    out: str
    frames: int
    files: list[str]


def predict(
    weights: Path | str,
    plate: Path | str,
    frames: Sequence[Path | str],
    *,
    out: Path | str = "predictions",
    size: int | None = None,
) -> Predicted:
    """Predict frames of one scene and write what comes out beside each other into a folder.

    Of a frame `NAME`: `NAME_mask.png` (255 foreground), `NAME_depth.png` (16 bit, 0 nearest), `NAME_depth_colour.png`,
    `NAME_cutout.png` (RGBA) and `NAME_overview.png`; a network without depth leaves the depths out.

    Args:
        weights: a run folder, a `.safetensors` or an `.onnx` file.
        plate: the picture of the scene with nobody in it.
        frames: pictures, or folders of pictures.
        out: the folder to write into; files of the same names are replaced.
        size: pixels of the longer side that the network sees; that of its training when None.

    Raises:
        UserError: weights or a picture are at fault; what was written before stays.
    """
    paths = [path for given in frames for path in _pictures(Path(given))]
    _require_distinct_names(paths)
    answer_frame = Predictor.load(weights, size).with_plate(plate_picture := read_rgb(Path(plate)))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for path in track(paths, len(paths), "predicting"):
        frame = read_rgb(path)
        try:
            answer = answer_frame(frame)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        for kind, picture in _render(plate_picture, frame, answer).items():
            files.append(folder / f"{path.stem}_{kind}.png")
            write_picture(files[-1], picture)
    return Predicted(out=str(folder), frames=len(paths), files=[str(file) for file in files])


def _pictures(given: Path) -> list[Path]:
    if given.is_dir():
        return list_pictures(given)
    if not given.exists():
        raise UserError(f"{given}: no such picture or folder")
    return [given]


def _require_distinct_names(paths: list[Path]) -> None:
    first: dict[str, Path] = {}
    for path in paths:
        if first.setdefault(path.stem, path) != path:
            raise UserError(f"{path}: would overwrite what comes of {first[path.stem]}; predict them into two folders")


def _render(plate: np.ndarray, frame: np.ndarray, answer: Answer) -> dict[str, np.ndarray]:
    mask = (answer.mask * 255).round().astype(np.uint8)
    cutout = np.dstack([frame, mask])
    on_white = (frame * answer.mask[..., None] + 255 * (1 - answer.mask[..., None])).round().astype(np.uint8)
    pictures = {"mask": mask, "cutout": cutout}
    depth_colour = None
    if answer.depth is not None:
        depth_colour = colour_depth(answer.depth)
        pictures |= {"depth": (answer.depth * 65535).round().astype(np.uint16), "depth_colour": depth_colour}
    return pictures | {"overview": draw_sheet([(plate, frame, mask, on_white, depth_colour)], CAPTIONS, tile=TILE)}
