"""What the API computes: the bytes of pictures in, answers out; nothing here knows of HTTP."""

import time
from base64 import b64encode
from enum import StrEnum
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from cleanplate import __version__
from cleanplate.app.limits import Limits
from cleanplate.app.plates import KeptPlate
from cleanplate.errors import UserError
from cleanplate.pictures import PictureTooLargeError, decode_rgb, encode
from cleanplate.predict.predictor import Answer, Predictor
from cleanplate.predict.render import render_cutout, render_mask


class Output(StrEnum):
    """What is wanted of a frame; all but `json` are a PNG."""

    JSON = "json"
    MASK = "mask"
    DEPTH = "depth"
    CUTOUT = "cutout"
    MAPS = "maps"


class Metres(BaseModel):
    """What depth 0 and depth 1 are, in metres."""

    near: float
    far: float


class Model(BaseModel):
    """The network that answers."""

    weights: str = Field(description="The name of its run folder or file.")
    version: str = Field(description="Of cleanplate.")
    size: int = Field(description="Pixels of the longer side that the network sees.")
    depth: Literal["metric", "relative"] | None = Field(description="What depth means; null: this network has none.")
    metres: Metres | None = Field(description="Depth 0 and 1 in metres, where depth is metric.")


class Prediction(BaseModel):
    """Mask and depth of a frame, at its own size."""

    width: int
    height: int
    mask: str = Field(description="PNG of 8 bits in base64: 255 foreground.")
    depth: str | None = Field(description="PNG of 16 bits in base64: 0 nearest, 65535 farthest; null without depth.")
    metres: Metres | None = Field(description="Depth 0 and 65535 in metres, where depth is metric.")
    seconds: float = Field(description="That the computation took.")


class Service:
    """Answers with one network.

    Args:
        predictor: the network.
        name: what its weights are called on the page.
        limits: what pictures are taken.
    """

    def __init__(self, predictor: Predictor, name: str, limits: Limits) -> None:
        self._predictor, self._limits = predictor, limits
        blank = np.zeros((predictor.size, predictor.size, 3), np.uint8)
        answer = predictor.with_plate(blank)(blank)  # the first one takes longer, and nobody has to wait for it now
        ends = predictor.backend.metres
        metres = Metres(near=ends[0], far=ends[1]) if ends and answer.depth is not None else None
        meaning: Literal["metric", "relative"] = "metric" if metres else "relative"
        depth = None if answer.depth is None else meaning
        self.model = Model(weights=name, version=__version__, size=predictor.size, depth=depth, metres=metres)

    def prepare(self, plate: bytes) -> KeptPlate:
        """Make a plate, JPEG or PNG, ready for its frames.

        Raises:
            UserError: it cannot be read, or is too large.
        """
        picture = self._decode(plate, "plate")
        return KeptPlate(picture.shape[1], picture.shape[0], self._predictor.with_plate(picture))

    def predict(self, plate: KeptPlate, frame: bytes, output: Output) -> bytes:
        """Return JSON or a PNG, as `output` says, of a frame, JPEG or PNG.

        Raises:
            UserError: it cannot be read, is too large or not of the plate's shape, or the network has no such output.
        """
        if output is Output.DEPTH and self.model.depth is None:
            raise UserError("output: this network has no depth; ask for mask or cutout")
        start = time.perf_counter()
        picture = self._decode(frame, "frame")
        answer = plate.answer(picture)
        mask, depth = _to_integers(answer)
        match output:
            case Output.MASK:
                return encode(mask)
            case Output.CUTOUT:
                return encode(render_cutout(picture, answer.mask))
            case Output.MAPS:
                low, high = (np.zeros_like(mask),) * 2 if depth is None else (depth & 255, depth >> 8)
                # for programs near by, such as the page: time counts more than bytes
                return encode(np.dstack([mask, high, low]).astype(np.uint8), compression=0)
        depth_png = None if depth is None else encode(depth)
        if output is Output.DEPTH and depth_png:
            return depth_png
        prediction = Prediction(
            width=picture.shape[1],
            height=picture.shape[0],
            mask=b64encode(encode(mask)).decode(),
            depth=depth_png and b64encode(depth_png).decode(),
            metres=self.model.metres,
            seconds=round(time.perf_counter() - start, 4),
        )
        return prediction.model_dump_json().encode()

    def _decode(self, content: bytes, name: str) -> np.ndarray:
        picture = decode_rgb(content, name, self._limits.max_pixels)
        if max(picture.shape) > self._limits.max_side:
            size = f"{picture.shape[1]}x{picture.shape[0]}, and at most {self._limits.max_side:,} a side are taken"
            raise PictureTooLargeError(f"{name}: is {size}; save it smaller")
        return picture


def _to_integers(answer: Answer) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the mask as uint8 and the depth as uint16."""
    depth = None if answer.depth is None else (answer.depth * 65535).round().astype(np.uint16)
    return render_mask(answer.mask), depth
