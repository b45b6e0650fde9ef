"""What a data set is like: means, deviations, foreground, depth, and a contact sheet."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel

from cleanplate.data.card import ChannelStatistics, Normalisation, write_card
from cleanplate.data.mixed import Mixed
from cleanplate.data.modest import ModestFolder
from cleanplate.data.opening import open_data
from cleanplate.data.source import DataSet, Pictures, Skipped, read_good
from cleanplate.errors import UserError
from cleanplate.pictures import require_picture_name, write_picture
from cleanplate.progress import track
from cleanplate.sheet import colour_depth, draw_sheet

SAMPLE = 2000
"""Statistics are taken over at most so many items, spread evenly over the data set."""
SHEET_ITEMS = 16
HISTOGRAM_BINS = 20


class GreyStatistics(BaseModel):
    """Mean and standard deviation of values of 0 to 1."""

    mean: float
    std: float


class Statistics(BaseModel):
    """What `cleanplate data stats` tells."""

    items: int
    sampled: int
    """How many items the figures below were taken over."""
    plates: int
    items_with_depth: int
    normalisation: Normalisation
    mask: GreyStatistics
    depth: GreyStatistics | None
    foreground_share: dict[str, float]
    """Of a frame's pixels: `mean`, `least`, `most`, and `empty`, the share of frames without any foreground."""
    depth_histogram: list[float] | None
    """Share of the pixels in each of 20 equal steps from 0 to 1."""
    contact_sheet: str | None = None


class _Item(NamedTuple):
    sums: dict[str, np.ndarray]
    """For each field, over the pixels: their number, the sum and the sum of squares of each channel."""
    foreground: float
    histogram: np.ndarray | None


def measure(folder: DataSet, skipped: Skipped | None = None) -> Statistics:
    """Measure a data set over a sample of its items.

    Args:
        folder: the data set.
        skipped: takes in the items that cannot be read; when None, the first one is the end.

    Raises:
        UserError: an item cannot be read.
    """

    def measure_item(index: int) -> _Item | None:
        item = read_good(folder, index, skipped)
        return _measure_item(item) if item else None

    indices = _sample(len(folder), SAMPLE)
    with ThreadPoolExecutor() as pool:
        measured = track(pool.map(measure_item, indices), len(indices), "measuring")
        items = [item for item in measured if item]
    if not items and skipped:
        raise UserError(f"{next(iter(skipped.faults.values()))}; none of {len(indices)} items looked at can be read")
    shares = np.array([item.foreground for item in items])
    histograms = [item.histogram for item in items if item.histogram is not None]
    plate, frame, mask, depth = (_pool(items, field) for field in ("plate", "frame", "mask", "depth"))
    if plate is None or frame is None or mask is None:
        raise AssertionError("a data set has items, and an item has these")
    return Statistics(
        items=len(folder),
        sampled=len(items),
        plates=len(np.unique(folder.plates())),
        items_with_depth=int(folder.labelled().sum()),
        normalisation=Normalisation(plate=_channels(*plate), frame=_channels(*frame)),
        mask=_grey(*mask),
        depth=_grey(*depth) if depth else None,
        foreground_share={
            "mean": float(shares.mean()),
            "least": float(shares.min()),
            "most": float(shares.max()),
            "empty": float((shares == 0).mean()),
        },
        depth_histogram=(np.sum(histograms, 0) / np.sum(histograms)).tolist() if histograms else None,
    )


def normalisation_of(folder: DataSet, skipped: Skipped | None = None, *, keep: bool = True) -> Normalisation:
    """Return the statistics a data set's pictures are normalised by: its card's, or measured now and put there.

    Those of mixed sources are those of each, in proportion to their items. `keep` writes what was measured into the
    folder.
    """
    if isinstance(folder, Mixed):
        first, *others = folder.sources  # whose items alone have the numbers that `skipped` knows them by
        found = [normalisation_of(first, skipped, keep=keep), *(normalisation_of(one, keep=keep) for one in others)]
        shares = [len(source) / len(folder) for source in folder.sources]
        return Normalisation(
            plate=_together([one.plate for one in found], shares), frame=_together([one.frame for one in found], shares)
        )
    if folder.card.normalisation is None:
        folder.card.normalisation = measure(folder, skipped).normalisation
        if keep:
            _keep(folder)
    return folder.card.normalisation


def stats(data: Path | str, *, sheet: Path | str | None = None) -> Statistics:
    """Measure a data set, keep its normalisation in its `dataset.yaml` and draw a contact sheet.

    Args:
        data: a data set folder.
        sheet: where to write the contact sheet; `contact_sheet.png` in the data set folder when None.

    Raises:
        UserError: the data set cannot be read.
    """
    if sheet:
        require_picture_name(Path(sheet), "--sheet")
    folder = open_data(data)
    statistics = measure(folder)
    folder.card.normalisation = statistics.normalisation
    _keep(folder)
    path = Path(sheet) if sheet else folder.path / "contact_sheet.png"
    write_picture(path, _contact_sheet([folder.read(index) for index in _sample(len(folder), SHEET_ITEMS)]))
    return statistics.model_copy(update={"contact_sheet": str(path)})


def _contact_sheet(items: list[Pictures]) -> np.ndarray:
    rows = [
        (item.plate, item.frame, item.mask, None if item.depth is None else colour_depth(item.depth / 65535))
        for item in items
    ]
    return draw_sheet(rows, ("plate", "frame", "mask", "depth"), across=2)


def _keep(folder: DataSet) -> None:
    if not isinstance(folder, ModestFolder):
        return  # plates are a user's pictures, and no data set
    with suppress(OSError):  # a data set that cannot be written to is measured again next time
        write_card(folder.path, folder.card)


def _sample(count: int, limit: int) -> list[int]:
    return np.linspace(0, count - 1, min(count, limit)).round().astype(int).tolist()


def _measure_item(item: Pictures) -> _Item:
    sums, histogram = {}, None
    for field, picture in item._asdict().items():
        if picture is not None:
            largest = np.iinfo(picture.dtype).max
            values = picture.reshape(picture.shape[0] * picture.shape[1], -1).astype(np.float64) / largest
            sums[field] = np.stack([np.full(values.shape[1], len(values)), values.sum(0), np.square(values).sum(0)])
    if item.depth is not None:
        histogram = np.histogram(item.depth, HISTOGRAM_BINS, (0, 65535))[0]
    return _Item(sums, float((item.mask >= 128).mean()), histogram)


def _pool(items: list[_Item], field: str) -> tuple[np.ndarray, np.ndarray] | None:
    sums = [item.sums[field] for item in items if field in item.sums]
    if not sums:
        return None
    count, total, squares = np.sum(sums, 0)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 1e-12))


def _together(parts: Sequence[ChannelStatistics], shares: Sequence[float]) -> ChannelStatistics:
    """Return mean and deviation of all pictures, of which each part is such a share."""
    means, deviations = (np.array([getattr(part, key) for part in parts]) for key in ("mean", "std"))
    mean = np.average(means, 0, shares)
    return _channels(mean, np.sqrt(np.average(deviations**2 + means**2, 0, shares) - mean**2))


def _channels(mean: np.ndarray, std: np.ndarray) -> ChannelStatistics:
    # one colour throughout has no deviation, and a picture is divided by it
    return ChannelStatistics(mean=tuple(mean.round(5).tolist()), std=tuple(std.round(5).clip(1e-5).tolist()))


def _grey(mean: np.ndarray, std: np.ndarray) -> GreyStatistics:
    return GreyStatistics(mean=round(float(mean[0]), 5), std=round(float(std[0]), 5))
