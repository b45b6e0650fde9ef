"""In what a plate and its frame differ besides people: each change by its own switch and its own draw.

It is applied to items as they are read, by whichever source, before they become floats: the changes follow one another
as scene, lens, sensor and file do. Each depends on nothing but (seed, epoch, item) and its own settings: with another
one switched off, the rest stays as it was.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from cleanplate.data.source import Batch, Source
from cleanplate.recipe_pictures import (
    Blur,
    Camouflage,
    Exposure,
    Gamma,
    Jpeg,
    Light,
    Mismatch,
    Noise,
    Outdated,
    Shift,
    WhiteBalance,
)

FIRST_STREAM = 10
"""Of the random streams of an item; those of augmentation and composition have lower numbers."""
SHARE_STREAM = 20
"""After those of the ten changes; an eleventh is to have 21."""
LEAST_MASK = 1e-3


class Pair(NamedTuple):
    """A plate and its frame, `(H, W, 3)` float32, 0 to 255 and a little beyond, with the mask `(H, W)`, 0 to 1."""

    plate: np.ndarray
    frame: np.ndarray
    mask: np.ndarray


Draw = np.random.Generator
Change = Callable[[Pair, Any, Draw], Pair]


class Mismatched:
    """A source whose plates and frames differ as a camera's do, each item by its own draws in each epoch.

    Args:
        source: where the items come from.
        settings: what is changed, and how far.
    """

    def __init__(self, source: Source, settings: Mismatch) -> None:
        self.source, self.settings = source, settings

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.source)

    def batch(self, indices: Sequence[int], size: int, seed: int, epoch: int) -> Batch:
        """Return the items `indices` at `size`, changed."""
        return mismatch(self.source.batch(indices, size, seed, epoch), self.settings, seed=seed, epoch=epoch)


def mismatch(batch: Batch, settings: Mismatch, *, seed: int, epoch: int) -> Batch:
    """Change plates and frames of a batch so that they differ as a camera's do; masks and depths stay.

    Args:
        batch: items with uint8 plates and frames.
        settings: what is changed, and how far.
        seed: of the run.
        epoch: from 0.

    Returns:
        The batch with other plates and frames, uint8.
    """
    active = [(number, name) for number, name in enumerate(CHANGES) if getattr(settings, name)]
    if not active:
        return batch
    plates, frames, masks = _channels_last(batch.plate), _channels_last(batch.frame), batch.mask[:, 0].numpy()
    changed: list[tuple[np.ndarray, np.ndarray]] = []
    for plate, frame, mask, index in zip(plates, frames, masks, batch.indices.tolist(), strict=True):
        if np.random.default_rng([seed, epoch, index, SHARE_STREAM]).random() >= settings.share:
            changed.append((plate, frame))
            continue
        pair = Pair(plate.astype(np.float32), frame.astype(np.float32), mask)
        for number, name in active:
            setting, rng = getattr(settings, name), np.random.default_rng([seed, epoch, index, FIRST_STREAM + number])
            if rng.random() < setting.probability:
                pair = CHANGES[name](pair, setting, rng)
        changed.append((_as_bytes(pair.plate), _as_bytes(pair.frame)))
    plates, frames = zip(*changed, strict=True)
    return batch._replace(plate=_channels_first(plates), frame=_channels_first(frames))


def _camouflage(pair: Pair, settings: Camouflage, rng: Draw) -> Pair:
    """Give the foreground the colours, coarsely, of what is behind it."""
    plate, frame, mask = pair
    share, sigma = _within(settings.share, rng), 0.06 * len(mask)
    weights = cv2.GaussianBlur(mask, (0, 0), sigma)[..., None] + LEAST_MASK
    people = cv2.GaussianBlur(frame * mask[..., None], (0, 0), sigma) / weights
    behind = cv2.GaussianBlur(plate * mask[..., None], (0, 0), sigma) / weights
    return pair._replace(frame=frame + mask[..., None] * share * (behind - people))


def _outdated(pair: Pair, settings: Outdated, rng: Draw) -> Pair:
    """Put a soft-edged piece of the plate elsewhere, in plate or frame; in the frame it is behind the foreground."""
    plate, frame, mask = pair
    size = len(mask)
    height, width = (max(2, round(_within(settings.size, rng) * size)) for _ in range(2))
    (from_y, to_y), (from_x, to_x) = ((rng.random(2) * (size - side)).astype(int) for side in (height, width))
    piece = plate[from_y : from_y + height, from_x : from_x + width] * (0.7 + 0.6 * rng.random())
    shape = np.zeros((height, width), np.float32)
    if rng.random() < 0.5:
        cv2.ellipse(shape, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 1.0, -1)
    else:
        shape[1:-1, 1:-1] = 1
    soft = cv2.GaussianBlur(shape, (0, 0), 0.6)
    area = np.s_[to_y : to_y + height, to_x : to_x + width]
    in_frame = rng.random() < 0.5
    target = (frame if in_frame else plate).copy()
    share = (soft * (1 - mask[area]) if in_frame else soft)[..., None]
    target[area] += share * (piece - target[area])
    return pair._replace(frame=target) if in_frame else pair._replace(plate=target)


def _light(pair: Pair, settings: Light, rng: Draw) -> Pair:
    """Make parts of plate or frame lighter, others darker, without an edge between."""
    coarse = (1 + settings.limit * rng.uniform(-1, 1, (3, 3))).astype(np.float32)
    size = len(pair.mask)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    factor = smooth.clip(1 - settings.limit, 1 + settings.limit)[..., None]  # the curve swings beyond its knots
    return _either(pair, rng, lambda picture: picture * factor)


def _shift(pair: Pair, settings: Shift, rng: Draw) -> Pair:
    right, down, turn = (2 * rng.random(3) - 1).tolist()
    size = len(pair.mask)
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), turn * settings.degrees, 1)
    matrix[:, 2] += right * settings.pixels, down * settings.pixels
    return pair._replace(plate=cv2.warpAffine(pair.plate, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE))


def _blur(pair: Pair, settings: Blur, rng: Draw) -> Pair:
    sigma = _within(settings.sigma, rng)
    return _either(pair, rng, lambda picture: cv2.GaussianBlur(picture, (0, 0), sigma))


def _exposure(pair: Pair, settings: Exposure, rng: Draw) -> Pair:
    both = np.float32(_within(settings.both, rng))
    frame = np.float32(1 + settings.limit * (2 * rng.random() - 1))
    return pair._replace(plate=pair.plate * both, frame=pair.frame * (both * frame))


def _white_balance(pair: Pair, settings: WhiteBalance, rng: Draw) -> Pair:
    return pair._replace(frame=pair.frame + _symmetric(rng, 3) * np.float32(255 * settings.limit))


def _gamma(pair: Pair, settings: Gamma, rng: Draw) -> Pair:
    power = settings.limit ** (2 * rng.random() - 1)
    return pair._replace(frame=cv2.pow(pair.frame.clip(0, 255) / 255, power) * 255)


def _noise(pair: Pair, settings: Noise, rng: Draw) -> Pair:
    plate, frame = (
        picture + rng.standard_normal(picture.shape, np.float32) * np.float32(255 * most * rng.random())
        for picture, most in ((pair.plate, settings.plate), (pair.frame, settings.frame))
    )
    return pair._replace(plate=plate, frame=frame)


def _jpeg(pair: Pair, settings: Jpeg, rng: Draw) -> Pair:
    quality, which = round(_within(settings.quality, rng)), rng.random()
    plate = pair.plate if which < 1 / 3 else _compressed(pair.plate, quality)
    frame = pair.frame if which > 2 / 3 else _compressed(pair.frame, quality)
    return pair._replace(plate=plate, frame=frame)


CHANGES: dict[str, Change] = {
    "camouflage": _camouflage,
    "outdated": _outdated,
    "light": _light,
    "shift": _shift,
    "blur": _blur,
    "exposure": _exposure,
    "white_balance": _white_balance,
    "gamma": _gamma,
    "noise": _noise,
    "jpeg": _jpeg,
}
"""In the order they happen in; each is a key of the recipe's `mismatch`."""


def _either(pair: Pair, rng: Draw, change: Callable[[np.ndarray], np.ndarray]) -> Pair:
    """Change the plate or the frame."""
    if rng.random() < 0.5:
        return pair._replace(plate=change(pair.plate))
    return pair._replace(frame=change(pair.frame))


def _within(limits: tuple[float, float], rng: Draw) -> float:
    return float(rng.uniform(*limits))


def _symmetric(rng: Draw, count: int) -> np.ndarray:
    return rng.random(count, np.float32) * 2 - 1


def _compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    blue_first = cv2.cvtColor(_as_bytes(picture), cv2.COLOR_RGB2BGR)
    content = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR))
    return decoded[..., ::-1].astype(np.float32, order="C")


def _as_bytes(picture: np.ndarray) -> np.ndarray:
    return np.rint(picture).clip(0, 255).astype(np.uint8)


def _channels_last(pictures: Tensor) -> np.ndarray:
    return pictures.permute(0, 2, 3, 1).numpy()


def _channels_first(pictures: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
