"""Footage with masks as it lies in folders: pairs, labels, regions, and folders at fault."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from shots import SHAPE, draw_shot, write_footage

from cleanplate.data.sequences import FootageFolder, find_footage
from cleanplate.errors import UserError
from cleanplate.pictures import write_picture


def numbers(folder: FootageFolder) -> list[int]:
    """Return the numbers of the frames that have labels."""
    return [int(shot.name[-7:-4].lstrip("n")) for shot in folder.read() if shot.labels]


@pytest.mark.parametrize("distributed", [False, True])
def test_frames_and_labels_come_in_order(tmp_path: Path, distributed: bool) -> None:
    folder = FootageFolder.open(write_footage(tmp_path / "a", distributed=distributed))
    shots = list(folder.read())
    assert len(shots) == 6
    for number, shot in enumerate(shots, 1):
        frame, mask = draw_shot(number)
        assert np.array_equal(shot.frame, frame)
        assert shot.labels is not None
        assert np.array_equal(shot.labels.foreground, mask == 255)
        assert np.array_equal(shot.labels.background, mask == 0)


def test_only_255_is_foreground_and_0_and_50_background(tmp_path: Path) -> None:
    folder = write_footage(tmp_path / "a", 1)
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_picture(folder / "masks" / "001.png", values)
    write_picture(folder / "frames" / "001.png", np.zeros((16, 16, 3), np.uint8))
    labels = next(FootageFolder.open(folder).read()).labels
    assert labels is not None
    assert values[labels.foreground].tolist() == [255]
    assert values[labels.background].tolist() == [0, 50]


def test_mask_of_zeros_and_ones_has_its_foreground_at_one(tmp_path: Path) -> None:
    folder = write_footage(tmp_path / "a", 1)
    mask = (draw_shot(1)[1] == 255).astype(np.uint8)
    write_picture(folder / "masks" / "001.png", mask)
    labels = next(FootageFolder.open(folder).read()).labels
    assert labels is not None
    assert np.array_equal(labels.foreground, mask == 1)
    assert np.array_equal(labels.background, mask == 0)


def test_frames_without_a_mask_are_read_without_labels(tmp_path: Path) -> None:
    folder = write_footage(tmp_path / "a")
    (folder / "masks" / "002.png").unlink()
    write_picture(folder / "masks" / "003.png", np.full(SHAPE, 85, np.uint8))
    assert numbers(FootageFolder.open(folder)) == [1, 4, 5, 6]
    assert len(list(FootageFolder.open(folder).read())) == 6


def test_distributed_names_pair_and_sort_by_the_number_at_their_end(tmp_path: Path) -> None:
    for number in (9, 10, 2):
        for name, picture in zip(
            (f"input/Candela_m1.10_{number}.jpg", f"groundtruth/gt{number:06d}.png"), draw_shot(number), strict=True
        ):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            write_picture(tmp_path / name, picture)
    shots = list(FootageFolder.open(tmp_path).read())
    assert [shot.name for shot in shots] == [f"Candela_m1.10_{number}.jpg" for number in (2, 9, 10)]
    assert all(
        shot.labels and np.array_equal(shot.labels.foreground, draw_shot(number)[1] == 255)
        for shot, number in zip(shots, (2, 9, 10), strict=True)
    )


def test_numbers_in_names_sort_as_numbers(tmp_path: Path) -> None:
    for number in (9, 10, 2):
        for folder, picture in zip(("frames", "masks"), draw_shot(number), strict=True):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_picture(tmp_path / folder / f"shot {number}.png", picture)
    assert [path.stem for path in FootageFolder.open(tmp_path).frames] == ["shot 2", "shot 9", "shot 10"]


def test_temporal_range_leaves_frames_to_learn_from_but_not_to_score(tmp_path: Path) -> None:
    folder = write_footage(tmp_path / "a", distributed=True)
    (folder / "temporalROI.txt").write_text("2 4\n")
    assert numbers(FootageFolder.open(folder)) == [2, 3, 4]
    assert len(list(FootageFolder.open(folder).read())) == 6


@pytest.mark.parametrize("channels", [1, 3])
def test_region_of_interest_is_kept_to(tmp_path: Path, channels: int) -> None:
    folder = write_footage(tmp_path / "a", distributed=True)
    region = np.zeros((*SHAPE, channels), np.uint8)
    region[:40] = 255
    cv2.imwrite(str(folder / "ROI.bmp"), region)
    opened = FootageFolder.open(folder)
    for number, shot in enumerate(opened.read(), 1):
        mask = draw_shot(number)[1]
        mask[40:] = 85
        assert shot.labels is not None
        assert np.array_equal(shot.labels.foreground, mask == 255)
        assert np.array_equal(shot.labels.background, mask == 0)
    again = opened.read_shot("in000006.png")
    assert again.labels is not None
    assert np.array_equal(again.labels.foreground, mask == 255)


def test_sequences_are_found_in_categories_and_named_by_their_folders(tmp_path: Path) -> None:
    for name in ("baseline/office", "baseline/highway", "thermal/office", "yard"):
        write_footage(tmp_path / "dataset" / name, 1, distributed=True)
    one = write_footage(tmp_path / "lawn", 1)
    found = find_footage([tmp_path / "dataset", one])
    assert list(found) == ["highway", "baseline/office", "thermal/office", "yard", "lawn"]
    assert found["lawn"].path == one


def copy_mask(folder: Path) -> None:
    shutil.copy(folder / "masks" / "001.png", folder / "masks" / "999.png")


FAULTS: dict[str, tuple[bool, Callable[[Path], object], str]] = {
    "mask alone": (False, copy_mask, r"999\.png: is the mask of no frame in .*frames; .* share their name$"),
    "no masks folder": (False, lambda a: shutil.rmtree(a / "masks"), r"masks: this folder of masks does not exist"),
    "no masks": (False, lambda a: [p.unlink() for p in (a / "masks").iterdir()], r"masks: holds no pictures"),
    "no frames": (False, lambda a: [p.unlink() for p in (a / "frames").iterdir()], r"frames: holds no pictures"),
    "no footage": (False, shutil.rmtree, r"a: this folder does not exist"),
    "other folders": (
        False,
        lambda a: (a / "frames").rename(a / "pictures"),
        r"a: holds no footage, neither frames/ with masks/ nor input/ with groundtruth/",
    ),
    "mask size": (
        False,
        lambda a: write_picture(a / "masks" / "002.png", np.zeros((10, 12), np.uint8)),
        r"masks/002\.png: is 12x10 and not 96x64; a mask is of its frame's size",
    ),
    "frame size": (
        False,
        lambda a: [write_picture(a / n / "002.png", np.zeros((10, 12), np.uint8)) for n in ("frames", "masks")],
        r"frames/002\.png: is 12x10 and not 96x64; a sequence is of one camera",
    ),
    "two of a name": (
        False,
        lambda a: write_picture(a / "frames" / "002.jpg", draw_shot(2)[0]),
        r"frames/002\.png: pairs as 002\.jpg does",
    ),
    "no number": (
        True,
        lambda a: write_picture(a / "input" / "first.png", draw_shot(2)[0]),
        r"input/first\.png: ends in no number",
    ),
    "number alone": (
        True,
        lambda a: (a / "input" / "in000003.png").unlink(),
        r"gt000003\.png: is the mask of no frame in .*input; .* share the number at the end of their names",
    ),
    "range": (True, lambda a: (a / "temporalROI.txt").write_text("all"), r"temporalROI\.txt: expected two frame num"),
    "range without masks": (
        True,
        lambda a: (a / "temporalROI.txt").write_text("70 90"),
        r"temporalROI\.txt: leaves no mask in its range",
    ),
    "region size": (
        True,
        lambda a: cv2.imwrite(str(a / "ROI.bmp"), np.zeros((9, 9), np.uint8)),
        r"ROI\.bmp: is 9x9 and not 96x64",
    ),
    "region": (True, lambda a: (a / "ROI.bmp").write_text("none"), r"ROI\.bmp: not a readable picture; .* valid BMP"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_folder_at_fault_is_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    distributed, damage, line = FAULTS[name]
    folder = write_footage(tmp_path / "a", 3, distributed=distributed)
    damage(folder)
    with pytest.raises(UserError, match=line):
        list(find_footage([folder])["a"].read())


def test_sequence_given_twice_and_plate_of_another_size_are_refused(tmp_path: Path) -> None:
    folder = write_footage(tmp_path / "a", 1)
    with pytest.raises(UserError, match="is given already; give each once"):
        find_footage([folder, folder])
    write_picture(folder / "plate.png", np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(UserError, match=r"plate\.png: is 20x20 and not 96x64; remove it"):
        FootageFolder.open(folder).read_plate()
