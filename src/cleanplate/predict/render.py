"""What is made of a frame and its answer, to be written as pictures and as video."""

from pathlib import Path

import cv2
import numpy as np

from cleanplate.errors import UserError
from cleanplate.pictures import read_rgb, resize


def render_mask(mask: np.ndarray) -> np.ndarray:
    """Return a mask `(H, W)` of 0 to 1 as uint8, 255 foreground."""
    return cv2.convertScaleAbs(mask, alpha=255)


def render_cutout(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the frame `(H, W, 3)` uint8 RGB with its mask as alpha, `(H, W, 4)` uint8 RGBA."""
    return cv2.merge([*cv2.split(frame), render_mask(mask)])


def put_onto(frame: np.ndarray, mask: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return the foreground of `frame` on `background`, all `(H, W, 3)` uint8 RGB."""
    return cv2.blendLinear(frame, background, mask, 1 - mask)


class Background:
    """What foregrounds are put on.

    Args:
        given: a picture, or a colour such as `#00ff00`.

    Raises:
        UserError: it is neither.
    """

    def __init__(self, given: str) -> None:
        if given.startswith("#"):
            try:
                red, green, blue = bytes.fromhex(given[1:])
            except ValueError:
                raise UserError(f"--onto {given}: not a colour; write six hex digits, such as #00ff00") from None
            self._picture = np.array([[[red, green, blue]]], np.uint8)
        else:
            self._picture = read_rgb(Path(given))
        self._sized = self._picture

    def at(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the background for a frame of `shape` (H, W, ...): filled by its middle, cut where it is too long."""
        height, width = shape[:2]
        if self._sized.shape[:2] != (height, width):
            own_height, own_width = self._picture.shape[:2]
            cut_height = min(own_height, max(1, round(own_width * height / width)))
            cut_width = min(own_width, max(1, round(own_height * width / height)))
            top, left = (own_height - cut_height) // 2, (own_width - cut_width) // 2
            cut = self._picture[top : top + cut_height, left : left + cut_width]
            self._sized = np.ascontiguousarray(resize(cut, height, width))
        return self._sized
