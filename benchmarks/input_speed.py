"""Input: from files to augmented, normalised batches, as the report did it and from a pack.

    python benchmarks/input_speed.py museum

Both sides have one thread and no helping process, and both give what the network takes: batches of 128 at 96x96 with
the report's augmentation. The report's way: four JPEGs an item read with Pillow, resized one by one, augmented one by
one.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from cleanplate.data.augment import augment_
from cleanplate.data.modest import FIELDS, FOLDERS, ModestFolder
from cleanplate.data.opening import open_data
from cleanplate.data.packing import pack
from cleanplate.data.source import shuffled
from cleanplate.data.statistics import normalisation_of
from cleanplate.models.ready import Normalise
from cleanplate.recipes import load_recipe
from cleanplate.train.compute import keep_freed_memory

SIZE, BATCH, ITEMS, ROUNDS = 96, 128, 1024, 5


def write_jpegs(museum: Path, folder: Path) -> Path:
    """Write the first items of a data set as the report had them: JPEG throughout, in MODEST Museum's layout."""
    source = ModestFolder(museum)
    for field in FIELDS:
        (folder / FOLDERS[field][0]).mkdir(parents=True)
    lines = []
    for item in range(min(ITEMS, len(source))):
        names = [source.name(item, field) for field in FIELDS]
        for field, name, picture in zip(FIELDS, names, source.read(item), strict=True):
            path = folder / FOLDERS[field][0] / f"{name}.jpeg"
            if picture is not None and not path.exists():
                grey = (picture >> 8).astype(np.uint8) if field == "depth" else picture
                Image.fromarray(grey).save(path, quality=95)
        lines.append("\t".join(names) + "\n")
    (folder / "file_map.txt").write_text("".join(lines))
    return folder


class OneByOne(torch.utils.data.Dataset):
    """The report's way, as a data set of torch's."""

    def __init__(self, folder: ModestFolder) -> None:
        self.folder, self.normalisation = folder, normalisation_of(folder)
        self.augmentation = load_recipe("report-rmse-bce-dice").augmentation
        self.rng = np.random.default_rng(1)

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, ...]:
        pictures = []
        for field, path in self.folder.files(item).items():
            with Image.open(path) as file:
                picture = file.convert("RGB" if field in FIELDS[:2] else "L").resize((SIZE, SIZE), Image.BILINEAR)
            if field not in FIELDS[:2]:
                pictures.append(torch.from_numpy(np.array(picture, np.float32) / 255)[None])
                continue
            statistic = getattr(self.normalisation, field)
            values = (self._augmented(picture) - np.float32(statistic.mean)) / np.float32(statistic.std)
            pictures.append(torch.from_numpy(values.transpose(2, 0, 1).copy()))
        return tuple(pictures)

    def _augmented(self, picture: Image.Image) -> np.ndarray:
        hsv, contrast = self.augmentation.hue_saturation_value, self.augmentation.contrast
        assert hsv
        assert contrast
        values = np.array(picture)
        if self.rng.random() < hsv.probability:  # as albumentations does it, 8 bits throughout
            shifts = self.rng.uniform(-1, 1, 3) * (hsv.hue, hsv.saturation, hsv.value)
            shifted = cv2.cvtColor(values, cv2.COLOR_RGB2HSV).astype(np.int16) + shifts.astype(np.int16)
            shifted[..., 0] %= 180
            values = cv2.cvtColor(shifted.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB)
        shares = values.astype(np.float32) / 255
        if self.rng.random() < contrast.probability:
            shares = (shares * self.rng.uniform(1 - contrast.limit, 1 + contrast.limit)).clip(0, 1)
        return shares.astype(np.float32)


def report_batches(folder: Path) -> Iterator[int]:
    """Make batches the report's way without end, and yield how many items each has."""
    data = OneByOne(ModestFolder(folder))
    while True:
        for plate, *_ in torch.utils.data.DataLoader(data, BATCH, shuffle=True):
            yield len(plate)


def packed_batches(folder: Path) -> Iterator[int]:
    """Make batches from a pack without end, and yield how many items each has."""
    data, augmentation = open_data(folder), load_recipe("report-rmse-bce-dice").augmentation
    statistics_ = normalisation_of(data)
    normalise_plate, normalise_frame = (Normalise(x.mean, x.std) for x in (statistics_.plate, statistics_.frame))
    epoch = 0
    while True:
        order = shuffled(np.arange(len(data)), 1, epoch)
        for start in range(0, len(order), BATCH):
            batch = data.batch(order[start : start + BATCH].tolist(), SIZE, 1, epoch).as_float()
            indices = batch.indices.tolist()
            augment_(batch.plate, batch.frame, augmentation, seed=1, epoch=epoch, indices=indices)
            normalise_plate(batch.plate), normalise_frame(batch.frame)
            yield len(indices)
        epoch += 1


def measure(museum_folder: Path | str, seconds: float = 60) -> tuple[float, float]:
    """Return items/s of the report's way and of ours, medians of turns A B A B that take so many seconds in all."""
    keep_freed_memory()
    threads, opencv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = write_jpegs(Path(museum_folder), Path(name) / "jpegs")
            pack(folder, sizes=[SIZE])
            ways = report_batches(folder), packed_batches(folder)
            for way in ways:
                next(way)
            rates: tuple[list[float], list[float]] = [], []
            for _ in range(ROUNDS):
                for way, found in zip(ways, rates, strict=True):
                    found.append(_rate(way, seconds / (2 * ROUNDS)))
            return statistics.median(rates[0]), statistics.median(rates[1])
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(opencv_threads)


def _rate(way: Iterator[int], seconds: float) -> float:
    items, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        items += next(way)
    return items / elapsed


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("museum", type=Path, help="a data set folder, as `cleanplate data museum` makes it")
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    baseline, ours = measure(arguments.museum, arguments.seconds)
    print(f"report's way {baseline:.0f} items/s, packed {ours:.0f} items/s: {ours / baseline:.1f} times")
    sys.exit(ours < 10 * baseline)


if __name__ == "__main__":
    main()
