"""Footage with masks, drawn by code: a bright rectangle that fades into the wall at its foot walks by."""

from pathlib import Path

import cv2
import numpy as np
from scenes import draw_wall

from cleanplate.pictures import write_picture

SHAPE = (64, 96)
DOUBT = 170


def draw_shot(number: int, shape: tuple[int, int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Return a frame `(H, W, 3)` uint8 RGB and its mask `(H, W)`: 255 somebody, 170 one pixel around, 0 elsewhere."""
    height, width = shape
    frame, mask = draw_wall(1, shape), np.zeros(shape, np.uint8)
    corner = 4 + 9 * number % (width - 24), height // 4
    end = corner[0] + 14, height - 8
    cv2.rectangle(mask, (corner[0] - 1, corner[1] - 1), (end[0] + 1, end[1] + 1), DOUBT, -1)
    cv2.rectangle(mask, corner, end, 255, -1)
    cv2.rectangle(frame, corner, end, (230, 200, 180), -1)
    legs = slice(height // 2, end[1] + 1), slice(corner[0], end[0] + 1)
    darker = np.linspace(120, 0, legs[0].stop - legs[0].start)[:, None, None]
    frame[legs] = draw_wall(1, shape)[legs] + darker.astype(np.uint8)
    noise = np.random.default_rng(number).integers(-3, 4, frame.shape)
    return (frame + noise).clip(0, 255).astype(np.uint8), mask


def write_footage(folder: Path, count: int = 6, *, distributed: bool = False, plate: bool = True) -> Path:
    """Write a sequence, as `frames/` and `masks/`, or in the layout in which CDnet is `distributed`."""
    for number in range(1, count + 1):
        frame, mask = draw_shot(number)
        if distributed:
            names = f"input/in{number:06d}.png", f"groundtruth/gt{number:06d}.png"
        else:
            names = f"frames/{number:03d}.png", f"masks/{number:03d}.png"
        for name, picture in zip(names, (frame, mask), strict=True):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_picture(folder / name, picture)
    if plate:
        write_picture(folder / "plate.png", draw_wall(1, SHAPE))
    return folder
