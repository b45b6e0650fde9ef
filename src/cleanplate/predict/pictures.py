"""Predict pictures, folders and videos into files."""

import glob
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from cleanplate.errors import UserError
from cleanplate.pictures import list_pictures, read_rgb, write_picture
from cleanplate.predict.clips import VIDEO_SUFFIXES
from cleanplate.predict.match import PlateWatch
from cleanplate.predict.predictor import Answer, Predictor
from cleanplate.predict.render import Background, put_onto, render_cutout, render_mask
from cleanplate.predict.video import FILES, PredictedVideo, predict_video
from cleanplate.progress import track
from cleanplate.sheet import colour_depth, draw_depth_scale, draw_sheet

KINDS = ("mask", "cutout", "depth", "depth_metres", "depth_colour", "onto", "overview")
"""What is made of a picture; of a video those of `video.FILES`."""
CAPTIONS = ("plate", "frame", "mask", "cutout", "depth")
TILE = 320


class Predicted(BaseModel):
    """What `cleanplate predict` has written."""

    out: str
    frames: int
    """Pictures, and frames of videos."""
    files: list[str]
    videos: list[PredictedVideo]


def predict(
    weights: Path | str,
    plate: Path | str,
    frames: Sequence[Path | str],
    *,
    out: Path | str = "predictions",
    size: int | None = None,
    onto: str | None = None,
    only: Sequence[str] | None = None,
) -> Predicted:
    """Predict pictures and videos of one scene and write what comes out beside each other into a folder.

    Of a picture `NAME`: `NAME_mask.png` (255 foreground), `NAME_cutout.png` (RGBA), `NAME_depth.png` (16 bit, 0
    nearest), `NAME_depth_metres.tiff` (float32, of weights with metric depth), `NAME_depth_colour.png` with its scale,
    `NAME_onto.png` and `NAME_overview.png`. Of a video: `NAME_mask.mp4`, `NAME_cutout.webm` (with transparency),
    `NAME_depth_colour.mp4` and `NAME_onto.mp4`. A network without depth leaves the depths out.

    Args:
        weights: a run folder, a `.safetensors` or an `.onnx` file; `general` are the package's own.
        plate: the picture of the scene with nobody in it.
        frames: pictures, folders of pictures, videos, or patterns of them such as `shots/*.jpg`; what folders and
            patterns find of earlier answers in `out` is left out.
        out: the folder to write into; files of the same names are replaced.
        size: pixels of the longer side that the network sees; that of its training when None.
        onto: a picture, or a colour such as `#00ff00`, that the foreground is put on.
        only: which of `KINDS` to write; all when None.

    Raises:
        UserError: weights, a picture or a video are at fault; what was written before stays.
    """
    folder = Path(out)
    paths = [path for given in frames for path in _find(str(given), folder)]
    _require_distinct_names(paths)
    background = Background(onto) if onto is not None else None
    predictor = Predictor.load(weights, size)
    plate_picture = read_rgb(Path(plate))
    kinds = _choose_kinds(only, background is not None)
    films = [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES]
    pictures = [path for path in paths if path not in films]
    of_video = [kind for kind in FILES if kind in kinds]
    if films and not of_video:
        raise UserError(f"--only {' '.join(kinds)}: of a video there are {', '.join(FILES)}")
    scene, watch = predictor.with_plate(plate_picture), PlateWatch(plate_picture)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[str] = []
    for path in track(pictures, len(pictures), "predicting"):
        frame = read_rgb(path)
        try:
            answer = scene(frame)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        watch.look_at(frame, str(path))
        rendered = _render(plate_picture, frame, answer, background, predictor.backend.metres)
        for kind in kinds:
            if kind in rendered:
                suffix = ".tiff" if kind == "depth_metres" else ".png"
                file = folder / f"{path.stem}_{kind}{suffix}"
                write_picture(file, rendered[kind])
                files.append(str(file))
    videos = [predict_video(scene, path, folder, of_video, background, watch) for path in films]
    files += [file for video in videos for file in video.files]
    if not files:
        raise UserError(f"--only {' '.join(kinds)}: {weights} answer with none, or not in metres; leave --only out")
    count = len(pictures) + sum(video.frames for video in videos)
    return Predicted(out=str(folder), frames=count, files=files, videos=videos)


def _find(given: str, out: Path) -> list[Path]:
    """Return the pictures and videos that the user means by a name or a pattern."""
    path = Path(given)
    if path.is_dir():
        files = list_pictures(path)
    elif path.exists():
        return [path]
    elif glob.has_magic(given):
        files = sorted(file for name in glob.glob(given, recursive=True) if (file := Path(name)).is_file())
    else:
        raise UserError(f"{path}: no such picture, video or folder")
    if not files:
        raise UserError(f"{given}: no file has such a name; check the pattern")
    frames = [file for file in files if not _is_answer(file, out)]
    if not frames:
        raise UserError(f"{given}: nothing but earlier answers in {out}; give frames")
    return frames


def _is_answer(path: Path, out: Path) -> bool:
    """Tell whether an earlier call has written this."""
    return path.stem.endswith(tuple(f"_{kind}" for kind in KINDS)) and path.resolve().parent == out.resolve()


def _require_distinct_names(paths: list[Path]) -> None:
    first: dict[str, Path] = {}
    for path in paths:
        if first.setdefault(path.stem, path) != path:
            raise UserError(f"{path}: would overwrite what comes of {first[path.stem]}; predict them into two folders")


def _choose_kinds(only: Sequence[str] | None, with_background: bool) -> Sequence[str]:
    for kind in only or ():
        if kind not in KINDS:
            raise UserError(f"--only {kind}: is none of {', '.join(KINDS)}")
    if only and "onto" in only and not with_background:
        raise UserError("--only onto: give the background as well, --onto PICTURE")
    if only and with_background and "onto" not in only:
        raise UserError(f"--onto: --only {' '.join(only)} leaves it out; add --only onto")
    return only or [kind for kind in KINDS if kind != "onto" or with_background]


def _render(
    plate: np.ndarray,
    frame: np.ndarray,
    answer: Answer,
    background: Background | None,
    metres: tuple[float, float] | None,
) -> dict[str, np.ndarray]:
    mask = render_mask(answer.mask)
    pictures = {"mask": mask, "cutout": render_cutout(frame, answer.mask)}
    depth_colour = None
    if answer.depth is not None:
        depth_colour = colour_depth(answer.depth)
        scale = draw_depth_scale(len(frame), metres)
        pictures["depth"] = (answer.depth * 65535).round().astype(np.uint16)
        pictures["depth_colour"] = np.hstack([depth_colour, scale])
        if metres:
            near, far = metres
            pictures["depth_metres"] = near + answer.depth * np.float32(far - near)
    if background:
        pictures["onto"] = put_onto(frame, answer.mask, background.at(frame.shape))
    on_white = put_onto(frame, answer.mask, np.full_like(frame, 255))
    return pictures | {"overview": draw_sheet([(plate, frame, mask, on_white, depth_colour)], CAPTIONS, tile=TILE)}
