"""From a plate and a frame to mask and depth at the frame's own size: numpy and OpenCV only.

This is the one way from pictures to answers. What computes the network is a backend, which knows nothing of sizes.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from cleanplate.errors import UserError
from cleanplate.pictures import Canvas, require_multiple, resize
from cleanplate.predict.edges import follow_edges, make_guide


class Backend(Protocol):
    """Computes the network on canvases, whose height and width are multiples of 32.

    What hangs on the plate alone is computed once: `kept = backend.keep_plates(plates)`, then `backend(kept, frames)`
    for any number of frames.
    """

    @property
    def size(self) -> int:
        """Pixels of the longer side that the network was trained at last."""

    @property
    def metres(self) -> tuple[float, float] | None:
        """What depth 0 and depth 1 are in metres; None where depth is relative, or there is none."""

    def keep_plates(self, plates: np.ndarray) -> Any:
        """Return of `(B, H, W, 3)` uint8 RGB plates what the network needs of them; only the backend knows what."""

    def __call__(self, kept_plates: Any, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return masks and depths, `(B, H, W)` float32 of 0 to 1, of `(B, H, W, 3)` uint8 RGB frames.

        The plates are as many as the frames, or one for all of them; depths are None from a network that has none.
        """

    def side_by_side(self) -> AbstractContextManager[None]:
        """Let calls come from several threads at once, each on one core where that can be set."""


class Answer(NamedTuple):
    """Mask and depth of a frame, at its own size."""

    mask: np.ndarray
    """`(H, W)` float32, 0 to 1: 1 where foreground."""
    depth: np.ndarray | None
    """`(H, W)` float32, 0 nearest to 1 farthest; None from a network without depth."""


class OnCanvas(NamedTuple):
    """What the network was given and said, as small as it is."""

    frame: np.ndarray
    """The frame on the canvas, `(h, w, 3)` uint8 RGB."""
    answer: Answer
    """As `Answer`, of the canvas."""


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
        self.size = require_multiple(backend.size if size is None else size, "size")

    @classmethod
    def load(cls, weights: Path | str, size: int | None = None, *, exact: bool = False) -> "Predictor":
        """Load a run folder's best weights, a `.safetensors` file, or an `.onnx` file, which needs no torch.

        Args:
            weights: where they are; `general` are the package's own.
            size: as the class takes it.
            exact: compute in float32, with answers that do not depend on what is fastest on this machine; `.onnx` is
                always so.

        Raises:
            UserError: there are no such weights, they are damaged, or what computes them is not installed.
        """
        if Path(weights).suffix == ".onnx":
            from cleanplate.predict.onnx_backend import OnnxBackend

            return cls(OnnxBackend.load(weights), size)
        try:
            from cleanplate.predict.torch_backend import TorchBackend  # torch takes seconds to import
        except ModuleNotFoundError as error:
            mend = f"install {error.name}, or use an .onnx file of `cleanplate export`"
            raise UserError(f"{weights}: cannot be loaded without {error.name}; {mend}") from None
        return cls(TorchBackend.load(weights, exact), size)

    def with_plate(self, plate: np.ndarray) -> "Scene":
        """Return what answers frames of the plate's scene.

        Args:
            plate: `(H, W, 3)` uint8 RGB.
        """
        return Scene(self, plate)


class Scene:
    """Answers frames of the scene that a plate shows; what hangs on the plate alone is computed once.

    Args:
        predictor: whose network it is.
        plate: `(H, W, 3)` uint8 RGB.
    """

    def __init__(self, predictor: Predictor, plate: np.ndarray) -> None:
        _require_rgb(plate, "plate")
        self.predictor, self.plate = predictor, plate
        self._canvas = Canvas.tight(plate.shape, predictor.size)
        self._sized_plate = plate
        self._small_plate = self._canvas.place(plate)
        self._kept_plate = predictor.backend.keep_plates(self._small_plate[None])

    def __call__(self, frame: np.ndarray) -> Answer:
        """Return mask and depth of a frame, `(H, W, 3)` uint8 RGB of the plate's aspect ratio, any size."""
        return self.many([frame])[0]

    def many(self, frames: Sequence[np.ndarray]) -> list[Answer]:
        """Return the answers of several frames, which the network takes as one batch."""
        on_canvas = self.on_canvas(frames)
        return [self.at_own_size(answer, frame) for answer, frame in zip(on_canvas, frames, strict=True)]

    def on_canvas(self, frames: Sequence[np.ndarray]) -> list[OnCanvas]:
        """Return what the network says of frames, as small as it is; `at_own_size` is the other half of an answer."""
        for frame in frames:
            _require_rgb(frame, "frame")
            if Canvas.tight(frame.shape, self.predictor.size) != self._canvas:
                sizes = " and ".join(f"{picture.shape[1]}x{picture.shape[0]}" for picture in (self.plate, frame))
                raise UserError(f"plate and frame are {sizes}: not of one shape; take both with the same camera")
        placed = np.stack([self._canvas.place(frame) for frame in frames])
        masks, depths = self.predictor.backend(self._kept_plate, placed)
        answers = [Answer(mask, None if depths is None else depths[number]) for number, mask in enumerate(masks)]
        return [OnCanvas(small, answer) for small, answer in zip(placed, answers, strict=True)]

    def at_own_size(self, on_canvas: OnCanvas, frame: np.ndarray) -> Answer:
        """Return an answer at the frame's own size; where that is larger than the canvas, edges follow the frame."""
        answers = [answer for answer in on_canvas.answer if answer is not None]
        if frame.shape[0] <= self._canvas.inner_height:
            mask, *depth = (self._canvas.take_back(answer, frame.shape) for answer in answers)
            return Answer(mask, depth[0] if depth else None)
        inner = slice(self._canvas.inner_height), slice(self._canvas.inner_width)
        small_guide = make_guide(on_canvas.frame[inner], self._small_plate[inner])
        guide = make_guide(frame, self._plate_at(frame.shape))
        mask, *depth = follow_edges([answer[inner] for answer in answers], small_guide, guide)
        return Answer(mask, depth[0] if depth else None)

    def _plate_at(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the plate at a frame's size; that of the last frame is kept, which may be another thread's.

        Only one that is no larger than the plate is: who keeps many scenes counts on their plates' sizes.
        """
        sized = self._sized_plate
        if sized.shape != shape:
            sized = resize(self.plate, *shape[:2])
            if sized.size < self.plate.size:
                self._sized_plate = sized
        return sized


def _require_rgb(picture: np.ndarray, what: str) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3 or not picture.size or picture.dtype != np.uint8:
        raise UserError(f"{what}: expected (H, W, 3) uint8 RGB, got {picture.shape} {picture.dtype}")
