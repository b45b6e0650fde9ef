"""Predict a video: frames and sound complete, memory over time, and speed beside that of the network alone.

    python benchmarks/video.py --weights runs/first --json video.json
    python benchmarks/video.py --weights runs/first --frames 20000 --shape 180 320 --sizes 96  (its memory)

Makes its own clip: H.264, 30 frames/s, with sound; somebody walks through a room. The network alone is given the same
canvases and does nothing else: in batches of eight on all cores, and, as videos have it, with a frame on each core.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from cleanplate import Predictor, predict
from cleanplate.cores import count_cores
from cleanplate.pictures import Canvas, write_picture

BATCH = 8
RATE = 30
SOUND_RATE = 48_000


def draw_room(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    room = np.linspace((190, 180, 160), (110, 100, 90), height)[:, None].repeat(width, 1).astype(np.uint8)
    for _ in range(40):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        cv2.rectangle(room, (x, y), (x + width // 12, y + height // 8), rng.integers(0, 256, 3).tolist(), -1)
    return cv2.GaussianBlur(room, (5, 5), 0)


def draw_person(room: np.ndarray, number: int) -> np.ndarray:
    height, width = room.shape[:2]
    frame, x = room.copy(), number * 3 % width
    cv2.ellipse(frame, (x, height * 2 // 3), (width // 14, height // 3), 0, 0, 360, (60, 40, 120), -1, cv2.LINE_AA)
    cv2.circle(frame, (x, height // 4), width // 24, (224, 172, 140), -1, cv2.LINE_AA)
    return frame


def make_clip(path: Path, room: np.ndarray, frames: int) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        video.height, video.width = room.shape[:2]
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for number in range(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(draw_person(room, number), "rgb24")))
            times = np.arange(SOUND_RATE // RATE) + number * (SOUND_RATE // RATE)
            wave = av.AudioFrame.from_ndarray(np.sin(times * 0.06).astype(np.float32)[None], "fltp", "mono")
            wave.sample_rate, wave.pts, wave.time_base = SOUND_RATE, int(times[0]), Fraction(1, SOUND_RATE)
            container.mux(sound.encode(wave))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


def measure_clip(path: Path) -> dict[str, float]:
    with av.open(str(path)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    with av.open(str(path)) as container:
        packets = sum(1 for packet in container.demux(audio=0) if packet.size) if container.streams.audio else 0
        return {"frames": frames, "seconds": round(container.duration / 1e6, 3), "sound_packets": packets}


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class MemoryCurve(threading.Thread):
    """Resident memory, every half second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.curve: list[float] = []
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.5):
            self.curve.append(resident_mb())

    def end(self) -> list[float]:
        self._ended.set()
        self.join()
        return [round(at) for at in np.interp(np.linspace(0, 1, 10), np.linspace(0, 1, len(self.curve)), self.curve)]


def network_rates(weights: str, size: int | None, room: np.ndarray, seconds: float) -> tuple[float, float]:
    """Return frames a second in batches on all cores, and of a frame on each."""
    predictor = Predictor.load(weights, size)
    canvas = Canvas.tight(room.shape, predictor.size)
    kept = predictor.backend.keep_plates(canvas.place(room)[None])
    frames = np.stack([canvas.place(draw_person(room, number)) for number in range(BATCH)])

    def rate(frames: np.ndarray) -> float:
        predictor.backend(kept, frames)
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            predictor.backend(kept, frames)
            count += len(frames)
        return count / (time.perf_counter() - started)

    in_batches, cores = rate(frames), count_cores()
    with predictor.backend.side_by_side(), ThreadPoolExecutor(cores) as pool:
        return in_batches, sum(pool.map(lambda _: rate(frames[:1]), range(cores)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--shape", type=int, nargs=2, default=(360, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[224], help="pixels that the network sees")
    parser.add_argument("--only", nargs="+", default=None, help="kinds of video to write; all when left out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    room, rows = draw_room(*options.shape), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clip(folder / "clip.mp4", room, options.frames)
        write_picture(folder / "plate.png", room)
        source = measure_clip(folder / "clip.mp4")
        print(f"the clip: {source}")
        for size in options.sizes:
            alone, side_by_side = network_rates(options.weights, size, room, 5)
            memory = MemoryCurve()
            memory.start()
            made = predict(
                options.weights, folder / "plate.png", [folder / "clip.mp4"], out=folder / "out", size=size,
                onto="#00ff00", only=options.only,
            )  # fmt: skip
            row = {
                "size": size,
                "network_frames_per_second": round(alone, 1),
                "network_frames_per_second_side_by_side": round(side_by_side, 1),
                "frames_per_second": made.videos[0].frames_per_second,
                "share": round(made.videos[0].frames_per_second / alone, 3),
                "memory_mb": memory.end(),
                "files": {Path(file).name: measure_clip(Path(file)) for file in made.files},
            }
            rows.append(row)
            rates = f"network alone {alone:.1f} frames/s ({side_by_side:.1f}), the whole {row['frames_per_second']}"
            print(f"at {size}: {rates}: {row['share']:.0%}")
            print(f"  resident memory over time, MB: {row['memory_mb']}")
            for file, figures in row["files"].items():
                print(f"  {file:24} {figures}")
    if options.json:
        options.json.write_text(json.dumps({"clip": source, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
