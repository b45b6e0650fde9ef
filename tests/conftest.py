"""Synthetic pictures, drawn by code, and a small data set composed of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scenes import PLAIN, write_scenes

from cleanplate.data.compose import compose
from cleanplate.device import bfloat16_is_faster
from cleanplate.fused.build import load_kernels
from cleanplate.pictures import write_picture
from cleanplate.predict.packed import _tiles_are_faster
from cleanplate.recipe import AdamW, Phase, Recipe
from cleanplate.train.compute import _fastest
from cleanplate.train.fit import train

torch.set_num_threads(1)  # networks this small gain nothing from more


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Bits follow from the number of threads, and whoever goes on with a run takes up that run's."""
    yield
    torch.set_num_threads(1)


@pytest.fixture
def nothing_known() -> Iterator[None]:
    """Let what a process finds out once be found out anew, in the test and after it: kernels, precision, trials."""
    found = (load_kernels, bfloat16_is_faster, _tiles_are_faster, _fastest)
    for function in found:
        function.cache_clear()
    yield
    for function in found:
        function.cache_clear()


def draw_plate(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a scene of random shapes, `(H, W, 3)` uint8 RGB."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = np.linspace(rng.integers(60, 120, 3), rng.integers(120, 200, 3), height)[:, None]
    for _ in range(8):
        corner, size = rng.integers(0, (width, height)), rng.integers(4, 24, 2)
        cv2.rectangle(picture, corner.tolist(), (corner + size).tolist(), rng.integers(0, 256, 3).tolist(), -1)
    return cv2.GaussianBlur(picture, (3, 3), 0)


def draw_cutout(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a head on a body, soft at the edges, `(H, W, 4)` uint8 RGBA."""
    alpha = np.zeros((height, width), np.uint8)
    cv2.circle(alpha, (width // 2, height // 5), width // 4, 255, -1, cv2.LINE_AA)
    cv2.ellipse(alpha, (width // 2, height), (width // 2 - 2, height * 2 // 3), 0, 180, 360, 255, -1, cv2.LINE_AA)
    return np.dstack([draw_plate(rng, height, width), alpha])


@pytest.fixture(scope="session")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six square plates of several sizes, JPEG and PNG; the first three have a depth map."""
    folder, rng = tmp_path_factory.mktemp("plates"), np.random.default_rng(1)
    (folder / "depth").mkdir()
    for number in range(6):
        size = (64, 80, 112)[number % 3]
        write_picture(folder / f"room {number}.{'jpg' if number % 2 else 'png'}", draw_plate(rng, size, size))
        if number < 3:
            depth = np.linspace(60000, 5000 * (number + 1), size).astype(np.uint16)[:, None].repeat(size, 1)
            write_picture(folder / "depth" / f"room {number}.png", depth)
    return folder


@pytest.fixture(scope="session")
def cutouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cutouts of several sizes."""
    folder, rng = tmp_path_factory.mktemp("cutouts"), np.random.default_rng(2)
    for number, (height, width) in enumerate([(60, 30), (90, 36), (48, 48), (150, 70)]):
        write_picture(folder / f"person {number}.png", draw_cutout(rng, height, width))
    return folder


@pytest.fixture(scope="session")
def dataset(plates: Path, cutouts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 items of 64x64, half of them with depth; not to be changed."""
    folder = tmp_path_factory.mktemp("dataset") / "composed"
    compose(plates, cutouts, folder, size=64, places=2, scale=(0.4, 0.9), people=2, workers=1)
    return folder


@pytest.fixture
def own_dataset(dataset: Path, tmp_path: Path) -> Path:
    """A copy of `dataset` that a test may change."""
    return Path(shutil.copytree(dataset, tmp_path / "composed"))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 items of 64x64 with metric depth that are learned within seconds; not to be changed."""
    return write_scenes(tmp_path_factory.mktemp("scenes") / "scenes")


@pytest.fixture(scope="session")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a dsresnet trained on `scenes`: two epochs at 32, one at 64; not to be changed."""
    recipe = Recipe(
        name="tiny",
        optimizer=AdamW(name="adamw", lr=0.003),
        phases=(Phase(size=32, epochs=2, batch_size=4), Phase(size=64, epochs=1, batch_size=6)),
        previews=5,
        compute=PLAIN,
    )
    return Path(train(recipe, scenes, run=tmp_path_factory.mktemp("runs") / "tiny").run)
