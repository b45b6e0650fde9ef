"""The two references that learn nothing."""

import io
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pytest
from scenes import write_scenes

from cleanplate.data.modest import ModestFolder
from cleanplate.errors import UserError
from cleanplate.references import References, difference, fit_references


@pytest.fixture(scope="module")
def folder(scenes: Path) -> ModestFolder:
    return ModestFolder(scenes)


@pytest.fixture(scope="module")
def fitted(folder: ModestFolder) -> References:
    return fit_references(folder, np.arange(20), 64, seed=1)


def test_difference_is_zero_of_equal_pictures_and_the_largest_channel_of_others() -> None:
    plate = np.full((9, 9, 3), 100, np.uint8)
    assert not difference(plate, plate).any()
    frame = plate + np.array([1, 30, 7], np.uint8)
    assert (difference(plate, frame) == 30).all()
    assert (difference(frame, plate) == 30).all()


def test_threshold_separates_what_can_be_separated(folder: ModestFolder, fitted: References) -> None:
    for index in range(20, 30):
        item = folder.read(index)
        (mask,) = fitted.mask(item.plate[None], item.frame[None])
        truth = item.mask > 0
        assert (mask.astype(bool) & truth).sum() / (mask.astype(bool) | truth).sum() > 0.9
        assert set(np.unique(mask)) <= {0, 1}


def test_mask_of_an_unchanged_scene_is_empty(folder: ModestFolder, fitted: References) -> None:
    plate = folder.read(0).plate[None]
    assert not fitted.mask(plate, plate).any()


def test_mean_depth_is_the_mean_of_the_training_items(folder: ModestFolder, fitted: References) -> None:
    depths = [folder.read(index).depth for index in range(20)]
    np.testing.assert_allclose(fitted.mean_depth, np.mean(depths, axis=0) / 65535, atol=1e-6)
    repeated = fitted.depth(3, (64, 64))
    assert repeated is not None
    assert repeated.shape == (3, 64, 64)
    assert repeated.dtype == np.float32


def test_mean_depth_leaves_items_without_label_out(dataset: Path) -> None:
    folder = ModestFolder(dataset)
    labelled = [folder.read(index).depth for index in np.flatnonzero(folder.labelled())]
    assert 0 < len(labelled) < len(folder)
    fitted = fit_references(folder, np.arange(len(folder)), 64, seed=1)
    np.testing.assert_allclose(fitted.mean_depth, np.mean(labelled, axis=0) / 65535, atol=1e-6)


def test_depth_is_none_where_nothing_has_a_label(tmp_path: Path) -> None:
    fitted = fit_references(ModestFolder(write_scenes(tmp_path / "data", 2, depth=False)), np.arange(12), 32, seed=1)
    assert fitted.depth(2, (32, 32)) is None
    assert fitted.native_depth((40, 50, 3)) is None


def test_native_depth_of_a_wide_picture_has_its_size_without_the_padding(tmp_path: Path) -> None:
    folder = ModestFolder(write_scenes(tmp_path / "data", 2, shape=(32, 64)))
    fitted = fit_references(folder, np.arange(12), 64, seed=1)
    depths = [folder.read(index).depth for index in range(12)]
    native = fitted.native_depth((32, 64, 3))
    assert native is not None
    np.testing.assert_allclose(native, np.mean(depths, axis=0) / 65535, atol=1e-6)


@pytest.mark.parametrize("labelled", [True, False])
def test_saved_references_come_back(labelled: bool, fitted: References, tmp_path: Path) -> None:
    references = fitted if labelled else References(12, None)
    references.save(tmp_path / "references.npz")
    loaded = References.load(tmp_path / "references.npz")
    assert loaded.threshold == references.threshold
    assert np.array_equal(loaded.mean_depth, references.mean_depth) if labelled else loaded.mean_depth is None


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 no archive", b"text"])
def test_damaged_file_is_named_in_a_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "references.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{path}: cannot be read [^\n]*damaged$"):
        References.load(path)


def huge() -> bytes:
    """The head of an array of more bytes than there are."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": (1_000_000, 1_000_000_000)}
    )
    return head.getvalue()


def as_npy(array: object) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


MEAN_DEPTH = as_npy(np.zeros((32, 32), np.float32))


@pytest.mark.parametrize(
    ("mean_depth", "threshold", "compression"),
    [
        (huge(), as_npy(12), ZIP_STORED),
        (b"\x93NUMPY\x01\0\x03\0(((", as_npy(12), ZIP_STORED),
        (as_npy(np.zeros((32, 32))), as_npy(12), ZIP_STORED),
        (as_npy(np.zeros(32, np.float32)), as_npy(12), ZIP_STORED),
        (MEAN_DEPTH, as_npy([1, 2]), ZIP_STORED),
        (MEAN_DEPTH, as_npy(np.nan), ZIP_STORED),
        (MEAN_DEPTH, as_npy(12), ZIP_DEFLATED),
    ],
    ids=["huge", "head", "type", "shape", "two thresholds", "no threshold", "compressed"],
)
def test_foreign_arrays_are_refused(mean_depth: bytes, threshold: bytes, compression: int, tmp_path: Path) -> None:
    path = tmp_path / "references.npz"
    with ZipFile(path, "w", compression) as archive:
        archive.writestr("mean_depth.npy", mean_depth)
        archive.writestr("threshold.npy", threshold)
    with pytest.raises(UserError, match=rf"^{path}: cannot be read [^\n]*damaged$"):
        References.load(path)
