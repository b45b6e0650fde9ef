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


def make_guide(frame: np.ndarray, plate: np.ndarray) -> list[np.ndarray]:
    """Return what edges are to follow: the frame's colours, and how far it differs from the plate.

    Args:
        frame: `(H, W, 3)` uint8 RGB.
        plate: as frame.

    Returns:
        Four planes, each `(H, W)` uint8.
    """
    red, green, blue = cv2.split(cv2.absdiff(frame, plate))
    return [*cv2.split(frame), cv2.max(cv2.max(red, green), blue)]


def follow_edges(
    answers: Sequence[np.ndarray], small_guide: Sequence[np.ndarray], guide: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return answers at the size of the guide, with edges where the guide has them.

    Args:
        answers: each `(h, w)` float32, 0 to 1.
        small_guide: planes, each `(h, w)` uint8.
        guide: as many planes, each `(H, W)` uint8.

    Returns:
        Of each answer `(H, W)` float32, 0 to 1.
    """
    small = [plane.astype(np.float32) / 255 for plane in small_guide]
    planes = [plane.astype(np.float32) / 255 for plane in guide]
    means, answer_means = ([_box(plane) for plane in group] for group in (small, answers))
    covariance = [
        [_box(one * other) - mean * other_mean for other, other_mean in zip(small[at:], means[at:], strict=True)]
        for at, (one, mean) in enumerate(zip(small, means, strict=True))
    ]
    for row in covariance:
        row[0] += EPSILON
    with_answers = [
        [_box(plane * answer) - mean * answer_mean for answer, answer_mean in zip(answers, answer_means, strict=True)]
        for plane, mean in zip(small, means, strict=True)
    ]
    slopes = _solve(covariance, with_answers)
    sharp = []
    for number, answer_mean in enumerate(answer_means):
        of_answer = [slope[number] for slope in slopes]
        offset = answer_mean - sum(slope * mean for slope, mean in zip(of_answer, means, strict=True))
        sharp.append(_apply([_box(slope) for slope in of_answer], _box(offset), planes))
    return sharp


def _box(plane: np.ndarray) -> np.ndarray:
    """Return the mean over the window around every pixel."""
    side = 2 * RADIUS + 1
    return cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT)


def _solve(matrix: list[list[np.ndarray]], right: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Solve the equations of every pixel at once, by elimination; the matrices, positive definite, need no pivots.

    As planes of all pixels this is many times as fast as numpy's solver, which takes one small matrix after another.

    Args:
        matrix: rows of symmetric matrices, each from its diagonal on.
        right: for each row what its products with the solutions are to be.

    Returns:
        For each row its place in every solution.
    """
    rows = [[*left, *known] for left, known in zip(matrix, right, strict=True)]  # each begins at its diagonal
    for number, pivot in enumerate(rows):
        for below, row in enumerate(rows[number + 1 :], start=1):
            factor = pivot[below] / pivot[0]
            for at, value in enumerate(pivot[below:]):
                row[at] = row[at] - factor * value
    solved: list[list[np.ndarray]] = []
    for row, known in zip(reversed(rows), reversed(right), strict=True):
        diagonal, *left = row[: -len(known)]
        sums = row[-len(known) :]
        for weight, found in zip(left, solved, strict=True):
            sums = [total - weight * part for total, part in zip(sums, found, strict=True)]
        solved.insert(0, [total / diagonal for total in sums])
    return solved


def _apply(slopes: Sequence[np.ndarray], offset: np.ndarray, planes: Sequence[np.ndarray]) -> np.ndarray:
    """Return `slopes * guide + offset` at the guide's size."""
    size = planes[0].shape[::-1]
    answer = cv2.resize(offset, size, interpolation=cv2.INTER_LINEAR)
    for slope, plane in zip(slopes, planes, strict=True):
        cv2.accumulateProduct(cv2.resize(slope, size, interpolation=cv2.INTER_LINEAR), plane, answer)
    return np.clip(answer, 0, 1, out=answer)
