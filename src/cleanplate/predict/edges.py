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
    small = [plane.astype(np.float32) / 255 for plane in cv2.split(small_guide)]
    planes = cv2.split(guide)
    means = [_box(plane) for plane in small]
    covariance = [
        [_box(one * other) - mean * other_mean for other, other_mean in zip(small, means, strict=True)]
        for one, mean in zip(small, means, strict=True)
    ]
    for channel in range(len(small)):
        covariance[channel][channel] += EPSILON
    with_answers = [
        [_box(plane * answer) - mean * _box(answer) for answer in answers]
        for plane, mean in zip(small, means, strict=True)
    ]
    slopes = _solve(covariance, with_answers)
    sharp = []
    for number, answer in enumerate(answers):
        of_answer = [slope[number] for slope in slopes]
        offset = _box(answer) - sum(slope * mean for slope, mean in zip(of_answer, means, strict=True))
        sharp.append(_apply([_box(slope) for slope in of_answer], _box(offset), planes))
    return sharp


def _box(plane: np.ndarray) -> np.ndarray:
    """Return the mean over the window around every pixel."""
    side = 2 * RADIUS + 1
    return cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT)


def _solve(matrix: list[list[np.ndarray]], right: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Solve the equations of every pixel at once, by elimination; the matrices, positive definite, need no pivots.

    As planes of all pixels this is many times as fast as numpy's solver, which takes one small matrix after another.
    """
    rows = [[*left, *known] for left, known in zip(matrix, right, strict=True)]
    count = len(rows)
    for number, pivot in enumerate(rows):
        for row in rows[number + 1 :]:
            factor = row[number] / pivot[number]
            for at in range(number + 1, len(row)):
                row[at] = row[at] - factor * pivot[at]
    solved: list[list[np.ndarray]] = []
    for number in reversed(range(count)):
        row = rows[number]
        known = row[count:]
        for other, found in enumerate(solved, start=number + 1):
            known = [value - row[other] * part for value, part in zip(known, found, strict=True)]
        solved.insert(0, [value / row[number] for value in known])
    return solved


def _apply(slopes: Sequence[np.ndarray], offset: np.ndarray, planes: Sequence[np.ndarray]) -> np.ndarray:
    """Return `slopes * guide + offset` at the guide's size."""
    size = planes[0].shape[::-1]
    answer = cv2.resize(offset, size, interpolation=cv2.INTER_LINEAR)
    for slope, plane in zip(slopes, planes, strict=True):
        large = cv2.resize(slope, size, interpolation=cv2.INTER_LINEAR)
        cv2.add(answer, cv2.multiply(large, plane, scale=1 / 255, dtype=cv2.CV_32F), answer)
    return np.clip(answer, 0, 1, out=answer)
