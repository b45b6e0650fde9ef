"""Sheets of pictures under captions, and the colours of depth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanplate.sheet import CAPTION_HEIGHT, GAP, colour_depth, draw_sheet

RED = np.full((40, 40, 3), (255, 0, 0), np.uint8)


def test_near_and_far_have_the_ends_of_the_colours() -> None:
    near, far = colour_depth(np.array([[0.0, 1.0]], np.float32))[0].tolist()
    assert near == [253, 231, 37]  # yellow
    assert far == [68, 1, 84]  # violet


def test_depth_out_of_range_has_the_nearest_colour() -> None:
    ends = colour_depth(np.array([[0.0, 1.0]], np.float32))
    assert np.array_equal(colour_depth(np.array([[-0.5, 1.5]], np.float32)), ends)


def test_farther_is_darker() -> None:
    brightness = colour_depth(np.linspace(0, 1, 20, dtype=np.float32)[None]).astype(int).sum(axis=2)[0]
    assert (np.diff(brightness) < 0).all()


def test_picture_stands_under_its_caption_in_its_column() -> None:
    sheet = draw_sheet([(None, RED), (RED, None)], ("one", "two"), tile=40)
    left = 40 + GAP
    assert (sheet[CAPTION_HEIGHT : CAPTION_HEIGHT + 40, left : left + 40] == RED).all()
    assert (sheet[CAPTION_HEIGHT : CAPTION_HEIGHT + 40, :left] == 255).all()
    for start in (0, left):
        assert (sheet[:CAPTION_HEIGHT, start : start + 40] < 128).any()


def test_a_column_without_any_picture_is_left_out() -> None:
    assert np.array_equal(
        draw_sheet([(RED, None), (RED, None)], ("one", "two")), draw_sheet([(RED,), (RED,)], ("one",))
    )


def test_a_title_stands_over_the_captions() -> None:
    plain, titled = (draw_sheet([(RED,)], ("x",), tile=40, title=title) for title in ("", "T"))
    assert np.array_equal(titled[CAPTION_HEIGHT:], plain)
    assert (titled[:CAPTION_HEIGHT] < 128).any()


def test_grey_pictures_stay_grey() -> None:
    sheet = draw_sheet([(np.full((10, 10), 77, np.uint8),)], ("grey",), tile=10)
    assert (sheet[CAPTION_HEIGHT : CAPTION_HEIGHT + 10, :10] == 77).all()


def test_items_fill_a_line_before_the_next_begins() -> None:
    rows = [(RED,)] * 3
    sheet = draw_sheet(rows, ("x",), tile=40, across=2)
    line, item = 40 + GAP, 40 + GAP + 2 * GAP
    assert sheet.shape == (CAPTION_HEIGHT + 2 * line, 2 * item, 3)
    last_line = sheet[CAPTION_HEIGHT + line :]
    assert (last_line[:40, :40] == RED).all()
    assert (last_line[:, item:] == 255).all()


def test_notes_stand_under_their_items() -> None:
    sheet = draw_sheet([(RED,)], ("x",), tile=40, notes=["IoU 0.5"])
    assert (sheet[CAPTION_HEIGHT + 40 :] < 128).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(8, 64))
def test_pictures_keep_their_shape_and_fit_their_tile(height: int, width: int, tile: int) -> None:
    black = np.zeros((height, width), np.uint8)
    dark = (draw_sheet([(black,)], ("",), tile=tile)[CAPTION_HEIGHT:] == 0).all(axis=2)
    shown = dark.any(axis=1).sum(), dark.any(axis=0).sum()
    assert max(shown) == tile
    assert shown == pytest.approx((height * tile / max(height, width), width * tile / max(height, width)), abs=1)


def test_no_items_make_a_sheet_of_captions() -> None:
    assert draw_sheet([], ("a", "b"), tile=40).shape == (CAPTION_HEIGHT, 2 * (40 + GAP) + 2 * GAP, 3)
