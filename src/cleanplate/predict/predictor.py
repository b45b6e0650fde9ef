"""From a plate and a frame to mask and depth at the frame's own size: numpy and OpenCV only.

This is the one way from pictures to answers. What computes the network is a backend, which knows nothing of sizes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from cleanplate.errors import UserError
from cleanplate.pictures import Canvas, require_multiple


class Backend(Protocol):
    """Computes the network on canvases."""

    @property
    def size(self) -> int:
        """Pixels of the longer side that the network was trained at last."""

    def __call__(self, plates: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return masks and depths, `(B, H, W)` float32 of 0 to 1, of `(B, H, W, 3)` uint8 RGB plates and frames.

        H and W are multiples of 32; depths are None from a network that has none.
        """


class Answer(NamedTuple):
    """Mask and depth of a frame, at its own size."""

    mask: np.ndarray
    """`(H, W)` float32, 0 to 1: 1 where foreground."""
    depth: np.ndarray | None
    """`(H, W)` float32, 0 nearest to 1 farthest; None from a network without depth."""


class Predictor:
    """Predict mask and depth of frames.

    Args:
        backend: computes the network.
        size: pixels of the longer side that the network sees, a multiple of 32; that of its training when None.

    Example:
        answer = Predictor.load("runs/best").with_plate(plate)(frame)
    """

    def __init__(self, backend: Backend, size: int | None = None) -> None:
        self.backend = backend
        self.size = require_multiple(size or backend.size, "size")

    @classmethod
    def load(cls, weights: Path | str, size: int | None = None) -> "Predictor":
        """Load a run folder's best weights or a `.safetensors` file.

        Raises:
            UserError: there are no such weights, or they are damaged.
        """
        from cleanplate.predict.torch_backend import TorchBackend  # torch takes seconds to import

        return cls(TorchBackend.load(weights), size)

    def with_plate(self, plate: np.ndarray) -> Callable[[np.ndarray], Answer]:
        """Return a function from frames of the plate's scene to answers.

        Args:
            plate: `(H, W, 3)` uint8 RGB.

        Returns:
            `answer(frame)`, for frames `(H, W, 3)` uint8 RGB of the plate's aspect ratio, any size.
        """
        _require_rgb(plate, "plate")
        canvas = Canvas.tight(plate.shape, self.size)
        placed = canvas.place(plate)

        def answer(frame: np.ndarray) -> Answer:
            _require_rgb(frame, "frame")
            if Canvas.tight(frame.shape, self.size) != canvas:
                sizes = " and ".join(f"{picture.shape[1]}x{picture.shape[0]}" for picture in (plate, frame))
                raise UserError(f"plate and frame are {sizes}: not of one shape; take both with the same camera")
            masks, depths = self.backend(placed[None], canvas.place(frame)[None])
            depth = None if depths is None else canvas.take_back(depths[0], frame.shape)
            return Answer(canvas.take_back(masks[0], frame.shape), depth)

        return answer


def _require_rgb(picture: np.ndarray, what: str) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size or picture.dtype != np.uint8:
        raise UserError(f"{what}: expected (H, W, 3) uint8 RGB, got {picture.shape} {picture.dtype}")
