"""Masks and depths of large frames: edges that follow the frame beside the network's canvas merely enlarged.

cleanplate data museum hd --rooms 12 --figures 12 --frames 2 --size 1024 --seed 77
python benchmarks/edges.py --weights runs/first --data hd --sizes 96 224
"""

import argparse

import cv2
import numpy as np

from cleanplate import Predictor
from cleanplate.data.modest import ModestFolder

FARTHEST = 50
"""Pixels that a piece of an outline is at most counted to be off."""


def outline(mask: np.ndarray) -> np.ndarray:
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0


def outline_distance(mask: np.ndarray, truth: np.ndarray) -> float:
    """Return how far both outlines lie from one another, in pixels, the mean of both ways."""
    ours, true = outline(mask), outline(truth)
    to_ours, to_true = (cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, 5) for line in (ours, true))
    ways = to_true[ours] if ours.any() else np.array([FARTHEST]), to_ours[true]
    return float(np.mean([np.minimum(way, FARTHEST).mean() for way in ways]))


def figures(mask: np.ndarray, depth: np.ndarray, true_mask: np.ndarray, true_depth: np.ndarray) -> list[float]:
    ours, truth = mask > 0.5, true_mask > 127
    return [
        (ours & truth).sum() / (ours | truth).sum(),
        outline_distance(ours, truth),
        np.abs(mask - true_mask / 255).mean(),
        np.sqrt(np.square(depth - true_depth / 65535).mean()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224], help="pixels that the network sees")
    options = parser.parse_args()
    folder = ModestFolder(options.data)
    print("| network sees | answer | IoU | outline off by (pixels) | MAE of mask | RMSE of depth |")
    print("|---|---|---|---|---|---|")
    for size in options.sizes:
        predictor = Predictor.load(options.weights, size)
        enlarged, followed = [], []
        for index in range(len(folder)):
            item = folder.read(index)
            if item.mask.max() < 128:
                continue
            scene = predictor.with_plate(item.plate)
            (small,) = scene.on_canvas([item.frame])
            large = scene.at_own_size(small, item.frame)
            square = item.frame.shape[1::-1]
            enlarged.append(figures(*(cv2.resize(part, square) for part in small.answer), item.mask, item.depth))
            followed.append(figures(*large, item.mask, item.depth))
        for name, rows in (("enlarged", enlarged), ("edges followed", followed)):
            iou, off, mae, rmse = np.mean(rows, axis=0)
            print(f"| {size} | {name} | {iou:.3f} | {off:.2f} | {mae:.4f} | {rmse:.4f} |")
    print(f"{len(followed)} frames of {options.data} with people in them")


if __name__ == "__main__":
    main()
