"""Video files in and out, with PyAV: frames as RGB arrays with their times, and the sound as it is."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from cleanplate.errors import UserError
from cleanplate.files import require_file
from cleanplate.progress import say

if TYPE_CHECKING:
    import av

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv")
ANY_SIZE = 2**62
HIGH_DEFINITION = 720
"""Lines from which a video that does not say so has the colours of BT.709, as players take it."""
WAITING = 8
"""Pictures that may wait for an encoder."""

# Cheap settings: the encoders share the processor with the network.
_H264 = {"preset": "superfast", "crf": "20", "bf": "0", "g": "60"}
_VP9 = {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0", "row-mt": "1", "auto-alt-ref": "0"}


class Sound(NamedTuple):
    """A packet of the sound, as it is in the file."""

    content: bytes
    pts: int | None
    dts: int | None
    duration: int | None
    time_base: Fraction


class ClipFrame(NamedTuple):
    """A frame of a video, upright."""

    pixels: np.ndarray
    """`(H, W, 3)` uint8 RGB."""
    pts: int
    """When it is shown, in units of the clip's time base; greater than that of the frame before."""
    duration: int


class Clip:
    """A video file that is read from its beginning; a context manager.

    Raises:
        UserError: it is missing, no video, or PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        require_file(path, "no such video", ANY_SIZE)
        try:
            import av
        except ImportError:
            raise UserError(f"{path}: videos need PyAV; install it with: pip install 'cleanplate[video]'") from None
        self._fault = av.FFmpegError
        try:
            self.container = av.open(str(path), options={"protocol_whitelist": "file"})
        except av.FFmpegError as error:
            raise UserError(f"{path}: not a readable video ({error.strerror}); convert or copy it again") from None
        if not self.container.streams.video:
            self.container.close()
            raise UserError(f"{path}: holds no video; give a file that does")
        self.stream = self.container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.sound = next(iter(self.container.streams.audio), None)
        self.rate = self.stream.average_rate or self.stream.guessed_rate or Fraction(25)
        self.time_base = self.stream.time_base or 1 / self.rate

    def __enter__(self) -> "Clip":
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @property
    def length(self) -> int:
        """How many frames there are, as far as the file says; 0 where it does not."""
        seconds = (self.container.duration or 0) / 1_000_000
        return self.stream.frames or round(seconds * self.rate)

    def only_key_frames(self) -> None:
        """Leave out all frames that hang on others, which makes reading many times as fast."""
        self.stream.codec_context.skip_frame = "NONKEY"

    def parts(self) -> Iterator[ClipFrame | Sound]:
        """Read all frames, and the sound between them.

        Raises:
            UserError: the file is damaged.
        """
        last, count = -1, 0
        first = True
        try:
            for packet in self.container.demux(*([self.stream, self.sound] if self.sound else [self.stream])):
                if packet.stream is self.sound:
                    if packet.size and packet.time_base:
                        yield Sound(bytes(packet), packet.pts, packet.dts, packet.duration, packet.time_base)
                    continue
                for frame in self.stream.codec_context.decode(packet):
                    step = frame.duration or max(1, round(1 / (self.rate * self.time_base)))
                    pts = frame.pts if frame.pts is not None else (0 if first else last + step)
                    pts = pts if first else max(pts, last + 1)
                    yield ClipFrame(_to_rgb(frame), pts, step)
                    first, last, count = False, pts, count + 1
        except self._fault as error:
            raise UserError(f"{self.path}: is damaged after frame {count} ({error.strerror}); copy it again") from None
        if not count:
            raise UserError(f"{self.path}: holds no frame that can be read; copy it again")


def _to_rgb(frame: "av.VideoFrame") -> np.ndarray:
    unsaid = int(frame.colorspace) == 2
    colours = "ITU709" if unsaid and frame.height >= HIGH_DEFINITION else None
    pixels = frame.reformat(format="rgb24", src_colorspace=colours).to_ndarray()
    turns = round(frame.rotation / 90) % 4  # a phone held upright writes lying frames, and how they are to be turned
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


class ClipWriter:
    """Writes a video in a thread of its own; what is there plays, however the work ends.

    `.webm` is VP9, with transparency where pictures are RGBA; any other suffix is H.264. MP4 is written in pieces that
    are joined at the end, so that even a file cut off by a kill plays. The sound is copied where the file can hold it.

    Args:
        path: the file, which is replaced.
        like: the clip that frames and sound come from.
        shape: of the pictures, `(H, W)` grey, `(H, W, 3)` RGB or `(H, W, 4)` RGBA.
    """

    def __init__(self, path: Path, like: Clip, shape: tuple[int, ...]) -> None:
        import av

        self.path, self._time_base = path, like.time_base
        webm = path.suffix == ".webm"
        pieces = {} if webm else {"movflags": "hybrid_fragmented+frag_keyframe+delay_moov"}
        pieces["flush_packets"] = "1"  # to the disk, not to a buffer that a kill would take along
        self._container = av.open(str(path), "w", options=pieces)
        self._stream = self._container.add_stream("libvpx-vp9" if webm else "libx264", rate=like.rate)
        context = self._stream.codec_context
        context.height, context.width = (side + side % 2 for side in shape[:2])
        context.pix_fmt = "yuva420p" if shape[2:] == (4,) else "yuv420p"
        context.time_base = like.time_base
        context.sample_aspect_ratio = like.stream.sample_aspect_ratio or Fraction(1)
        context.options = _VP9 if webm else _H264
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1  # 16 to 235
        self._sound: Any = None
        if like.sound:
            if like.sound.codec_context.name in self._container.supported_codecs:
                self._sound = self._container.add_stream_from_template(like.sound)
            else:
                say(f"note: {path}: is without sound, since a {path.suffix} cannot hold that of {like.path.name}")
        self._fault: BaseException | None = None
        self._queue: Queue[tuple[np.ndarray, ClipFrame] | list[Sound] | None] = Queue(WAITING)
        self._thread = Thread(target=self._work, name=f"writing {path.name}")
        self._thread.start()

    def write(self, picture: np.ndarray, frame: ClipFrame) -> None:
        """Take a picture, uint8, to be shown when `frame` is; wait while too many wait."""
        self._put((picture, frame))

    def write_sounds(self, sounds: list[Sound]) -> None:
        """Take packets of the sound."""
        if self._sound and sounds:
            self._put(sounds)

    def close(self) -> None:
        """Write what waits, and end the file."""
        self._queue.put(None)
        self._thread.join()
        if self._fault:
            raise self._fault

    def _put(self, item: tuple[np.ndarray, ClipFrame] | list[Sound]) -> None:
        if self._fault:
            raise self._fault
        self._queue.put(item)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._fault is None:
                try:
                    if isinstance(item, list):
                        self._mux_sounds(item)
                    else:
                        self._encode(*item)
                except BaseException as fault:  # is raised to who writes; until then the queue is emptied
                    self._fault = fault
        try:
            if self._fault is None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
        except BaseException as fault:
            self._fault = self._fault or fault

    def _encode(self, picture: np.ndarray, shown: ClipFrame) -> None:
        import av

        kind = "gray" if picture.ndim == 2 else "rgb24" if picture.shape[2] == 3 else "rgba"
        frame = av.VideoFrame.from_ndarray(_even(picture), kind)
        frame = frame.reformat(format=self._stream.codec_context.pix_fmt, dst_colorspace="ITU709")
        frame.pts, frame.time_base, frame.duration = shown.pts, self._time_base, shown.duration
        self._container.mux(self._stream.encode(frame))

    def _mux_sounds(self, sounds: list[Sound]) -> None:
        import av

        for sound in sounds:
            packet = av.Packet(sound.content)
            packet.pts, packet.dts, packet.time_base = sound.pts, sound.dts, sound.time_base
            packet.duration, packet.stream = sound.duration or 0, self._sound
            self._container.mux(packet)


def _even(picture: np.ndarray) -> np.ndarray:
    """Return a picture of even sides, which H.264 wants: an odd one repeats its last row or column."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        return cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return picture
