import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cleanplate.data.check import check
from cleanplate.data.modest import ModestFolder
from cleanplate.errors import UserError
from cleanplate.pictures import read_depth, read_mask, read_rgb, write_picture

PLAIN = "{mean: [0, 0, 0], std: [0, 0, 0]}"
FOLDERS = ("bg", "bg_fg", "bg_fg_mask", "bg_fg_depth_map")

INDEX = """
import json, re, sys, time
from pathlib import Path
from cleanplate.data.modest import ModestFolder
start = time.perf_counter()
folder = ModestFolder(sys.argv[1])
seconds = time.perf_counter() - start
peak = re.search("VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())  # ru_maxrss would count the parent
megabytes = int(peak[1]) / 1024
names = [folder.name(399_999, field) for field in ("plate", "frame", "mask", "depth")]
print(json.dumps({"items": len(folder), "seconds": seconds, "megabytes": megabytes, "names": names}))
"""


def write_set(folder: Path, lines: str, names: tuple[str, ...] = FOLDERS) -> Path:
    for name in names:
        (folder / name).mkdir(parents=True)
    (folder / "file_map.txt").write_text(lines)
    return folder


def write_item(folder: Path, name: str, shape: tuple[int, int], *, suffix: str = ".png", seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for field in ("plate", "frame"):
        write_picture(folder / field / f"{name}{suffix}", rng.integers(0, 256, (*shape, 3)).astype(np.uint8))
    mask = np.zeros(shape, np.uint8)
    mask[: shape[0] // 2] = 255
    write_picture(folder / "mask" / f"{name}.png", mask)
    write_picture(folder / "depth" / f"{name}.png", rng.integers(0, 65536, shape).astype(np.uint16))


@pytest.fixture
def named_folders(tmp_path: Path) -> Path:
    """Two items of 64x40 in plate/, frame/, mask/ and depth/; the second without depth."""
    folder = write_set(tmp_path / "own", "a\ta\ta\ta\nb\tb\tb\t\n", ("plate", "frame", "mask", "depth"))
    write_item(folder, "a", (40, 64), seed=1)
    write_item(folder, "b", (40, 64), seed=2)
    return folder


@pytest.fixture
def modest(tmp_path: Path) -> Path:
    """A small tree in MODEST Museum's exact naming, JPEG throughout."""
    folder = tmp_path / "modest"
    for name in ("fg", "fg_mask"):
        (folder / name).mkdir(parents=True)
    lines, boxes = [], []
    rng = np.random.default_rng(3)
    write_set(folder, "")
    for cutout in ("fg001", "fg002"):
        write_picture(folder / "fg" / f"{cutout}.png", np.full((20, 10, 4), 255, np.uint8))
        write_picture(folder / "fg_mask" / f"{cutout}_mask.jpeg", np.full((20, 10), 255, np.uint8))
    for plate in ("bg001", "bg002"):
        picture = cv2.GaussianBlur(rng.integers(0, 256, (224, 224, 3)).astype(np.uint8), (0, 0), 9)
        write_picture(folder / "bg" / f"{plate}.jpeg", picture)
        for cutout in ("fg001", "fg002"):
            for place in range(1, 3):
                name = f"{plate}_{cutout}_{place:02d}"
                mask = np.zeros((224, 224), np.uint8)
                cv2.circle(mask, (100, 100 + place), 40, 255, -1, cv2.LINE_AA)
                depth = np.linspace(250, 20, 224).astype(np.uint8)[:, None].repeat(224, 1)
                write_picture(folder / "bg_fg" / f"{name}.jpeg", np.where(mask[..., None] > 127, 200, picture))
                write_picture(folder / "bg_fg_mask" / f"{name}_mask.jpeg", mask)
                write_picture(folder / "bg_fg_depth_map" / f"{name}_depth_map.jpeg", depth)
                lines.append(f"{plate}\t{name}\t{name}_mask\t{name}_depth_map\n")
                boxes.append(f"{name}.jpeg\t60\t{60 + place}\t81\t81\n")
    (folder / "file_map.txt").write_text("".join(lines))
    (folder / "bbox.txt").write_text("".join(boxes))
    return folder


def test_modest_museum_is_read_as_it_is_downloaded(modest: Path) -> None:
    folder = ModestFolder(modest)
    assert len(folder) == 8
    assert folder.cutouts() == [("fg001",)] * 2 + [("fg002",)] * 2 + [("fg001",)] * 2 + [("fg002",)] * 2
    batch = folder.batch([0, 7], 96, seed=0, epoch=0)
    assert batch.plate.shape == batch.frame.shape == (2, 3, 96, 96)
    assert batch.mask.shape == batch.depth.shape == (2, 1, 96, 96)
    assert batch.plate.dtype == torch.uint8
    assert batch.has_depth.all()
    assert batch.valid is None
    assert check(modest).faults == []


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_400_000_items_are_indexed_in_seconds_and_400_mb(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "large", "")
    frames = (f"bg{b:03d}_fg{f:03d}_{n:02d}" for b in range(1, 101) for f in range(1, 101) for n in range(1, 41))
    with (folder / "file_map.txt").open("w") as file:
        file.writelines(f"{name[:5]}\t{name}\t{name}_mask\t{name}_depth_map\n" for name in frames)
    answer = subprocess.run([sys.executable, "-c", INDEX, str(folder)], capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    assert found["items"] == 400_000
    assert found["names"] == ["bg100", "bg100_fg100_40", "bg100_fg100_40_mask", "bg100_fg100_40_depth_map"]
    assert found["megabytes"] < 400  # of the whole process, torch included
    assert found["seconds"] < 15  # 2.1 on two free cores; a shared machine takes longer


def test_folders_of_the_fields_own_names_are_read(named_folders: Path) -> None:
    folder = ModestFolder(named_folders)
    item = folder.read(0)
    assert np.array_equal(item.plate, read_rgb(named_folders / "plate" / "a.png"))
    assert np.array_equal(item.frame, read_rgb(named_folders / "frame" / "a.png"))
    assert np.array_equal(item.mask, read_mask(named_folders / "mask" / "a.png"))
    assert item.depth is not None
    assert np.array_equal(item.depth, read_depth(named_folders / "depth" / "a.png"))


def test_suffixes_in_capitals_are_read(named_folders: Path) -> None:
    before = ModestFolder(named_folders).read(0)
    for field in ("plate", "frame", "mask", "depth"):
        (named_folders / field / "a.png").rename(named_folders / field / "a.PNG")
    after = ModestFolder(named_folders).read(0)
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))


def test_padding_repeats_the_edge_and_is_not_valid(named_folders: Path) -> None:
    batch = ModestFolder(named_folders).batch([0, 1], 64, seed=0, epoch=0)
    frame = torch.from_numpy(read_rgb(named_folders / "frame" / "a.png")).permute(2, 0, 1)
    assert torch.equal(batch.frame[0, :, :40], frame)
    assert torch.equal(batch.frame[0, :, 40:], frame[:, -1:].expand(3, 24, 64))
    assert batch.valid is not None
    assert batch.valid.shape == (2, 1, 64, 64)
    assert batch.valid[:, :, :40].all()
    assert not batch.valid[:, :, 40:].any()


def test_values_are_those_of_the_files(named_folders: Path) -> None:
    batch = ModestFolder(named_folders).batch([0], 64, seed=0, epoch=0)
    depth = read_depth(named_folders / "depth" / "a.png")
    assert torch.equal(batch.depth[0, 0, :40], torch.from_numpy(depth.astype(np.float32) / 65535))
    assert batch.mask[0, 0, :20].eq(1).all()
    assert batch.mask[0, 0, 20:].eq(0).all()


def test_missing_depth_is_told_and_zero(named_folders: Path) -> None:
    folder = ModestFolder(named_folders)
    batch = folder.batch([1, 0], 64, seed=0, epoch=0)
    assert folder.read(1).depth is None
    assert folder.labelled().tolist() == [True, False]
    assert batch.has_depth.tolist() == [False, True]
    assert not batch.depth[0].any()
    assert batch.indices.tolist() == [1, 0]


def test_a_set_without_any_depth_needs_no_folder_for_it(named_folders: Path) -> None:
    shutil.rmtree(named_folders / "depth")
    (named_folders / "file_map.txt").write_text("a\ta\ta\t\n")
    assert not ModestFolder(named_folders).batch([0], 32, seed=0, epoch=0).has_depth.any()
    (named_folders / "file_map.txt").write_text("a\ta\ta\ta\n")
    with pytest.raises(UserError, match="has no folder bg_fg_depth_map or depth"):
        ModestFolder(named_folders)


def test_depth_of_8_bits_is_widened(named_folders: Path) -> None:
    write_picture(named_folders / "depth" / "a.png", np.full((40, 64), 51, np.uint8))
    folder = ModestFolder(named_folders)
    depth = folder.read(0).depth
    assert depth is not None
    assert (depth == 51 * 257).all()
    assert folder.batch([0], 64, seed=0, epoch=0).depth[0, 0, 0, 0] == pytest.approx(0.2)


def test_an_item_is_the_same_in_every_batch(dataset: Path) -> None:
    folder = ModestFolder(dataset)
    together, alone = folder.batch([40, 3, 7], 32, seed=1, epoch=2), folder.batch([3], 32, seed=9, epoch=0)
    for field in ("plate", "frame", "mask", "depth", "has_depth", "indices"):
        assert torch.equal(getattr(together, field)[1], getattr(alone, field)[0])


def test_cutouts_come_from_the_table_of_items(dataset: Path) -> None:
    assert {len(who) for who in ModestFolder(dataset).cutouts()} == {1, 2}


def test_unknown_cutouts_are_refused(named_folders: Path) -> None:
    with pytest.raises(UserError, match=r"items\.csv: missing, .* use the split `random`"):
        ModestFolder(named_folders).cutouts()
    (named_folders / "items.csv").write_text("frame,plate,cutouts\na,a,ann ben\n")
    with pytest.raises(UserError, match=r"items\.csv: has no row for frame b"):
        ModestFolder(named_folders).cutouts()
    (named_folders / "items.csv").write_bytes(b"frame,plate,cutouts\na,a,\xff\n")
    with pytest.raises(UserError, match=r"items\.csv: cannot be read as a table"):
        ModestFolder(named_folders).cutouts()
    (named_folders / "items.csv").write_text(f"frame,plate,cutouts\na,a,{'x' * 200_000}\n")
    with pytest.raises(UserError, match=r"items\.csv: cannot be read as a table"):
        ModestFolder(named_folders).cutouts()
    (named_folders / "items.csv").write_text("frame,plate,cutouts\na,a,ann ben\nb,b,\n")
    assert ModestFolder(named_folders).cutouts() == [("ann", "ben"), ()]


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        (
            "frame/a.png",
            lambda path: path.write_bytes(path.read_bytes()[:-20]),
            r"frame/a\.png: the picture ends early",
        ),
        ("plate/a.png", lambda path: path.write_text("text"), r"plate/a\.png: not a readable picture"),
        ("mask/a.png", lambda path: path.unlink(), r"mask/a: no such picture"),
        (
            "mask/a.png",
            lambda path: write_picture(path, np.zeros((8, 9), np.uint8)),
            r"mask/a\.png: is 9x8, but its frame a\.png is 64x40",
        ),
    ],
)
def test_broken_item_is_named_in_a_line(named_folders: Path, file: str, damage, words: str) -> None:
    folder = ModestFolder(named_folders)
    damage(named_folders / file)
    with pytest.raises(UserError, match=words) as caught:
        folder.batch([1, 0], 32, seed=0, epoch=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("a\ta\ta\ta\nb\tb\tb\n", r"file_map\.txt:2: expected four names"),
        ("a\ta\ta\ta\n\n", r"file_map\.txt:2: expected four names"),
        ("a\ta\ta\t\nb\tb\tb\t\na\ta\ta\t\n", r"file_map\.txt:3: frame a stands in line 1 already"),
        ("a\n" * 3, r"file_map\.txt:1: .* \(and 2 more; see `cleanplate data check`\)"),
        ("a\t../a\ta\t\n", r"file_map\.txt:1: a name leaves its folder"),
        ("a\ta\ta\t\n/a\ta\ta\t\n", r"file_map\.txt:2: a name leaves its folder"),
        ("a\ta\ta\t\na\tb\\a\ta\t\n", r"file_map\.txt:2: a name leaves its folder"),
        ("a\ta\0\ta\t\n", r"file_map\.txt:1: a name holds control characters"),
        ("a\ta\ta\t\x1b[2J\n", r"file_map\.txt:1: a name holds control characters"),
        (f"a\t{'a' * 251}\ta\t\n", r"file_map\.txt:1: a name is longer than 250 bytes"),
        ("", r"file_map\.txt: lists no items"),
    ],
)
def test_broken_file_map_is_named_by_line(named_folders: Path, lines: str, words: str) -> None:
    (named_folders / "file_map.txt").write_text(lines)
    with pytest.raises(UserError, match=words):
        ModestFolder(named_folders)


def test_file_map_that_is_a_pipe_is_refused_and_not_waited_for(named_folders: Path) -> None:
    (named_folders / "file_map.txt").unlink()
    os.mkfifo(named_folders / "file_map.txt")
    with pytest.raises(UserError, match=r"file_map\.txt: cannot be read \(not a file\)"):
        ModestFolder(named_folders)


def test_links_to_pictures_elsewhere_are_followed(named_folders: Path, tmp_path: Path) -> None:
    (named_folders / "frame" / "a.png").rename(tmp_path / "elsewhere.png")
    (named_folders / "frame" / "a.png").symlink_to(tmp_path / "elsewhere.png")
    assert np.array_equal(ModestFolder(named_folders).read(0).frame, read_rgb(tmp_path / "elsewhere.png"))


def test_file_map_of_a_windows_editor_is_read(named_folders: Path) -> None:
    (named_folders / "file_map.txt").write_bytes(b"\xef\xbb\xbfa\ta\ta\ta\r\nb\tb\tb\t\r\n")
    folder = ModestFolder(named_folders)
    assert [folder.name(index, "plate") for index in range(2)] == ["a", "b"]
    assert folder.labelled().tolist() == [True, False]


def test_missing_folders_and_files_are_named(named_folders: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: this data set folder does not exist"):
        ModestFolder(tmp_path / "nowhere")
    shutil.rmtree(named_folders / "mask")
    with pytest.raises(UserError, match="has no folder bg_fg_mask or mask"):
        ModestFolder(named_folders)
    (named_folders / "file_map.txt").unlink()
    with pytest.raises(UserError, match=r"file_map\.txt: missing"):
        ModestFolder(named_folders)


def test_a_changed_plate_is_read_anew(named_folders: Path) -> None:
    folder = ModestFolder(named_folders)
    folder.read(0)
    write_picture(named_folders / "plate" / "a.png", np.full((40, 64, 3), 7, np.uint8))
    assert (folder.read(0).plate == 7).all()


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("nmae: x", r"dataset\.yaml: nmae: Extra inputs"),
        ("depth: {kind: metric, near: 3, far: 1}", r"dataset\.yaml: depth: .*near below far"),
        ("[1, 2]", r"dataset\.yaml: content: "),
        ("depth: {kind: metric, near: .nan, far: 1}", r"dataset\.yaml: depth\.near: .*finite"),
        (
            f"normalisation: {{plate: {PLAIN}, frame: {PLAIN}}}",
            r"dataset\.yaml: normalisation\.plate\.std\.0: .*greater",
        ),
        ("made_by: {a: !!binary gICA}", r"dataset\.yaml: made_by: .*utf-8"),
        ("name: \xff", r"dataset\.yaml: not readable as YAML"),
        ("a: [", r"dataset\.yaml: not readable as YAML"),
    ],
)
def test_broken_card_is_named_by_key(named_folders: Path, card: str, words: str) -> None:
    (named_folders / "dataset.yaml").write_text(card, encoding="latin-1")
    with pytest.raises(UserError, match=words):
        ModestFolder(named_folders)


def test_fingerprint_tells_data_sets_apart(named_folders: Path, dataset: Path) -> None:
    assert ModestFolder(dataset).fingerprint() == ModestFolder(dataset).fingerprint()
    assert ModestFolder(dataset).fingerprint() != ModestFolder(named_folders).fingerprint()
