"""Edges that follow the frame."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanplate.predict.edges import EPSILON, RADIUS, follow_edges, make_guide


def reference(answer: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """Return the guided filter at one size, pixel by pixel, as the paper writes it (windows mirrored at the border)."""
    side = 2 * RADIUS + 1
    height, width = answer.shape
    pad = ((RADIUS, RADIUS), (RADIUS, RADIUS))
    padded_guide = np.pad(guide.astype(float) / 255, (*pad, (0, 0)), mode="symmetric")
    padded_answer = np.pad(answer.astype(float), pad, mode="symmetric")
    fitted = np.empty((height, width, guide.shape[2] + 1))
    for y in range(height):
        for x in range(width):
            pixels = padded_guide[y : y + side, x : x + side].reshape(side * side, -1)
            values = padded_answer[y : y + side, x : x + side].ravel()
            covariance = np.cov(pixels.T, bias=True) + EPSILON * np.eye(pixels.shape[1])
            slope = np.linalg.solve(covariance, ((pixels - pixels.mean(0)) * (values - values.mean())[:, None]).mean(0))
            fitted[y, x] = [*slope, values.mean() - slope @ pixels.mean(0)]
    padded = np.pad(fitted, (*pad, (0, 0)), mode="symmetric")
    mean = np.array(
        [[padded[y : y + side, x : x + side].mean(axis=(0, 1)) for x in range(width)] for y in range(height)]
    )
    return ((mean[..., :-1] * guide / 255).sum(-1) + mean[..., -1]).clip(0, 1)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_at_one_size_it_is_the_guided_filter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    guide = rng.integers(0, 256, (12, 17, 4), dtype=np.uint8)
    answers = [rng.random((12, 17), dtype=np.float32) for _ in range(2)]
    for answer, sharp in zip(answers, follow_edges(answers, cv2.split(guide), cv2.split(guide)), strict=True):
        np.testing.assert_allclose(sharp, reference(answer, guide), atol=2e-3)


def disc(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.float32)
    cv2.circle(mask, (width // 2, height // 2), height // 4, 1, -1)
    return mask


def test_the_edge_of_a_small_answer_lies_where_the_frames_is() -> None:
    truth = disc(480, 640)
    plate = np.full((480, 640, 3), 90, np.uint8)
    frame = np.where(truth[..., None] > 0, np.uint8(200), plate)
    small = [cv2.resize(picture, (64, 48), interpolation=cv2.INTER_AREA) for picture in (frame, plate, truth)]
    sharp = follow_edges([small[2]], make_guide(small[0], small[1]), make_guide(frame, plate))[0]
    blurred = cv2.resize(small[2], (640, 480))
    wrong = [np.abs(answer - truth).mean() for answer in (sharp, blurred)]
    assert wrong[0] < wrong[1] / 4
    assert sharp.dtype == np.float32


def test_a_plain_frame_leaves_the_answer_as_smooth_as_it_was() -> None:
    plain = np.full((40, 40, 3), 77, np.uint8)
    answer = np.full((10, 10), 0.3, np.float32)
    small = make_guide(plain[:10, :10], plain[:10, :10])
    np.testing.assert_allclose(follow_edges([answer], small, make_guide(plain, plain))[0], 0.3, atol=1e-5)


def test_the_guide_is_the_frame_and_its_largest_difference_from_the_plate() -> None:
    frame, plate = (np.array([[pixel]], np.uint8) for pixel in ((10, 200, 30), (20, 100, 31)))
    assert [plane.tolist() for plane in make_guide(frame, plate)] == [[[10]], [[200]], [[30]], [[100]]]


@pytest.mark.parametrize("count", [1, 2])
def test_there_are_as_many_answers_as_came_in(count: int) -> None:
    guide = [np.zeros((8, 8), np.uint8)] * 4
    assert len(follow_edges([np.zeros((8, 8), np.float32)] * count, guide, guide)) == count
