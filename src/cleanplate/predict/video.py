"""Predict videos: decoding, network and encoding at the same time, frames in batches, memory bounded."""

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

import numpy as np
from pydantic import BaseModel

from cleanplate.errors import UserError
from cleanplate.predict.clips import Clip, ClipFrame, ClipWriter
from cleanplate.predict.match import PlateWatch
from cleanplate.predict.predictor import Answer, OnCanvas, Scene
from cleanplate.predict.render import Background, put_onto, render_cutout, render_mask
from cleanplate.predict.sounds import Sound
from cleanplate.progress import progress_bar
from cleanplate.sheet import colour_depth, draw_depth_scale

BATCH = 8
"""Frames that the network takes at a time."""
AHEAD = 2
"""Batches that may wait for the network, and for what comes after it."""
FILES = {"mask": ".mp4", "cutout": ".webm", "depth_colour": ".mp4", "onto": ".mp4"}
"""What is made of a video."""

T = TypeVar("T")


class PredictedVideo(BaseModel):
    """What was made of a video."""

    video: str
    frames: int
    seconds: float
    frames_per_second: float
    files: list[str]


def predict_video(
    scene: Scene, path: Path, folder: Path, kinds: Iterable[str], background: Background | None, watch: PlateWatch
) -> PredictedVideo:
    """Write the videos of `kinds` that come of one.

    Args:
        scene: answers its frames.
        path: the video.
        folder: where `NAME_KIND.mp4` (or `.webm`) go.
        kinds: of `FILES`.
        background: what `onto` puts the foreground on.
        watch: warns of a plate that hardly matches.

    Raises:
        UserError: the video cannot be read to its end, or is not of the plate's shape; what was written before plays.
        KeyboardInterrupt: likewise, and says so.
    """
    started, count = time.perf_counter(), 0
    writers: dict[str, ClipWriter] = {}
    with Clip(path) as clip:
        try:
            with progress_bar() as progress, closing(_ahead(_answer(scene, clip), AHEAD)) as batches:
                bar = progress.add_task(f"predicting {path.name}", total=clip.length or None)
                for sounds, frames, on_canvas in batches:
                    answers = [
                        scene.at_own_size(small, frame.pixels) for small, frame in zip(on_canvas, frames, strict=True)
                    ]
                    if not writers:
                        draw = _Drawing(frames[0].pixels.shape, background, scene.predictor.backend.metres)
                        for kind in kinds:
                            first = draw(kind, frames[0].pixels, answers[0])
                            if first is not None:
                                file = folder / f"{path.stem}_{kind}{FILES[kind]}"
                                writers[kind] = ClipWriter(file, clip, first.shape)
                    for writer in writers.values():
                        writer.write_sounds(sounds)
                    for frame, answer in zip(frames, answers, strict=True):
                        for kind, writer in writers.items():
                            if (picture := draw(kind, frame.pixels, answer)) is not None:
                                writer.write(picture, frame)
                    if frames:
                        watch.look_at(frames[0].pixels, f"{path}, frame {count}")
                    count += len(frames)
                    progress.advance(bar, len(frames))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{folder}: holds the first {count} frames of {path.name}, which play") from None
        finally:
            faults = [fault for writer in writers.values() if (fault := _close(writer))]
        if faults:
            raise faults[0]
    seconds = time.perf_counter() - started
    return PredictedVideo(
        video=str(path),
        frames=count,
        seconds=round(seconds, 2),
        frames_per_second=round(count / seconds, 1),
        files=[str(writer.path) for writer in writers.values()],
    )


def _close(writer: ClipWriter) -> BaseException | None:
    try:
        writer.close()
    except BaseException as fault:
        return fault
    return None


def _answer(scene: Scene, clip: Clip) -> Generator[tuple[list[Sound], list[ClipFrame], list[OnCanvas]]]:
    """Pass the clip through the network, which another thread feeds."""
    with closing(_ahead(_in_batches(clip.parts()), AHEAD)) as batches:
        for sounds, frames in batches:
            try:
                yield sounds, frames, scene.on_canvas([frame.pixels for frame in frames]) if frames else []
            except UserError as error:
                raise UserError(f"{clip.path}: {error}") from None


class _Drawing:
    """Draws what stands in the videos of a kind."""

    def __init__(
        self, shape: tuple[int, ...], background: Background | None, metres: tuple[float, float] | None
    ) -> None:
        self._background, self._scale = background, draw_depth_scale(shape[0], metres)

    def __call__(self, kind: str, frame: np.ndarray, answer: Answer) -> np.ndarray | None:
        """Return a picture, uint8; None where there is nothing of this kind."""
        if kind == "mask":
            return render_mask(answer.mask)
        if kind == "cutout":
            return render_cutout(frame, answer.mask)
        if kind == "onto" and self._background:
            return put_onto(frame, answer.mask, self._background.at(frame.shape))
        if kind == "depth_colour" and answer.depth is not None:
            return np.hstack([colour_depth(answer.depth), self._scale])
        return None


def _in_batches(parts: Iterator[ClipFrame | Sound]) -> Generator[tuple[list[Sound], list[ClipFrame]]]:
    """Gather frames by eights, each batch with the sound between them."""
    sounds: list[Sound] = []
    frames: list[ClipFrame] = []
    for part in parts:
        if isinstance(part, Sound):
            sounds.append(part)
        else:
            frames.append(part)
        if len(frames) == BATCH:
            yield sounds, frames
            sounds, frames = [], []
    yield sounds, frames


def _ahead(items: Generator[T], count: int) -> Generator[T]:
    """Pass on items that a thread gets beforehand, at most `count` of them."""
    waiting: Queue[tuple[T | None, BaseException | None]] = Queue(count)
    stopped = Event()

    def work() -> None:
        end: BaseException = StopIteration()
        try:
            for item in items:
                if not _put((item, None)):
                    return
        except BaseException as error:  # is raised where the items are used
            end = error
        finally:
            items.close()
        _put((None, end))

    def _put(entry: tuple[T | None, BaseException | None]) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(entry, timeout=0.1)
            except Full:
                continue
            return True
        return False

    thread = Thread(target=work, name="decoding")
    thread.start()
    try:
        while True:
            item, end = waiting.get()
            if isinstance(end, StopIteration):
                return
            if end is not None:
                raise end
            yield item  # type: ignore[misc]  # there is one where there is no end
    finally:
        stopped.set()
        thread.join()
