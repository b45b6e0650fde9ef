"""Video files in and out, with PyAV: frames as RGB arrays with their times, and the sound as it is."""

from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from cleanplate.cores import count_cores
from cleanplate.errors import UserError
from cleanplate.files import require_file
from cleanplate.pictures import MAX_PIXELS
from cleanplate.predict.sounds import OPUS, CopiedSound, OpusSound, Sound
from cleanplate.progress import say

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv")
FORMATS = "mov,mp4,matroska,webm,avi,mpeg,mpegts,asf"
"""The kinds of files behind these names. Any other could be a play list, which has files opened that nobody named."""
ANY_SIZE = 2**62
HIGH_DEFINITION = 720
"""Lines from which a video that does not say so has the colours of BT.709, as players take it."""
WAITING = 8
"""Pictures that may wait for an encoder."""

# Cheap settings: the encoders share the processor with the network.
_H264 = {"preset": "ultrafast", "crf": "20", "bf": "0", "g": "60"}
_VP9 = {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0", "row-mt": "1", "auto-alt-ref": "0"}

_MP4_PIECES = {"movflags": "hybrid_fragmented+frag_keyframe+delay_moov"}
_WEBM_PIECES = {"cluster_time_limit": "1000"}


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
        self.container = open_container(path)
        streams = [stream for stream in self.container.streams.video if stream.codec_context]  # those with a decoder
        if not streams:
            self.container.close()
            raise UserError(f"{path}: holds no video that can be decoded; give a file that does, or convert it")
        self.stream = streams[0]
        self.stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
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

    def parts(self) -> Generator[ClipFrame | Sound]:
        """Read all frames, and the sound between them; frames are of the size of the first.

        Raises:
            UserError: the file is damaged.
        """
        last, count = -1, 0
        first: av.VideoFrame | None = None
        try:
            for packet in self.container.demux(*([self.stream, self.sound] if self.sound else [self.stream])):
                if packet.stream is self.sound:
                    if packet.size and packet.time_base:
                        yield Sound(bytes(packet), packet.pts, packet.dts, packet.duration, packet.time_base)
                    continue
                for frame in self.stream.codec_context.decode(packet):
                    step = frame.duration or max(1, round(1 / (self.rate * self.time_base)))
                    pts = frame.pts if frame.pts is not None else (last + step if first else 0)
                    pts = max(pts, last + 1) if first else pts
                    first = first or frame
                    yield ClipFrame(_to_rgb(frame, first), pts, step)
                    last, count = pts, count + 1
        except self._fault as error:
            raise UserError(f"{self.path}: is damaged after frame {count} ({error.strerror}); copy it again") from None
        if not count:
            raise UserError(f"{self.path}: holds no frame that can be read; copy it again")


def open_container(path: Path) -> "InputContainer":
    """Open a video, and no file but it.

    Raises:
        UserError: it is no video.
    """
    import av

    try:
        options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
        return av.open(f"file:{path}", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise UserError(f"{path}: not a readable video ({error.strerror}); convert or copy it again") from None


def _to_rgb(frame: "av.VideoFrame", first: "av.VideoFrame") -> np.ndarray:
    unsaid = int(frame.colorspace) == 2
    colours = "ITU709" if unsaid and frame.height >= HIGH_DEFINITION else None
    pixels = frame.reformat(first.width, first.height, "rgb24", src_colorspace=colours).to_ndarray()
    turns = round(first.rotation / 90) % 4  # a phone held upright writes lying frames, and how they are to be turned
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


class ClipWriter:
    """Writes a video in a thread of its own; what is there plays, however the work ends.

    `.webm` is VP9, with transparency where pictures are RGBA; any other suffix is H.264. Both are written in pieces,
    MP4 of two seconds, which are joined at the end, WebM of one, so that even a file cut off by a kill plays. The sound
    is copied where the file can hold it, else made anew as Opus.

    Args:
        path: the file, which is replaced.
        like: the clip that frames and sound come from.
        shape: of the pictures, `(H, W)` grey, `(H, W, 3)` RGB or `(H, W, 4)` RGBA.
    """

    def __init__(self, path: Path, like: Clip, shape: tuple[int, ...]) -> None:
        import av

        self.path, self._time_base = path, like.time_base
        webm = path.suffix == ".webm"
        pieces = _WEBM_PIECES if webm else _MP4_PIECES
        self._container = av.open(f"file:{path}", "w", options=pieces | {"flush_packets": "1"})  # at once to the disk
        self._stream = self._container.add_stream("libvpx-vp9" if webm else "libx264", rate=like.rate)
        context = self._stream.codec_context
        context.height, context.width = (side + side % 2 for side in shape[:2])
        context.pix_fmt = "yuva420p" if shape[2:] == (4,) else "yuv420p"
        context.time_base = like.time_base
        context.sample_aspect_ratio = like.stream.sample_aspect_ratio or Fraction(1)
        context.options = _VP9 if webm else _H264
        context.thread_count = max(1, count_cores() // 4)  # several files and the network share the processor
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1  # 16 to 235
        self._sound = self._add_sound(like)
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
                    if isinstance(item, tuple):
                        self._encode(*item)
                    elif self._sound:
                        self._sound.write(item)
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

        picture = _even(picture)
        if picture.ndim == 2:
            frame = av.VideoFrame.from_ndarray(_grey_to_yuv(picture), "yuv420p")
        else:
            frame = av.VideoFrame.from_ndarray(picture, "rgb24" if picture.shape[2] == 3 else "rgba")
            frame = frame.reformat(format=self._stream.codec_context.pix_fmt, dst_colorspace="ITU709")
        frame.pts, frame.time_base, frame.duration = shown.pts, self._time_base, shown.duration
        self._container.mux(self._stream.encode(frame))

    def _add_sound(self, like: Clip) -> CopiedSound | OpusSound | None:
        import av

        if not like.sound:
            return None
        codec, supported = like.sound.codec_context, self._container.supported_codecs
        if codec and codec.name in supported and _says_all(codec):
            return CopiedSound(self._container, like.sound)
        if codec and OPUS in av.codecs_available:
            return OpusSound(self._container, open_container(like.path))
        say(f"note: {self.path}: is without sound, since a {self.path.suffix} cannot hold that of {like.path.name}")
        return None


def _says_all(codec: "av.AudioCodecContext") -> bool:
    """Tell whether a sound can be copied: its channels are known, and AAC has the header that MP4 wants."""
    return "channels" not in codec.layout.name and (codec.name != "aac" or codec.extradata is not None)


_GREYS = np.round(16 + np.arange(256) * 219 / 255).astype(np.uint8)  # 16 is black, 235 white


def _grey_to_yuv(picture: np.ndarray) -> np.ndarray:
    """Return a grey picture of even sides as planes of brightness and colour, without the long way over RGB."""
    height, width = picture.shape
    planes = np.full((height * 3 // 2, width), 128, np.uint8)  # 128 is no colour
    cv2.LUT(picture, _GREYS, planes[:height])
    return planes


def _even(picture: np.ndarray) -> np.ndarray:
    """Return a picture of even sides, which H.264 wants: an odd one repeats its last row or column."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        return cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return picture
