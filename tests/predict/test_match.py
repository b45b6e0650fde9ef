"""How well a plate matches, and the one warning of it."""

import cv2
import numpy as np
import pytest
from scenes import draw_room

from cleanplate.predict.match import PlateWatch, share_found


def room(number: int) -> np.ndarray:
    return draw_room(number, (120, 160))


def test_a_plate_is_wholly_found_in_itself_and_in_a_darker_frame() -> None:
    assert share_found(room(0), room(0)) == 1
    assert share_found(room(0), (room(0) * 0.6).astype(np.uint8)) == 1


def test_little_is_found_in_another_room() -> None:
    assert share_found(room(0), room(1)) < 0.2


def test_people_hide_the_blocks_before_which_they_stand() -> None:
    frame = room(0)
    frame[:, :40] = room(1)[:, :40]
    assert share_found(room(0), frame) == pytest.approx(0.75, abs=0.05)


def test_a_plain_plate_has_nothing_to_be_found_by() -> None:
    plain = np.full((120, 160, 3), 90, np.uint8)
    assert share_found(plain, room(0)) is None


def test_it_warns_once_and_names_measure_and_frame(capsys: pytest.CaptureFixture[str]) -> None:
    watch = PlateWatch(room(0))
    watch.look_at(room(0), "good.png")
    assert capsys.readouterr().err == ""
    for _ in range(2):
        watch.look_at(room(1), "other.png")
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert "other.png: only" in said
    assert "% of the plate's blocks are found again" in said


def test_another_size_is_warned_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    watch = PlateWatch(room(0))
    for _ in range(2):
        watch.look_at(cv2.resize(room(0), (320, 240)), "large.png")
    assert capsys.readouterr().err.count("large.png: the plate is 160x120 and the frame 320x240") == 1
