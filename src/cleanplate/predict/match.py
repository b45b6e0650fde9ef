"""How well a plate matches a frame: whether both show one view."""

from typing import Literal, NamedTuple

import cv2
import numpy as np

from cleanplate.pictures import Canvas
from cleanplate.progress import say

SIZE = 160
"""Pixels of the longer side at which plate and frame are compared."""
TOO_FEW = 0.5
"""Share of blocks below which a plate hardly matches; docs/use.md has what views give."""
BLOCKS = 16
"""Blocks along the longer side."""
ALIKE = 0.5
"""Correlation from which a block of plate and frame shows the same."""
PLAIN = 4.0
"""Deviation, of 255, up to which a block has nothing to be known by."""


def share_found(plate: np.ndarray, frame: np.ndarray) -> float | None:
    """Return the share of the plate's blocks that are found again in the frame at their place.

    A block, a sixteenth of the longer side, is found where the grey values of both correlate by 0.5 or more, which
    neither exposure nor gain change. People hide blocks; a plate of another view has next to none found.

    Args:
        plate: `(H, W, 3)` uint8 RGB.
        frame: as plate.

    Returns:
        0 to 1; None where every block of the plate is plain.
    """
    height, width = plate.shape[:2]
    side = max(4, max(height, width) // BLOCKS)
    rows, columns = height // side, width // side
    if not rows or not columns:
        return None
    blocks = []
    for picture in (plate, frame):
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[: rows * side, : columns * side].astype(np.float32)
        pixels = grey.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows * columns, -1)
        blocks.append(pixels - pixels.mean(axis=1, keepdims=True))
    first, second = blocks
    deviations = first.std(axis=1), second.std(axis=1)
    known = deviations[0] > PLAIN
    if not known.any():
        return None
    correlation = (first * second).mean(axis=1) / np.maximum(deviations[0] * deviations[1], 1e-6)
    return float((correlation[known] >= ALIKE).mean())


class PlateWarning(NamedTuple):
    """What a plate and a frame have against one another."""

    kind: Literal["size", "match"]
    text: str
    """One line, with the measure."""


class PlateMatch:
    """Tells whether a plate is of a frame's size, and matches it.

    Args:
        plate: `(H, W, 3)` uint8 RGB.
    """

    def __init__(self, plate: np.ndarray) -> None:
        self._shape = plate.shape
        self._canvas = Canvas.tight(plate.shape, SIZE)
        self._small = self._canvas.place(plate)

    def warnings(self, frame: np.ndarray) -> list[PlateWarning]:
        """Return what there is to be said of a frame of the plate's aspect ratio, `(H, W, 3)` uint8 RGB."""
        warnings = []
        if frame.shape != self._shape:
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (self._shape, frame.shape)]
            text = f"the plate is {sizes[0]} and the frame {sizes[1]}; the plate is resized to it"
            warnings.append(PlateWarning("size", text))
        found = share_found(self._small, self._canvas.place(frame))
        if found is not None and found < TOO_FEW:
            text = (
                f"only {found:.0%} of the plate's blocks are found again in this frame, and of a plate of the same "
                f"view {TOO_FEW:.0%} and more are: the camera has moved, or people fill the picture; answers will be "
                "poor with this plate"
            )
            warnings.append(PlateWarning("match", text))
        return warnings


class PlateWatch:
    """Tells the user of each kind of warning once a run.

    Args:
        plate: `(H, W, 3)` uint8 RGB.
    """

    def __init__(self, plate: np.ndarray) -> None:
        self._match = PlateMatch(plate)
        self._told: set[str] = set()

    def look_at(self, frame: np.ndarray, name: str) -> None:
        """Look at a frame of the plate's aspect ratio, and warn under its name where there is cause."""
        for warning in self._match.warnings(frame):
            if warning.kind not in self._told:
                self._told.add(warning.kind)
                say(f"warning: {name}: {warning.text}")
