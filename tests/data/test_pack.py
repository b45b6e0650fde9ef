"""Packs: equal to their folder byte for byte, whole or not at all, and refused when they no longer fit."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from disks import Usage, fill_up
from hypothesis import given, settings
from hypothesis import strategies as st

from cleanplate import UserError
from cleanplate.data import pack as packs
from cleanplate.data.modest import ModestFolder
from cleanplate.data.opening import open_data
from cleanplate.data.pack import PackedFolder
from cleanplate.data.packing import Packing, pack
from cleanplate.data.source import Batch
from cleanplate.pictures import write_picture

SHAPES = [(40, 64), (64, 40), (33, 33), (97, 50), (1, 70), (32, 32)]


def write_set(folder: Path, shapes: list[tuple[int, int]], depths: list[bool], seed: int = 0) -> Path:
    """Items of any sizes, some without depth; those of one shape stand before one plate."""
    rng = np.random.default_rng(seed)
    for name in ("plate", "frame", "mask", "depth"):
        (folder / name).mkdir(parents=True)
    lines = []
    for number, (shape, has_depth) in enumerate(zip(shapes, depths, strict=True)):
        plate, name = "{}x{}".format(*shape), f"item{number}"
        for path in (folder / "plate" / f"{plate}.png", folder / "frame" / f"{name}.jpg"):
            write_picture(path, rng.integers(0, 256, (*shape, 3)).astype(np.uint8))
        write_picture(folder / "mask" / f"{name}.png", rng.integers(0, 256, shape).astype(np.uint8))
        if has_depth:
            write_picture(folder / "depth" / f"{name}.png", rng.integers(0, 65536, shape).astype(np.uint16))
        lines.append(f"{plate}\t{name}\t{name}\t{name if has_depth else ''}\n")
    (folder / "file_map.txt").write_text("".join(lines))
    return folder


def equal(one: Batch, other: Batch) -> bool:
    """Tell whether two batches hold the same bytes in the same layout."""
    return all(
        (a is None and b is None)
        or (a is not None and b is not None and a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b))
        for a, b in zip(one, other, strict=True)
    )


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A dozen items of several shapes, every third without depth."""
    return write_set(tmp_path / "mixed", SHAPES * 2, [number % 3 != 0 for number in range(12)])


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cleanplate.data.packing.CHUNK", 4)


def card_of(folder: Path, size: int = 32) -> dict:
    return json.loads((folder / "packs" / str(size) / "pack.json").read_text())


# Equal to the folder


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 80), st.integers(1, 80)), min_size=1, max_size=6),
    st.data(),
    st.sampled_from([32, 64, 96]),
)
def test_batches_of_a_pack_are_those_of_its_folder(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[int, int]], data: st.DataObject, size: int
) -> None:
    count = len(shapes)
    depths = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    folder = write_set(tmp_path_factory.mktemp("any") / "set", shapes, depths, seed=count)
    pack(folder, sizes=[size])
    packed, plain = open_data(folder), ModestFolder(folder)
    assert isinstance(packed, PackedFolder)
    assert list(packed.packs) == [size]
    indices = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=8))
    assert equal(packed.batch(indices, size, 1, 2), plain.batch(indices, size, 1, 2))


def test_files_are_numpy_arrays_with_every_plate_once(mixed: Path) -> None:
    pack(mixed, sizes=[64])
    folder = ModestFolder(mixed)
    batch = folder.batch(range(12), 64, 0, 0)
    place = mixed / "packs" / "64"
    depth, plate = np.load(place / "depth.npy", mmap_mode="r"), np.load(place / "plate.npy", mmap_mode="r")
    assert (depth.dtype, depth.shape) == (np.dtype("<u2"), (12, 64, 64))
    assert np.array_equal(depth.astype(np.float32) / 65535, batch.depth[:, 0])
    assert plate.shape == (len(SHAPES), 64, 64, 3)
    assert np.array_equal(np.load(place / "frame.npy"), batch.frame.permute(0, 2, 3, 1))


def test_a_set_without_depth_takes_no_room_for_it(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", SHAPES, [False] * 6)
    pack(folder, sizes=[32])
    assert not (folder / "packs" / "32" / "depth.npy").exists()
    assert equal(open_data(folder).batch([2, 0], 32, 0, 0), ModestFolder(folder).batch([2, 0], 32, 0, 0))


def test_a_size_that_is_not_packed_is_read_from_the_pictures(mixed: Path) -> None:
    pack(mixed, sizes=[32])
    assert equal(open_data(mixed).batch([5, 1], 64, 0, 0), ModestFolder(mixed).batch([5, 1], 64, 0, 0))
    assert type(open_data(mixed, packed=False)) is ModestFolder


@pytest.mark.usefixtures("small_chunks")
def test_threads_change_nothing(mixed: Path) -> None:
    pack(mixed, sizes=[32], workers=1)
    first = {path.name: path.read_bytes() for path in (mixed / "packs" / "32").glob("*.npy")}
    shutil.rmtree(mixed / "packs")
    pack(mixed, sizes=[32], workers=3)
    assert first == {path.name: path.read_bytes() for path in (mixed / "packs" / "32").glob("*.npy")}


# From a zip, into a folder of packs alone


def write_zip(folder: Path, path: Path, top: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for member in sorted(folder.rglob("*")):
            file.write(member, f"{top}{member.relative_to(folder)}")
    return path


@pytest.mark.parametrize(("top", "method"), [("", zipfile.ZIP_STORED), ("MODEST/data/", zipfile.ZIP_DEFLATED)])
def test_a_zip_is_packed_without_unpacking_it(mixed: Path, tmp_path: Path, top: str, method: int) -> None:
    archive = write_zip(mixed, tmp_path / "set.zip", top, method)
    made = pack(archive, tmp_path / "out", sizes=[32, 64])
    assert (made.items, made.plates, made.sizes, made.faults) == (12, 6, [32, 64], [])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset.yaml", "file_map.txt", "packs"]
    packed, plain = open_data(tmp_path / "out"), ModestFolder(mixed)
    for size in (32, 64):
        assert equal(packed.batch(range(12), size, 0, 0), plain.batch(range(12), size, 0, 0))
    assert packed.fingerprint() == plain.fingerprint()
    item = packed.read(1)  # of the largest pack
    assert item.frame.shape == (64, 40, 3)
    assert np.array_equal(item.frame, plain.read(1).frame)
    with pytest.raises(UserError, match=r"holds packs of 32x32, 64x64 alone, .* pack .*set\.zip.* --size 96` adds one"):
        packed.batch([0], 96, 0, 0)


def test_a_zip_needs_a_folder_to_be_packed_into_and_is_not_trained_on(mixed: Path, tmp_path: Path) -> None:
    archive = write_zip(mixed, tmp_path / "set.zip")
    with pytest.raises(UserError, match="is a zip; name the folder to pack it into"):
        pack(archive, sizes=[32])
    with pytest.raises(UserError, match=r"is a zip; `cleanplate data pack .*set\.zip OUT`"):
        open_data(archive)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        pack(archive, tmp_path / "out", sizes=[32])


def damaged(content: bytes, what: str) -> bytes:
    """A zip with something wrong in it."""
    if what == "cut":
        return content[: len(content) // 2]
    if what == "no zip":
        return b"text"
    at = content.rindex(b"PK\x05\x06")
    return content[: at + 10] + b"\xfe\xff" + content[at + 12 :]  # more members than there are


@pytest.mark.parametrize("what", ["cut", "no zip", "count"])
def test_a_damaged_zip_is_one_line(mixed: Path, tmp_path: Path, what: str) -> None:
    archive = write_zip(mixed, tmp_path / "set.zip")
    archive.write_bytes(damaged(archive.read_bytes(), what))
    with pytest.raises(UserError, match=r"set\.zip: not a whole zip \(truncated or damaged\)"):
        pack(archive, tmp_path / "out", sizes=[32])


def test_members_that_are_links_too_large_or_damaged_are_not_read(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes((mixed / "mask" / "item0.png").read_bytes())
    for name in ("mask/item0.png", "mask/item1.png", "frame/item2.jpg"):
        (mixed / name).unlink()
    archive = write_zip(mixed, tmp_path / "set.zip", method=zipfile.ZIP_STORED)
    with zipfile.ZipFile(archive, "a") as file:
        link = zipfile.ZipInfo("mask/item0.png")
        link.external_attr = 0o120777 << 16
        file.writestr(link, str(tmp_path / "secret.png"))
        file.writestr("mask/item1.png", bytes(2**28 + 1), zipfile.ZIP_DEFLATED)
        file.writestr("frame/item2.jpg", b"damage me")
        file.writestr("../../escaped.txt", "out")
    archive.write_bytes(archive.read_bytes().replace(b"damage me", b"damaged !"))
    faults = dict(zip("012", pack(archive, tmp_path / "out", sizes=[32]).faults, strict=True))
    assert "mask/item0.png: cannot be read (not a file)" in faults["0"]
    assert "mask/item1.png: takes 268,435,457 bytes" in faults["1"]
    assert "frame/item2.jpg: is damaged within the zip" in faults["2"]
    assert not list(tmp_path.parent.rglob("escaped.txt"))


# Whole or not at all


PACK_SLOWLY = """
import sys, time
from cleanplate.data import pack, packing
packing.CHUNK, packing.RECORDED = 2, 0
make = packing.Packing._make
def slowly(self, chunk):
    made = make(self, chunk)
    if chunk == 3:
        while pack.read_pack_card(self.place).chunks[2] is None:  # another thread records
            time.sleep(0.01)
        print("here", flush=True)
        time.sleep(60)
    return made
packing.Packing._make = slowly
packing.pack(sys.argv[1], sizes=[32], workers=1)
"""


def test_a_pack_that_was_killed_is_not_used_and_goes_on(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([sys.executable, "-c", PACK_SLOWLY, str(mixed)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [sums is not None for sums in card_of(mixed)["chunks"]] == [True, True, True, False, False, False]
    opened = open_data(mixed)
    assert isinstance(opened, PackedFolder)
    assert not opened.packs
    assert "packed in part only" in opened.unusable[32]

    made = []
    monkeypatch.setattr("cleanplate.data.packing.CHUNK", 2)
    make = Packing._make
    monkeypatch.setattr(Packing, "_make", lambda self, chunk: made.append(chunk) or make(self, chunk))
    pack(mixed, sizes=[32])
    assert sorted(made) == [3, 4, 5]
    assert equal(open_data(mixed).batch(range(12), 32, 0, 0), ModestFolder(mixed).batch(range(12), 32, 0, 0))


@pytest.mark.usefixtures("small_chunks")
def test_what_is_damaged_is_packed_anew(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(mixed, sizes=[32])
    frames = mixed / "packs" / "32" / "frame.npy"
    whole = frames.read_bytes()
    frames.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    pack(mixed, sizes=[32])
    assert "damaged; chunk 2 is packed anew" in capsys.readouterr().err
    assert frames.read_bytes() == whole
    pack(mixed, sizes=[32])
    assert "packed already, and verified" in capsys.readouterr().err


def test_too_little_room_is_told_before_packing(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10_000))
    with pytest.raises(UserError, match=r"takes 0\.0 GB, and 0\.0 GB are free; make room"):
        pack(mixed, sizes=[32])
    assert not open_data(mixed).packs


def test_a_disk_that_fills_up_leaves_nothing_that_is_taken_for_whole(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_up(monkeypatch, after=20)
    with pytest.raises(OSError, match=r"No space left on device: .*packs/32/\w+\.npy"):
        pack(mixed, sizes=[32])
    assert not open_data(mixed).packs
    monkeypatch.undo()
    pack(mixed, sizes=[32])
    assert list(open_data(mixed).packs) == [32]


# Refused when it no longer fits


def touch(path: Path) -> None:
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns + 10_000_000))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: touch(folder / "mask" / "item3.png"), r"out of date \(pictures of item3 have changed since\)"),
        (lambda folder: touch(folder / "plate" / "33x33.png"), r"out of date \(pictures of item2 have changed since\)"),
        (lambda folder: (folder / "depth" / "item1.png").unlink(), r"out of date \(pictures of item1"),
        (
            lambda folder: (folder / "file_map.txt").write_text("64x40\titem1\titem1\titem1\n"),
            r"out of date \(file_map\.txt has changed since\)",
        ),
        (
            lambda folder: os.truncate(folder / "packs" / "32" / "mask.npy", 5000),
            r"mask\.npy: damaged, not of the size or kind that was packed; pack again with `cleanplate data pack`",
        ),
        (lambda folder: (folder / "packs" / "32" / "inner.npy").unlink(), r"inner\.npy: missing; pack again"),
        (lambda folder: (folder / "packs" / "32" / "pack.json").write_text("{"), r"pack\.json: damaged \(.*pack again"),
    ],
)
def test_a_pack_that_is_stale_or_damaged_is_not_used_and_is_packed_anew(mixed: Path, change, words: str) -> None:
    pack(mixed, sizes=[32])
    change(mixed)
    opened = open_data(mixed)
    assert isinstance(opened, PackedFolder)
    assert not opened.packs
    assert re.search(words, opened.unusable[32])
    if not (mixed / "depth" / "item1.png").exists():
        write_picture(mixed / "depth" / "item1.png", np.full(SHAPES[1], 9, np.uint16))
    assert equal(opened.batch([0], 32, 0, 0), ModestFolder(mixed).batch([0], 32, 0, 0))
    pack(mixed, sizes=[32])
    items = range(len(ModestFolder(mixed)))
    again = open_data(mixed)
    assert list(again.packs) == [32]
    assert equal(again.batch(items, 32, 0, 0), ModestFolder(mixed).batch(items, 32, 0, 0))


def test_of_a_large_set_a_renamed_file_is_noticed(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("LOOKED_THROUGH", "LOOKED_AT"):
        monkeypatch.setattr(packs, limit, 1)
    pack(mixed, sizes=[32])
    assert open_data(mixed).packs
    content = (mixed / "mask" / "item11.png").read_bytes()
    (mixed / "mask" / "new").write_bytes(content)
    (mixed / "mask" / "new").replace(mixed / "mask" / "item11.png")
    assert "item11" in open_data(mixed).unusable[32]


def test_a_file_that_ends_while_it_is_in_use_is_one_line(mixed: Path) -> None:
    pack(mixed, sizes=[32])
    folder = open_data(mixed)
    os.truncate(mixed / "packs" / "32" / "frame.npy", 3000)
    with pytest.raises(UserError, match=r"frame\.npy: damaged, .*; pack again with `cleanplate data pack`"):
        folder.batch([11], 32, 0, 0)


def test_a_folder_of_packs_alone_refuses_what_it_cannot_answer(mixed: Path, tmp_path: Path) -> None:
    pack(mixed, tmp_path / "out", sizes=[32])
    os.truncate(tmp_path / "out" / "packs" / "32" / "mask.npy", 5000)
    with pytest.raises(UserError, match=r"mask\.npy: damaged"):
        open_data(tmp_path / "out")


# Items that cannot be read


def test_an_item_that_cannot_be_read_gives_the_same_fault_from_the_pack(mixed: Path) -> None:
    (mixed / "frame" / "item2.jpg").write_bytes(b"text")
    made = pack(mixed, sizes=[32])
    assert made.faults == [f"{mixed}/frame/item2.jpg: not a readable picture; replace it with a valid JPEG or PNG"]
    packed = open_data(mixed)
    with pytest.raises(UserError) as from_folder:
        ModestFolder(mixed).batch([1, 2], 32, 0, 0)
    with pytest.raises(UserError) as from_pack:
        packed.batch([1, 2], 32, 0, 0)
    assert str(from_pack.value) == str(from_folder.value)
    others = [0, 1, 3, 8]  # the last before the same plate
    assert equal(packed.batch(others, 32, 0, 0), ModestFolder(mixed).batch(others, 32, 0, 0))


def test_command_packs_and_says_what_it_has_made(mixed: Path) -> None:
    (mixed / "frame" / "item2.jpg").write_bytes(b"text")
    command = [sys.executable, "-m", "cleanplate", "data", "pack", str(mixed), "--size", "32", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stdout).keys() == {"path", "items", "plates", "sizes", "bytes", "faults", "seconds"}
    assert "packing 12 items at 32x32, 0.00 GB, about" in done.stderr
    assert "cleanplate: left out" in done.stderr
    refused = subprocess.run([*command[:-2], "33"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--size: 33 is not a multiple of 32" in refused.stderr
