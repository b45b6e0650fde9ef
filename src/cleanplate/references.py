"""Two answers without learning, which a network has to beat.

Masks by a thresholded difference of frame and plate, depth by the mean depth map of the training items. Both are fitted
on training items and kept in the run folder.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cleanplate.data.source import Batch, BatchLoader, DataSet, Skipped
from cleanplate.errors import UserError
from cleanplate.files import is_compressed, require_file, write_bytes
from cleanplate.pictures import Canvas

SAMPLE = 500
"""They are fitted on at most so many training items."""
GROUP = 50


@dataclass(frozen=True)
class References:
    """The fitted references."""

    threshold: int
    """The difference, of 255, above which a pixel is called foreground: the one of best mean IoU in training."""
    mean_depth: np.ndarray | None
    """`(S, S)` float32, 0 nearest to 1 farthest; None where no training item has a depth label."""

    def mask(self, plates: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Return `(B, H, W)` float32 masks, 0 or 1, of `(B, H, W, 3)` uint8 plates and frames."""
        opened = [open_mask(difference(p, f) > self.threshold) for p, f in zip(plates, frames, strict=True)]
        return np.stack(opened).astype(np.float32)

    def depth(self, count: int, shape: tuple[int, int]) -> np.ndarray | None:
        """Return the mean depth map `count` times, `(count, H, W)` float32, at the shape asked for."""
        if self.mean_depth is None:
            return None
        resized = cv2.resize(self.mean_depth, shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.repeat(resized[None], count, 0)

    def native_depth(self, picture_shape: tuple[int, ...]) -> np.ndarray | None:
        """Return the mean depth map at the size of a picture of this shape, `(H, W)` float32."""
        if self.mean_depth is None:
            return None
        return Canvas.square(picture_shape, len(self.mean_depth)).take_back(self.mean_depth, picture_shape)

    def save(self, path: Path) -> None:
        """Write them as `.npz`."""
        buffer = io.BytesIO()
        depth = np.zeros((0, 0), np.float32) if self.mean_depth is None else self.mean_depth
        np.savez(buffer, threshold=self.threshold, mean_depth=depth)
        write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> "References":
        """Read them back.

        Raises:
            UserError: the file is missing or damaged.
        """
        require_file(path, "cannot be read (missing); the run folder is damaged")
        try:
            if is_compressed(path):
                raise ValueError("compressed")
            with np.load(path, allow_pickle=False) as content:
                threshold, depth = int(content["threshold"]), content["mean_depth"]
            if depth.ndim != 2 or depth.dtype != np.float32:
                raise ValueError(f"mean_depth is {depth.dtype} of {depth.ndim} dimensions")
            return cls(threshold, depth if depth.size else None)
        except Exception as error:  # a foreign file fails in as many ways as there are foreign files
            raise UserError(f"{path}: cannot be read ({error}); the run folder is damaged") from None


def difference(plate: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return the largest channel difference `(H, W)` uint8 of `(H, W, 3)` pictures, each blurred by one pixel."""
    return cv2.absdiff(cv2.GaussianBlur(plate, (0, 0), 1), cv2.GaussianBlur(frame, (0, 0), 1)).max(2)


def fit_references(
    folder: DataSet, train: np.ndarray, size: int, seed: int, skipped: Skipped | None = None
) -> References:
    """Fit both references on a sample of the training items.

    Args:
        folder: the data set.
        train: the training items' numbers.
        size: pixels a side to look at them.
        seed: draws the sample.
        skipped: takes in the items that cannot be read; when None, the first one is the end.
    """
    chosen = np.random.default_rng([seed, size]).permutation(train)[:SAMPLE]
    thresholds = np.arange(2, 128, 2)
    scores = np.zeros(len(thresholds))
    depth_sum, depth_count = np.zeros((size, size)), 0
    for batch in BatchLoader(folder, chosen, size=size, batch_size=GROUP, seed=seed, skipped=skipped):
        scores += _scores(batch, thresholds)
        depth_sum += batch.depth[batch.has_depth].sum((0, 1)).numpy()
        depth_count += int(batch.has_depth.sum())
    mean_depth = (depth_sum / depth_count).astype(np.float32) if depth_count else None
    return References(int(thresholds[scores.argmax()]), mean_depth)


def _scores(batch: Batch, thresholds: np.ndarray) -> np.ndarray:
    """Return for each threshold the sum of the items' IoU."""
    plates, frames = (pictures.permute(0, 2, 3, 1).numpy() for pictures in (batch.plate, batch.frame))
    truths = batch.mask[:, 0].numpy() >= 0.5
    valids = np.ones_like(truths) if batch.valid is None else batch.valid[:, 0].numpy()
    scores = np.zeros(len(thresholds))
    for plate, frame, truth, valid in zip(plates, frames, truths, valids, strict=True):
        far = difference(np.ascontiguousarray(plate), np.ascontiguousarray(frame))
        counts = sweep(far, truth & valid, ~truth & valid, thresholds)
        union = counts.sum(1)
        scores += np.where(union > 0, counts[:, 0] / np.maximum(union, 1), 1.0)
    return scores


def sweep(far: np.ndarray, foreground: np.ndarray, background: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return what `count` says of the mask where the difference `far` is above each threshold, opened, `(T, 3)`."""
    return np.stack([count(open_mask(far > threshold) > 0, foreground, background) for threshold in thresholds])


def count(mask: np.ndarray, foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return how many pixels of a mask are rightly and wrongly foreground, and how many it misses, `(3,)`; bool all."""
    right = np.count_nonzero(mask & foreground)
    return np.array([right, np.count_nonzero(mask & background), np.count_nonzero(foreground) - right])


def open_mask(mask: np.ndarray) -> np.ndarray:
    """Return a bool mask, uint8 of 0 or 1, with specks thinner than three pixels gone."""
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
