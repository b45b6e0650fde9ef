"""A clean plate out of footage in which people never leave the picture for good."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel

from cleanplate.errors import UserError
from cleanplate.pictures import list_pictures, read_rgb, require_picture_name, write_picture
from cleanplate.predict.clips import VIDEO_SUFFIXES, Clip, ClipFrame
from cleanplate.progress import track

SAMPLES = 100
"""Frames that are looked at, spread over the footage; fewer where they are so large that memory would run out."""
MAX_BYTES = 2**30
LONG = 5000
"""Frames from which on key frames alone are read."""
NEAR = 12
"""Difference, of 255 in the worst channel, up to which two values of a pixel are taken for one."""
DENSE = 0.2
"""Share of the samples in which a value has to be seen."""
STAYED = 0.25
"""Share of the samples from which a second value is somebody who stayed, or what is behind."""
RING = 2
"""Pixels around a region, and within it, that are compared."""
SEEN_SELDOM = 0.3
"""Below this share of frames a pixel's value is not to be relied on."""
TAKEN = 30_000
"""Beyond every brightness, the sum of three channels."""
STRIPE = 64
"""Rows that are worked on at a time."""


class MadePlate(BaseModel):
    """What `cleanplate plate` has written."""

    plate: str
    share: str
    """A picture of the share of frames in which each pixel was seen empty, 255 for all."""
    frames: int
    """Frames that were looked at."""
    median_share: float
    seldom_seen: float
    """Share of the pixels that were seen empty in fewer than 30 % of the frames."""


def make_plate(footage: Path | str, out: Path | str = "plate.png", *, samples: int = SAMPLES) -> MadePlate:
    """Write the clean plate of a video, or of a folder of pictures, and `NAME_share.png` beside it.

    Args:
        footage: a video or a folder, taken with a camera that stands still.
        out: the picture to write.
        samples: how many frames to look at, spread over the footage.

    Raises:
        UserError: the footage cannot be read, or is of fewer than three frames.
    """
    path, out = Path(footage), Path(out)
    require_picture_name(out, "--out")
    if samples < 3:
        raise UserError(f"--samples {samples}: is too few; three are the least")
    frames = _read_folder(path, samples) if path.is_dir() else _read_video(path, samples)
    if len(frames) < 3:
        raise UserError(f"{path}: holds {len(frames)} frames, and a plate takes three or more")
    plate, share = clean_plate(frames)
    out.parent.mkdir(parents=True, exist_ok=True)
    share_path = out.with_name(f"{out.stem}_share.png")
    write_picture(out, plate)
    write_picture(share_path, (share * 255).round().astype(np.uint8))
    return MadePlate(
        plate=str(out),
        share=str(share_path),
        frames=len(frames),
        median_share=round(float(np.median(share)), 3),
        seldom_seen=round(float((share < SEEN_SELDOM).mean()), 4),
    )


def clean_plate(frames: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture behind everything that moves, and how much of the time it was seen.

    Of each pixel the values that were seen most often are found, and beside them the next that stayed. Where somebody
    stayed there are two; that is taken which continues the surroundings, whichever was seen for longer.

    Args:
        frames: three or more, `(H, W, 3)` uint8 RGB each, of one shape, of a camera that stands still.

    Returns:
        The plate, `(H, W, 3)` uint8 RGB, and the share of frames, `(H, W)` float32, 0 to 1, in which a pixel was as it
        is there.
    """
    height, width = frames[0].shape[:2]
    first, second = (np.empty((height, width, 3), np.uint8) for _ in range(2))
    first_share, second_share = (np.empty((height, width), np.float32) for _ in range(2))
    for top in track(range(0, height, STRIPE), -(-height // STRIPE), "finding what stays"):
        rows = slice(top, top + STRIPE)
        stripe = np.stack([frame[rows] for frame in frames])
        free = np.ones(stripe.shape[:3], bool)
        first[rows], first_share[rows], near = _densest(stripe, free)
        second[rows], second_share[rows], _ = _densest(stripe, ~near)
    return _continue_surroundings(first, first_share, second, second_share)


def _densest(stripe: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each pixel the value with the most like it among the free samples, its share, and who is like it.

    Found in brightness, as the shortest range that holds a fifth of all samples; the colour is that of the sample in
    its middle, then the mean of all samples near it. The share is 0 where too few are free.
    """
    count = len(stripe)
    dense = max(2, round(DENSE * count))
    brightness = stripe.sum(axis=-1, dtype=np.int16)
    brightness[~free] = TAKEN
    order = np.argsort(brightness, axis=0)
    ranked = np.take_along_axis(brightness, order, axis=0)
    widths = ranked[dense - 1 :] - ranked[: count - dense + 1]
    widths[ranked[dense - 1 :] == TAKEN] = TAKEN
    middle = np.take_along_axis(order, widths.argmin(axis=0)[None] + dense // 2, axis=0)
    colour = np.take_along_axis(stripe, middle[..., None], axis=0)[0].astype(np.int16)
    for _ in range(2):
        near = (np.abs(stripe - colour).max(axis=-1) <= NEAR) & free
        total = np.maximum(near.sum(axis=0), 1)[..., None]
        colour = ((stripe * near[..., None]).sum(axis=0, dtype=np.int32) / total).round().astype(np.int16)
    share = near.mean(axis=0, dtype=np.float32)
    return colour.astype(np.uint8), np.where(widths.min(axis=0) < TAKEN, share, 0), near


def _continue_surroundings(
    first: np.ndarray, first_share: np.ndarray, second: np.ndarray, second_share: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Choose between both values, as one for each region where there are two: the one with the fainter outline."""
    longer = second_share > first_share
    first, second = np.where(longer[..., None], second, first), np.where(longer[..., None], first, second)
    first_share, second_share = np.maximum(first_share, second_share), np.minimum(first_share, second_share)
    square = np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)
    stayed = (second_share >= STAYED).astype(np.uint8)
    contested = cv2.morphologyEx(stayed, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, regions, boxes, _ = cv2.connectedComponentsWithStats(contested)
    plate, share = first.copy(), first_share.copy()
    for number in range(1, count):
        left, top, width, height, _ = boxes[number]
        window = slice(max(0, top - RING), top + height + RING), slice(max(0, left - RING), left + width + RING)
        region = regions[window] == number
        outside = (cv2.dilate(region.astype(np.uint8), square) > 0) & ~region
        rim = (cv2.dilate(outside.astype(np.uint8), square) > 0) & region
        sums = cv2.blur(plate[window] * outside[..., None].astype(np.float32), square.shape)
        around = (sums / np.maximum(cv2.blur(outside.astype(np.float32), square.shape), 1e-6)[..., None])[rim]
        jumps = [np.abs(values[window][rim] - around).mean() if rim.any() else 0 for values in (first, second)]
        if jumps[1] < jumps[0]:
            plate[window][region], share[window][region] = second[window][region], second_share[window][region]
    return plate, share


def _read_folder(folder: Path, samples: int) -> list[np.ndarray]:
    paths = list_pictures(folder)
    step = max(1, -(-len(paths) // _at_most(samples, read_rgb(paths[0]))))
    frames = [read_rgb(path) for path in track(paths[::step], len(paths[::step]), "reading")]
    for path, frame in zip(paths[::step], frames, strict=True):
        if frame.shape != frames[0].shape:
            sizes = " and ".join(f"{shape[1]}x{shape[0]}" for shape in (frame.shape, frames[0].shape))
            raise UserError(f"{path}: this picture and the first are {sizes}; give pictures of one camera")
    return frames


def _read_video(path: Path, samples: int) -> list[np.ndarray]:
    if not path.exists():
        raise UserError(f"{path}: no such video or folder")
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise UserError(f"{path}: is neither a video nor a folder of pictures")
    with Clip(path) as clip:
        is_long = clip.length > LONG
    frames = _spread_over(path, samples, only_key_frames=is_long)
    if is_long and (not frames or len(frames) < _at_most(samples, frames[0]) // 2):
        return _spread_over(path, samples)  # a film in which little moves may have a key frame a minute
    return frames


def _spread_over(path: Path, samples: int, *, only_key_frames: bool = False) -> list[np.ndarray]:
    with Clip(path) as clip:
        if only_key_frames:
            clip.only_key_frames()
        frames = (part for part in clip.parts() if isinstance(part, ClipFrame))
        return spread((frame.pixels for frame in track(frames, clip.length, "reading")), samples)


def _at_most(samples: int, frame: np.ndarray) -> int:
    """Return how many frames of this size to look at."""
    return min(samples, max(3, MAX_BYTES // frame.nbytes))


def spread(frames: Iterable[np.ndarray], samples: int) -> list[np.ndarray]:
    """Return frames spread over all of them, at most `samples` and at least half as many, however many come."""
    kept: list[np.ndarray] = []
    step = 1
    for number, frame in enumerate(frames):
        if number % step == 0:
            if len(kept) == _at_most(samples, frame):
                kept, step = kept[::2], 2 * step
            if number % step == 0:
                kept.append(frame)
    return kept
