"""Predict videos: decoding, network, drawing and encoding at the same time, frames in batches, memory bounded."""

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel

from cleanplate.cores import count_cores
from cleanplate.errors import UserError
from cleanplate.predict.clips import Clip, ClipFrame, ClipWriter
from cleanplate.predict.match import PlateWatch
from cleanplate.predict.predictor import Answer, Scene
from cleanplate.predict.render import Background, put_onto, render_cutout, render_mask
from cleanplate.predict.sounds import Sound
from cleanplate.progress import progress_bar
from cleanplate.sheet import colour_depth, draw_depth_scale

BATCH = 4
"""Frames that the network takes at a time."""
AHEAD = 2
"""Batches that may wait for the network."""
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
            with progress_bar() as progress, closing(_draw(scene, clip, tuple(kinds), background)) as batches:
                bar = progress.add_task(f"predicting {path.name}", total=clip.length or None)
                for sounds, frames, pictures in batches:
                    if not writers:
                        for kind, first in pictures[0].items():
                            file = folder / f"{path.stem}_{kind}{FILES[kind]}"
                            writers[kind] = ClipWriter(file, clip, first.shape)
                    for writer in writers.values():
                        writer.write_sounds(sounds)
                    for frame, drawn in zip(frames, pictures, strict=True):
                        for kind, picture in drawn.items():
                            writers[kind].write(picture, frame)
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


class _Drawn(NamedTuple):
    """A batch with what was drawn of each of its frames, by kind."""

    sounds: list[Sound]
    frames: list[ClipFrame]
    pictures: list[dict[str, np.ndarray]]


def _draw(scene: Scene, clip: Clip, kinds: Sequence[str], background: Background | None) -> Generator[_Drawn]:
    """Pass the clip through network and drawing, a batch on each core, and yield the batches in order.

    Batches side by side, each on one core, are faster than one batch on all of them: nobody waits for the slowest.
    """
    draw = _Drawing(scene, kinds, background)

    def work(sounds: list[Sound], frames: list[ClipFrame]) -> _Drawn:
        try:
            return _Drawn(sounds, frames, draw([frame.pixels for frame in frames]) if frames else [])
        except UserError as error:
            raise UserError(f"{clip.path}: {error}") from None

    cores, working = count_cores(), deque[Future[_Drawn]]()
    with (
        scene.predictor.backend.side_by_side(),
        ThreadPoolExecutor(cores, "network") as pool,
        closing(_ahead(_in_batches(clip.parts()), AHEAD)) as batches,
    ):
        for sounds, frames in batches:
            working.append(pool.submit(work, sounds, frames))
            if len(working) > cores:
                yield working.popleft().result()
        while working:
            yield working.popleft().result()


class _Drawing:
    """Draws what stands in the videos of some kinds."""

    def __init__(self, scene: Scene, kinds: Sequence[str], background: Background | None) -> None:
        self._scene, self._kinds, self._background = scene, kinds, background

    def __call__(self, frames: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Return of each frame a picture of each kind that there is, uint8."""
        answers = self._scene.many(frames)
        drawn = [
            {kind: self._draw(kind, frame, answer) for kind in self._kinds}
            for frame, answer in zip(frames, answers, strict=True)
        ]
        return [{kind: picture for kind, picture in of.items() if picture is not None} for of in drawn]

    def _draw(self, kind: str, frame: np.ndarray, answer: Answer) -> np.ndarray | None:
        if kind == "mask":
            return render_mask(answer.mask)
        if kind == "cutout":
            return render_cutout(frame, answer.mask)
        if kind == "onto" and self._background:
            return put_onto(frame, answer.mask, self._background.at(frame.shape))
        if kind == "depth_colour" and answer.depth is not None:
            scale = _depth_scale(frame.shape[0], self._scene.predictor.backend.metres)
            return np.hstack([colour_depth(answer.depth), scale])
        return None


_depth_scale = lru_cache(maxsize=4)(draw_depth_scale)


def _in_batches(parts: Iterator[ClipFrame | Sound]) -> Generator[tuple[list[Sound], list[ClipFrame]]]:
    """Gather frames by fours, each batch with the sound between them."""
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
