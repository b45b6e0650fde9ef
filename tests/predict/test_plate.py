"""Clean plates out of footage."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import write_film
from scenes import draw_wall

from cleanplate import UserError, clean_plate, cli
from cleanplate.pictures import read_rgb, write_picture
from cleanplate.predict import plate as plate_module
from cleanplate.predict.plate import make_plate, spread

SHAPE = (60, 80)


def draw_footage(count: int, stay: float, *, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a noisy scene: somebody walks through, another stands in the middle for the share `stay`."""
    rng = np.random.default_rng(seed)
    plate = cv2.GaussianBlur(rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8), (0, 0), 12)
    frames = []
    for number in range(count):
        frame = plate.astype(np.int16)
        frame[20:55, (walked := 3 * number % 100) : walked + 8] = (200, 60, 60)
        if number < stay * count:
            frame[15:58, 34:50] = (40, 70, 200)
        frames.append(np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8))
    return plate, frames


def wrong_share(made: np.ndarray, plate: np.ndarray) -> float:
    return float((np.abs(made.astype(int) - plate).max(axis=-1) > 20).mean())


@pytest.mark.parametrize("stay", [0, 0.4, 0.6, 0.7])
def test_neither_walkers_nor_one_who_stays_are_in_the_plate(stay: float) -> None:
    plate, frames = draw_footage(60, stay)
    assert wrong_share(clean_plate(frames)[0], plate) < 0.01


def test_it_does_better_than_the_median_where_somebody_stays() -> None:
    plate, frames = draw_footage(60, 0.6)
    assert wrong_share(np.median(frames, axis=0), plate) > 0.1


def test_share_is_that_of_the_frames_in_which_a_pixel_was_empty() -> None:
    _, frames = draw_footage(50, 0.4)
    share = clean_plate(frames)[1]
    assert share.shape == SHAPE
    assert share[:10].min() > 0.97
    assert share[16:19, 36:48].mean() == pytest.approx(0.6, abs=0.03)


def test_three_frames_are_enough() -> None:
    wall = draw_wall(1, SHAPE)
    plate, share = clean_plate([wall, wall, wall])
    assert np.array_equal(plate, wall)
    assert (share == 1).all()


@pytest.mark.parametrize("count", [1, 7, 20, 21, 99, 1000])
def test_spread_frames_lie_evenly_from_the_first_on(count: int) -> None:
    kept = [int(frame[0]) for frame in spread((np.array([number]) for number in range(count)), 20)]
    steps = set(np.diff(kept).tolist())
    assert kept[0] == 0
    assert min(count, 10) <= len(kept) <= 20
    assert len(steps) <= 1
    assert count - kept[-1] <= max(steps, default=1)


def test_a_film_gives_plate_and_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = write_film(tmp_path / "walk.mp4", 40)
    out = tmp_path / "new" / "empty.png"
    with pytest.raises(SystemExit) as ended:
        cli.main(["plate", str(film), "--out", str(out), "--samples", "30", "--json"])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["plate"] == str(out)
    assert 15 <= told["frames"] <= 30
    assert np.abs(read_rgb(out).astype(int) - draw_wall(0, (96, 128))).mean() < 3
    assert cv2.imread(told["share"], cv2.IMREAD_UNCHANGED).shape == (96, 128)


def test_a_folder_of_pictures_gives_a_plate(tmp_path: Path) -> None:
    plate, frames = draw_footage(12, 0)
    (tmp_path / "shots").mkdir()
    for number, frame in enumerate(frames):
        write_picture(tmp_path / "shots" / f"{number:02d}.png", frame)
    made = make_plate(tmp_path / "shots", tmp_path / "plate.png")
    assert made.frames == 12
    assert wrong_share(read_rgb(Path(made.plate)), plate) < 0.02


def test_footage_at_fault_is_named(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    for number, shape in enumerate([(20, 30), (30, 20)]):
        write_picture(tmp_path / "two" / f"{number}.png", draw_wall(0, shape))
    with pytest.raises(UserError, match=r"1\.png: this picture and the first are 20x30 and 30x20"):
        make_plate(tmp_path / "two", tmp_path / "plate.png")
    (tmp_path / "two" / "1.png").unlink()
    with pytest.raises(UserError, match="two: holds 1 frames"):
        make_plate(tmp_path / "two", tmp_path / "plate.png")
    with pytest.raises(UserError, match="none: no such video or folder"):
        make_plate(tmp_path / "none", tmp_path / "plate.png")
    with pytest.raises(UserError, match=r"end it in \.png"):
        make_plate(tmp_path / "two", tmp_path / "plate.mp4")
    assert not (tmp_path / "plate.png").exists()


def test_a_folder_of_large_pictures_keeps_to_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shots").mkdir()
    for number in range(20):
        write_picture(tmp_path / "shots" / f"{number:02d}.png", np.full((32, 32, 3), 100, np.uint8))
    monkeypatch.setattr(plate_module, "MAX_BYTES", 5 * 32 * 32 * 3)
    assert make_plate(tmp_path / "shots", tmp_path / "plate.png").frames == 5


def test_a_long_film_with_few_key_frames_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = write_film(tmp_path / "film.mp4", 50)
    monkeypatch.setattr(plate_module, "LONG", 10)
    assert make_plate(film, tmp_path / "plate.png", samples=40).frames >= 20
