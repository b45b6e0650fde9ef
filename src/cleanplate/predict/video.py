"""Predict videos: decoding, network, drawing and encoding at the same time, memory bounded."""

import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
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
from cleanplate.signals import postponed_signals

AHEAD = 8
"""Frames and packets of sound that may wait for the network."""
LOOK_EVERY = 8
"""Of so many frames one is looked at, whether the plate matches it."""
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
    sounds: list[Sound] = []
    with Clip(path) as clip:
        try:
            with (
                postponed_signals() as answer_signals,
                progress_bar() as progress,
                closing(_draw(scene, clip, tuple(kinds), background)) as parts,
            ):
                bar = progress.add_task(f"predicting {path.name}", total=clip.length or None)
                for part in parts:
                    answer_signals()
                    if isinstance(part, Sound):
                        sounds.append(part)
                        continue
                    if count == 0:
                        for kind, first in part.pictures.items():
                            file = folder / f"{path.stem}_{kind}{FILES[kind]}"
                            writers[kind] = ClipWriter(file, clip, first.shape)
                    for kind, picture in part.pictures.items():
                        writers[kind].write_sounds(sounds)
                        writers[kind].write(picture, part.frame)
                    sounds = []
                    if count % LOOK_EVERY == 0:
                        watch.look_at(part.frame.pixels, f"{path}, frame {count}")
                    count += 1
                    progress.advance(bar)
                for writer in writers.values():
                    writer.write_sounds(sounds)
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
    """A frame with what was drawn of it, by kind."""

    frame: ClipFrame
    pictures: dict[str, np.ndarray]


def _draw(scene: Scene, clip: Clip, kinds: Sequence[str], background: Background | None) -> Generator[_Drawn | Sound]:
    """Pass the clip through network and drawing, a frame on each core, and yield all parts in order.

    Frames side by side, each on one core, are faster than a batch on all of them: what a layer leaves is still in the
    core's cache for the next, and no core waits for another.
    """
    draw = _Drawing(scene, kinds, background)

    def work(frame: ClipFrame) -> _Drawn:
        try:
            return _Drawn(frame, draw(frame.pixels))
        except UserError as error:
            raise UserError(f"{clip.path}: {error}") from None

    cores, working = count_cores(), 0
    parts: deque[Future[_Drawn] | Sound] = deque()
    with (
        scene.predictor.backend.side_by_side(),
        ThreadPoolExecutor(cores, "network") as pool,
        closing(_ahead(clip.parts(), AHEAD)) as read,
    ):
        for part in read:
            if isinstance(part, Sound):
                parts.append(part)
                continue
            parts.append(pool.submit(work, part))
            working += 1
            while working > cores + 2:
                done = _finished(parts.popleft())
                working -= isinstance(done, _Drawn)
                yield done
        yield from map(_finished, parts)


def _finished(part: Future[_Drawn] | Sound) -> _Drawn | Sound:
    return part if isinstance(part, Sound) else part.result()


class _Drawing:
    """Draws what stands in the videos of some kinds."""

    def __init__(self, scene: Scene, kinds: Sequence[str], background: Background | None) -> None:
        self._scene, self._kinds, self._background = scene, kinds, background

    def __call__(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        """Return a picture of each kind that there is, uint8."""
        answer = self._scene(frame)
        drawn = {kind: self._draw(kind, frame, answer) for kind in self._kinds}
        return {kind: picture for kind, picture in drawn.items() if picture is not None}

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
