import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from cleanplate.data.compose import Placed, compose, paste
from cleanplate.errors import UserError
from cleanplate.pictures import read_depth, read_mask, read_rgb, read_rgba, write_picture

FULL_DISK = """
import resource, sys
from cleanplate.data.compose import compose
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
try:
    compose(*sys.argv[1:], size=64, workers=1)
except OSError:
    sys.exit(7)
"""


@pytest.fixture
def one_plate(tmp_path: Path) -> Path:
    (tmp_path / "plates").mkdir()
    write_picture(tmp_path / "plates" / "grey.png", np.full((64, 64, 3), 128, np.uint8))
    return tmp_path / "plates"


@pytest.fixture
def one_cutout(tmp_path: Path) -> Path:
    """An opaque block, its left half red and its right half blue."""
    block = np.full((32, 32, 4), 255, np.uint8)
    block[:, :16, :3], block[:, 16:, :3] = (255, 0, 0), (0, 0, 255)
    (tmp_path / "cutouts").mkdir()
    write_picture(tmp_path / "cutouts" / "block.png", block)
    return tmp_path / "cutouts"


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "items.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def flat(shape: tuple[int, int], colour: int, alpha: float) -> np.ndarray:
    """A cutout as `paste` takes it: one colour, multiplied by one alpha."""
    return np.dstack([np.full((*shape, 3), colour * alpha, np.float32), np.full(shape, alpha, np.float32)])


def test_layout_is_that_of_modest_museum(dataset: Path) -> None:
    lines = [line.split("\t") for line in (dataset / "file_map.txt").read_text().splitlines()]
    assert len(lines) == 6 * 4 * 2
    assert lines[0] == ["bg001", "bg001_fg001_01", "bg001_fg001_01_mask", "bg001_fg001_01_depth_map"]
    assert lines[-1] == ["bg006", "bg006_fg004_02", "bg006_fg004_02_mask", ""]
    for plate, frame, mask, depth in lines:
        assert (dataset / "bg" / f"{plate}.jpg").exists()
        assert read_rgb(dataset / "bg_fg" / f"{frame}.jpg").shape == (64, 64, 3)
        assert read_mask(dataset / "bg_fg_mask" / f"{mask}.png").shape == (64, 64)
        assert not depth or read_depth(dataset / "bg_fg_depth_map" / f"{depth}.png").shape == (64, 64)
    assert read_rgba(dataset / "fg" / "fg001.png")[..., 3].max() == 255
    assert (dataset / "fg_mask" / "fg004_mask.png").exists()


def test_card_names_settings_and_originals(dataset: Path) -> None:
    card = yaml.safe_load((dataset / "dataset.yaml").read_text())
    assert card["name"] == "composed"
    assert card["depth"] == {"kind": "relative"}
    assert card["made_by"]["command"] == "data compose"
    assert card["made_by"]["settings"] == {"size": 64, "places": 2, "scale": [0.4, 0.9], "people": 2, "seed": 1}
    assert card["made_by"]["plates"]["bg002"] == "room 1.jpg"
    assert card["made_by"]["cutouts"]["fg004"] == "person 3.png"


def test_boxes_are_those_of_the_masks(dataset: Path) -> None:
    for line in (dataset / "bbox.txt").read_text().splitlines():
        file, *box = line.split("\t")
        mask = read_mask(dataset / "bg_fg_mask" / f"{Path(file).stem}_mask.png")
        ys, xs = np.nonzero(mask >= 128)
        assert [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1] == list(map(int, box))


def test_items_name_everybody_in_the_frame(dataset: Path) -> None:
    rows = rows_of(dataset)
    people = [row["cutouts"].split() for row in rows]
    assert all(row["frame"].split("_")[:2] == [row["plate"], who[0]] for row, who in zip(rows, people, strict=True))
    assert {len(who) for who in people} == {1, 2}
    assert all(len(set(who)) == len(who) for who in people)


def test_half_of_the_places_are_mirrored(one_plate: Path, one_cutout: Path, tmp_path: Path) -> None:
    compose(one_plate, one_cutout, tmp_path / "out", size=64, places=4, scale=(1, 1), workers=1)
    frames = [read_rgb(path) for path in sorted((tmp_path / "out" / "bg_fg").iterdir())]
    red_is_left = [frame[32, 8, 0] > frame[32, 8, 2] for frame in frames]
    assert red_is_left == [True, False, True, False]


def test_bytes_depend_on_the_seed_and_not_on_workers(plates: Path, cutouts: Path, tmp_path: Path) -> None:
    made = []
    for name, workers, seed in (("one", 1, 1), ("two", 2, 1), ("other", 1, 2)):
        out = tmp_path / name / "set"
        compose(plates, cutouts, out, size=32, places=1, people=3, workers=workers, seed=seed)
        made.append(all_bytes(out))
    assert made[0] == made[1]
    assert made[0]["bg_fg/bg001_fg001_01.jpg"] != made[2]["bg_fg/bg001_fg001_01.jpg"]


def test_palette_cutout_is_read(one_plate: Path, tmp_path: Path) -> None:
    (tmp_path / "cutouts").mkdir()
    picture = Image.new("P", (20, 20), 0)
    picture.putpalette([0, 0, 0, 250, 240, 20])
    picture.paste(1, (5, 5, 15, 20))
    picture.save(tmp_path / "cutouts" / "palette.png", transparency=0)
    compose(one_plate, tmp_path / "cutouts", tmp_path / "out", size=64, places=1, scale=(0.5, 0.5), workers=1)
    cutout = read_rgba(tmp_path / "out" / "fg" / "fg001.png")
    assert cutout.shape == (15, 10, 4)  # what is transparent around it is cut away
    assert (cutout == [250, 240, 20, 255]).all()
    assert read_mask(tmp_path / "out" / "bg_fg_mask" / "bg001_fg001_01_mask.png").max() == 255


def test_broken_files_are_skipped_and_named(one_plate: Path, one_cutout: Path, tmp_path: Path) -> None:
    plate = (one_plate / "grey.png").read_bytes()
    (one_plate / "truncated.png").write_bytes(plate[:-20])
    write_picture(one_plate / "turned.png", np.zeros((64, 32, 3), np.uint8))
    (one_plate / "depth").mkdir()
    write_picture(one_plate / "depth" / "turned.png", np.arange(2048, dtype=np.uint16).reshape(32, 64))
    (one_cutout / "text.png").write_text("this is no picture")
    write_picture(one_cutout / "no alpha.png", np.zeros((8, 8, 3), np.uint8))

    made = compose(one_plate, one_cutout, tmp_path / "out", size=64, places=2, workers=1)
    assert (made.plates, made.cutouts, made.items) == (1, 1, 2)
    faults = {Path(fault.split(": ")[0]).name: fault for fault in made.skipped}
    assert set(faults) == {"truncated.png", "turned.png", "text.png", "no alpha.png"}
    assert "the plate is left out" in faults["turned.png"]
    assert all("\n" not in fault for fault in made.skipped)


def test_nothing_usable_is_the_users_to_mend(one_plate: Path, tmp_path: Path) -> None:
    (tmp_path / "cutouts").mkdir()
    (tmp_path / "cutouts" / "text.png").write_text("this is no picture")
    with pytest.raises(UserError, match=r"none of its 1 pictures can be used as a cutout.*text\.png"):
        compose(one_plate, tmp_path / "cutouts", tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("label", ["grey.png", "grey.PNG"])
def test_depth_in_a_cutout_is_the_plates_at_its_foot(
    label: str, one_plate: Path, one_cutout: Path, tmp_path: Path
) -> None:
    ramp = np.arange(64, 0, -1, dtype=np.uint16)[:, None].repeat(64, 1) * 1000  # nearer towards the bottom
    (one_plate / "depth").mkdir()
    write_picture(one_plate / "depth" / "grey.png", ramp)
    (one_plate / "depth" / "grey.png").rename(one_plate / "depth" / label)
    compose(one_plate, one_cutout, tmp_path / "out", size=64, places=6, scale=(0.3, 0.6), workers=1)
    for line in (tmp_path / "out" / "bbox.txt").read_text().splitlines():
        name, *box = line.split("\t")
        x, y, width, height = map(int, box)
        depth = read_depth(tmp_path / "out" / "bg_fg_depth_map" / f"{Path(name).stem}_depth_map.png")
        foot = y + height - 1
        expected = ramp.copy()
        expected[y : y + height, x : x + width] = np.median(ramp[foot - 2 : foot + 3, 0])
        assert np.array_equal(depth, expected)


def test_paste_blends_by_alpha() -> None:
    plate = np.full((8, 8, 3), 100, np.uint8)
    frame, mask, depth = paste(plate, None, [Placed(flat((4, 4), 200, 0.5), 2, 1), Placed(flat((2, 8), 20, 0.5), 0, 4)])
    # 100 + (200 - 100) / 2 = 150; there 150 + (20 - 150) / 2 = 85; alone 100 + (20 - 100) / 2 = 60
    expected = np.full((8, 8), 100)
    expected[1:5, 2:6], expected[4:6] = 150, 60
    expected[4, 2:6] = 85
    assert np.array_equal(frame, np.dstack([expected] * 3))
    covered = np.zeros((8, 8))
    covered[1:5, 2:6], covered[4:6] = 128, 128
    covered[4, 2:6] = round(0.75 * 255)
    assert np.array_equal(mask, covered)
    assert depth is None


def test_who_stands_nearer_covers_who_stands_farther() -> None:
    plate, ramp = np.zeros((16, 16, 3), np.uint8), np.arange(16, 0, -1, dtype=np.uint16)[:, None].repeat(16, 1) * 100
    near, far = Placed(flat((12, 6), 200, 1), 4, 2), Placed(flat((6, 6), 50, 1), 6, 4)
    for order in ([near, far], [far, near]):
        frame, mask, depth = paste(plate, ramp, order)
        assert depth is not None
        assert (frame[8, [8, 11], 0] == [200, 50]).all()
        assert (depth[8, [8, 11]] == [ramp[13, 0], ramp[9, 0]]).all()
        assert np.array_equal(np.unique(mask), [0, 255])


def test_nobody_is_sharper_than_the_plate(one_plate: Path, one_cutout: Path, tmp_path: Path) -> None:
    (one_plate / "depth").mkdir()
    write_picture(one_plate / "depth" / "grey.png", np.linspace(9000, 60000, 64 * 64).astype(np.uint16).reshape(64, 64))
    small, large = (tmp_path / f"at {size}" for size in (64, 192))
    compose(one_plate, one_cutout, small, size=64, places=3, workers=1)
    compose(one_plate, one_cutout, large, size=192, places=3, workers=1)
    for kind, read in (("bg_fg_mask", read_mask), ("bg_fg_depth_map", read_depth)):
        for path in (small / kind).iterdir():
            expected = cv2.resize(read(path), (192, 192))
            np.testing.assert_array_equal(read(large / kind / path.name), expected)


@pytest.mark.parametrize("hidden", [(0, 0, 0), (0, 255, 0)])
def test_colours_under_transparency_leave_no_halo(tmp_path: Path, hidden: tuple[int, int, int]) -> None:
    cutout = np.full((200, 200, 4), (*hidden, 0), np.uint8)
    cv2.circle(cutout, (100, 100), 90, (255, 255, 255, 255), -1)
    for folder, name, picture in (
        ("plates", "white", np.full((64, 64, 3), 255, np.uint8)),
        ("cutouts", "disc", cutout),
    ):
        (tmp_path / folder).mkdir()
        write_picture(tmp_path / folder / f"{name}.png", picture)
    compose(tmp_path / "plates", tmp_path / "cutouts", tmp_path / "out", size=64, places=4, workers=1)
    for path in (tmp_path / "out" / "bg_fg").iterdir():
        assert read_rgb(path).min() >= 254
    assert (read_rgba(tmp_path / "out" / "fg" / "fg001.png")[..., 3] == 0).any()


def test_frames_keep_the_plates_shape_and_wide_cutouts_fit(tmp_path: Path) -> None:
    (tmp_path / "plates").mkdir()
    (tmp_path / "cutouts").mkdir()
    write_picture(tmp_path / "plates" / "wide.png", np.zeros((50, 100, 3), np.uint8))
    write_picture(tmp_path / "cutouts" / "banner.png", np.full((10, 80, 4), 255, np.uint8))
    compose(tmp_path / "plates", tmp_path / "cutouts", tmp_path / "out", size=64, places=3, scale=(0.9, 0.9), workers=1)
    for path in (tmp_path / "out" / "bg_fg_mask").iterdir():
        mask = read_mask(path)
        assert mask.shape == (32, 64)
        assert np.count_nonzero(mask) == 8 * 64


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 100}, "--size: 100 .* 128"),
        ({"places": 0}, "--places 0: give 1 or more"),
        ({"people": 0}, "--people 0"),
        ({"seed": -1}, "--seed -1"),
        ({"workers": 0}, "--workers 0"),
        ({"scale": (0, 0.5)}, "--scale 0 0.5"),
        ({"scale": (0.8, 0.5)}, "--scale 0.8 0.5"),
        ({"scale": (0.5, 1.5)}, "--scale 0.5 1.5"),
    ],
)
def test_settings_out_of_range_are_named(
    plates: Path, cutouts: Path, tmp_path: Path, settings: dict, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        compose(plates, cutouts, tmp_path / "out", **settings)


def test_what_exists_is_not_written_over(plates: Path, cutouts: Path, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    with pytest.raises(UserError, match="exists already"):
        compose(plates, cutouts, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_full_disk_leaves_nothing_behind(plates: Path, cutouts: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, plates, cutouts, tmp_path / "out"], check=False)
    assert done.returncode == 7
    assert list(tmp_path.iterdir()) == []


def test_missing_or_empty_folders_are_named(plates: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: this folder of cutouts does not exist"):
        compose(plates, tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: holds no pictures"):
        compose(tmp_path / "empty", plates, tmp_path / "out")
