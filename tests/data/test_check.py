import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cleanplate.data.check import check
from cleanplate.errors import UserError
from cleanplate.pictures import read_mask, write_picture

FRAME, MASK = "bg_fg/bg001_fg001_01.jpg", "bg_fg_mask/bg001_fg001_01_mask.png"
DEPTH, PLATE = "bg_fg_depth_map/bg001_fg001_01_depth_map.png", "bg/bg001.jpg"


def replace(file: str, picture: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: write_picture(folder / file, picture)


def add(file: str, text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with (folder / file).open("a") as stream:
            stream.write(text)

    return damage


def shorten(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:-30])


RAMP = np.linspace(0, 255, 64).astype(np.uint8)[:, None].repeat(64, 1)
BLOCK = np.zeros((64, 64), np.uint8)
BLOCK[20:50, 20:50] = 1

DAMAGES = {
    "missing picture": (lambda folder: (folder / MASK).unlink(), MASK.removesuffix(".png"), "no such picture"),
    "truncated JPEG": (shorten(FRAME), FRAME, "ends early"),
    "text called PNG": (lambda folder: (folder / DEPTH).write_text("text"), DEPTH, "not a readable picture"),
    "empty file": (lambda folder: (folder / PLATE).write_bytes(b""), PLATE, "not a readable picture"),
    "grey plate": (replace(PLATE, RAMP), PLATE, "is grey"),
    "grey frame": (replace(FRAME, RAMP), FRAME, "is grey"),
    "mask in colour": (replace(MASK, np.dstack([BLOCK * 255, BLOCK * 0, BLOCK * 0])), MASK, "has colours"),
    "depth in colour": (replace(DEPTH, np.dstack([RAMP, 255 - RAMP, RAMP])), DEPTH, "has colours"),
    "mask with alpha": (replace(MASK, np.dstack([BLOCK * 255] * 4)), MASK, "has transparency"),
    "mask of another size": (replace(MASK, np.zeros((32, 48), np.uint8)), MASK, "is 48x32, but .* are 64x64"),
    "frame of another size": (replace(FRAME, np.zeros((32, 32, 3), np.uint8)), FRAME, "is 32x32, but"),
    "plate of another size": (replace(PLATE, np.zeros((32, 32, 3), np.uint8)), PLATE, "is 32x32, but"),
    "grey mask": (replace(MASK, RAMP), MASK, "is not near 0 or 255"),
    "mask of 0 and 1": (replace(MASK, BLOCK), MASK, "no value above 1 of 255"),
    "constant depth": (replace(DEPTH, np.full((64, 64), 9, np.uint16)), DEPTH, "same depth everywhere"),
    "two files of one name": (replace("bg_fg/bg001_fg001_01.png", np.zeros((64, 64, 3), np.uint8)), FRAME, "twice"),
    "its suffix in capitals": (replace("bg_fg/bg001_fg001_01.JPG", np.zeros((64, 64, 3), np.uint8)), FRAME, "twice"),
    "broken line": (add("file_map.txt", "bg001\tbg001_fg001_09\n"), "file_map.txt", "line 49: expected four names"),
    "frame twice": (
        add("file_map.txt", "bg001\tbg001_fg001_01\tbg001_fg001_01_mask\t\n"),
        "file_map.txt",
        "line 49: frame bg001_fg001_01 stands in line 1 already",
    ),
    "name out of its folder": (add("file_map.txt", "a\t../b\tc\t\n"), "file_map.txt", "line 49: a name leaves"),
    "line that is not UTF-8": (
        lambda folder: (folder / "file_map.txt").open("ab").write(b"\xe9\tb\tc\t\n"),
        "file_map.txt",
        "line 49: not UTF-8",
    ),
    "empty set": (lambda folder: (folder / "file_map.txt").write_text(""), "file_map.txt", "lists no items"),
    "no file map": (lambda folder: (folder / "file_map.txt").unlink(), "file_map.txt", "missing"),
    "no masks": (lambda folder: shutil.rmtree(folder / "bg_fg_mask"), "", "has no folder bg_fg_mask or mask"),
    "no depth folder": (lambda folder: shutil.rmtree(folder / "bg_fg_depth_map"), "", "has no folder bg_fg_depth_map"),
    "invalid card": (add("dataset.yaml", "nmae: x\n"), "dataset.yaml", "nmae: Extra inputs"),
    "box of an unknown frame": (add("bbox.txt", "x.jpg\t1\t2\t3\t4\n"), "bbox.txt", r"line 49: .* frame x\.jpg"),
    "box that is none": (add("bbox.txt", "bg001_fg001_01.jpg\t1\n"), "bbox.txt", "line 49: expected a frame"),
    "row of an unknown frame": (add("items.csv", "x,bg001,fg001\n"), "items.csv", "line 50: .* frame x"),
    "row of another plate": (add("items.csv", "bg001_fg001_01,bg002,fg001\n"), "items.csv", "line 50: frame"),
    "items without a row": (
        lambda folder: (folder / "items.csv").write_text("frame,plate,cutouts\n"),
        "items.csv",
        "has no row for frame bg001_fg001_01",
    ),
    "row with a line break": (add("items.csv", '"x\ny\x1b[2J",bg001,fg001\n'), "items.csv", r"frame x\\ny\\x1b\[2J"),
    "items that are a folder": (
        lambda folder: [(folder / "items.csv").unlink(), (folder / "items.csv").mkdir()],
        "items.csv",
        "cannot be read",
    ),
    "items without columns": (lambda folder: (folder / "items.csv").write_text("a,b\n"), "items.csv", "has no column"),
}


def test_a_sound_data_set_has_no_faults(dataset: Path) -> None:
    report = check(dataset)
    assert (report.items, report.faults) == (48, [])


@pytest.mark.parametrize("name", DAMAGES)
def test_fault_is_named(own_dataset: Path, name: str) -> None:
    damage, file, words = DAMAGES[name]
    damage(own_dataset)
    fault = check(own_dataset).faults[0]
    assert fault.file == str(own_dataset / file)
    assert re.search(words, fault.fault)
    assert "\n" not in fault.fault


@pytest.mark.parametrize("name", sorted(DAMAGES.keys() - {"items without a row", "empty set", "no file map"}))
def test_one_cause_is_one_fault(own_dataset: Path, name: str) -> None:
    DAMAGES[name][0](own_dataset)
    assert len(check(own_dataset).faults) == 1


def test_all_faults_come_at_once(own_dataset: Path) -> None:
    chosen = ["missing picture", "truncated JPEG", "text called PNG", "grey plate", "broken line", "invalid card"]
    for name in chosen:
        DAMAGES[name][0](own_dataset)
    found = {fault.file for fault in check(own_dataset).faults}
    assert found == {str(own_dataset / DAMAGES[name][1]) for name in chosen}


def test_depth_maps_that_no_line_names_are_a_fault(own_dataset: Path) -> None:
    lines = [line.split("\t") for line in (own_dataset / "file_map.txt").read_text().splitlines()]
    (own_dataset / "file_map.txt").write_text("".join("\t".join([*line[:3], "\n"]) for line in lines))
    (fault,) = check(own_dataset).faults
    assert fault.file == str(own_dataset / "bg_fg_depth_map")


def test_masks_saved_as_jpeg_pass(own_dataset: Path) -> None:
    for path in list((own_dataset / "bg_fg_mask").iterdir()):
        mask = read_mask(path)
        path.unlink()
        cv2.imwrite(str(path.with_suffix(".jpeg")), mask, [cv2.IMWRITE_JPEG_QUALITY, 75])
    assert check(own_dataset).faults == []


def test_names_with_blanks_pass(own_dataset: Path) -> None:
    frame = "bg001_fg001_01"
    for name in ("file_map.txt", "items.csv", "bbox.txt"):
        lines = (own_dataset / name).read_text()
        separator = "," if name == "items.csv" else "\t"
        lines = re.sub(rf"(^|{separator}){frame}(?=\.jpg|{separator})", r"\1my first frame", lines, flags=re.M)
        (own_dataset / name).write_text(lines)
    (own_dataset / "bg_fg" / f"{frame}.jpg").rename(own_dataset / "bg_fg" / "my first frame.jpg")
    assert check(own_dataset).faults == []


def test_an_empty_frame_passes(own_dataset: Path) -> None:
    write_picture(own_dataset / MASK, np.zeros((64, 64), np.uint8))
    assert check(own_dataset).faults == []


def test_missing_folder_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: this data set folder does not exist"):
        check(tmp_path / "nowhere")
