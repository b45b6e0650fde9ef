"""Small videos, drawn by code, and how to look into one."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from scenes import draw_wall

SOUND_RATE = 48_000


def draw_frame(number: int, shape: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Return a wall with somebody, a bright rectangle, who has walked for `number` frames."""
    frame = draw_wall(0, shape)
    left = 4 * number % (shape[1] - 20)
    frame[shape[0] // 3 :, left : left + 20] = (230, 200, 180)
    return frame


def write_film(
    path: Path,
    count: int,
    *,
    shape: tuple[int, int] = (96, 128),
    times: list[int] | None = None,
    sound: str | None = "aac",
    layout: str = "mono",
    sound_from: float = 0,
) -> Path:
    """Write a film of 25 frames/s, or with frames at `times` in milliseconds, H.264 or (.webm) VP9.

    Its sound is a tone that sets in after `sound_from` seconds.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libvpx-vp9" if path.suffix == ".webm" else "libx264", rate=25)
        video.height, video.width, video.pix_fmt = *shape, "yuv420p"
        base = video.codec_context.time_base = Fraction(1, 1000 if times else 25)
        wave = container.add_stream(sound, rate=SOUND_RATE, layout=layout) if sound else None
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(draw_frame(number, shape), "rgb24")
            frame.pts, frame.time_base = times[number] if times else number, base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if wave:
            for start in range(0, count * SOUND_RATE // 25, 960):
                at = np.arange(start, start + 960)
                tone = (np.sin(at * 0.06) * (at >= sound_from * SOUND_RATE)).astype(np.float32)[None]
                samples = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
                samples.sample_rate, samples.pts, samples.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
                container.mux(wave.encode(samples))
            container.mux(wave.encode(None))
    return path


def read_film(path: Path, kind: str = "rgb24") -> tuple[list[np.ndarray], list[float]]:
    """Return all frames and their times in seconds."""
    with av.open(str(path)) as container:
        shown = [(frame.to_ndarray(format=kind), float(frame.time)) for frame in container.decode(video=0)]
    return [pixels for pixels, _ in shown], [at for _, at in shown]


def read_sound(path: Path) -> list[bytes]:
    """Return the packets of the sound; none where there is no sound."""
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(audio=0) if p.size] if container.streams.audio else []


def hear(path: Path) -> tuple[float, float]:
    """Return how many seconds of sound there are, and after how many it becomes loud."""
    with av.open(str(path)) as container:
        heard = [(_first_channel(frame), float(frame.time)) for frame in container.decode(audio=0)]
    samples = np.concatenate([samples for samples, _ in heard])
    return heard[0][1] + len(samples) / SOUND_RATE, heard[0][1] + np.argmax(np.abs(samples) > 0.3) / SOUND_RATE


def _first_channel(frame: av.AudioFrame) -> np.ndarray:
    samples = frame.to_ndarray()
    return samples[0] if frame.format.is_planar else samples.ravel()[:: len(frame.layout.channels)]


def film_seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return container.duration / 1_000_000
