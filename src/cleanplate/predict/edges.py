"""Edges that follow the frame: what the network says on its small canvas, brought to a large frame.

The fast guided filter of He and Sun, 2015 (https://arxiv.org/abs/1505.00996): in every small window the answer is taken
for a linear function of the frame's pixels. The functions are fitted on the canvas, where that costs little, and
applied to the frame at its own size, so that an edge of the answer comes to lie where the frame has one.
"""

from collections.abc import Sequence

import cv2
import numpy as np

RADIUS = 3
"""Pixels of the canvas from a window's centre to its side."""
EPSILON = 1e-4
"""Variance of the guide, of 0 to 1, below which a window counts as flat. docs/use.md has how both were chosen."""


def make_guide(frame: np.ndarray, plate: np.ndarray) -> np.ndarray:
    """Return what edges are to follow: the frame's colours, and how far it differs from the plate.

    Args:
        frame: `(H, W, 3)` uint8 RGB.
        plate: as frame.

    Returns:
        `(H, W, 4)` uint8.
    """
    red, green, blue = cv2.split(cv2.absdiff(frame, plate))
    return cv2.merge([*cv2.split(frame), cv2.max(cv2.max(red, green), blue)])


def follow_edges(answers: Sequence[np.ndarray], small_guide: np.ndarray, guide: np.ndarray) -> list[np.ndarray]:
    """Return answers at the size of the guide, with edges where the guide has them.

    Args:
        answers: each `(h, w)` float32, 0 to 1.
        small_guide: `(h, w, C)` uint8.
        guide: `(H, W, C)` uint8.

    Returns:
        Of each answer `(H, W)` float32, 0 to 1.
    """
    small = small_guide.astype(np.float32) / 255
    channels = range(small.shape[2])
    mean = _box(small)
    covariance = np.empty((*small.shape, small.shape[2]), np.float32)
    for i in channels:
        for j in channels[i:]:
            product = _box(small[..., i] * small[..., j]) - mean[..., i] * mean[..., j]
            covariance[..., i, j] = covariance[..., j, i] = product
    covariance += EPSILON * np.eye(len(channels), dtype=np.float32)
    means = np.stack([_box(answer) for answer in answers], axis=-1)
    with_answers = np.stack([_box(small * answer[..., None]) for answer in answers], axis=-1)
    slopes = np.linalg.solve(covariance, with_answers - mean[..., None] * means[..., None, :])
    offsets = means - np.einsum("hwc,hwca->hwa", mean, slopes)
    planes = cv2.split(guide)
    return [_apply(_box(slopes[..., n]), _box(offsets[..., n]), planes) for n in range(len(answers))]


def _box(pictures: np.ndarray) -> np.ndarray:
    """Return the mean over the window around every pixel."""
    side = 2 * RADIUS + 1
    return cv2.blur(np.ascontiguousarray(pictures), (side, side), borderType=cv2.BORDER_REFLECT)


def _apply(slopes: np.ndarray, offsets: np.ndarray, planes: Sequence[np.ndarray]) -> np.ndarray:
    """Return `slopes * guide + offsets` at the guide's size."""
    size = planes[0].shape[::-1]
    answer = cv2.resize(offsets, size, interpolation=cv2.INTER_LINEAR)
    for slope, plane in zip(cv2.split(slopes), planes, strict=True):
        large = cv2.resize(slope, size, interpolation=cv2.INTER_LINEAR)
        cv2.add(answer, cv2.multiply(large, plane, scale=1 / 255, dtype=cv2.CV_32F), answer)
    return np.clip(answer, 0, 1, out=answer)
