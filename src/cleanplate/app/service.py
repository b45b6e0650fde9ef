"""What the API computes: the bytes of pictures in, answers out; nothing here knows of HTTP."""

import time
from base64 import b64encode
from enum import StrEnum
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, Field

from cleanplate import __version__
from cleanplate.app.limits import Limits
from cleanplate.app.plates import KeptPlate
from cleanplate.errors import UserError
from cleanplate.pictures import PictureTooLargeError, decode_rgb, encode
from cleanplate.predict.match import PlateMatch, PlateWarning
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


class Doubt(BaseModel):
    """Why the plate may not suit the frame."""

    kind: Literal["size", "match"] = Field(
        description="size: plate and frame are not of one size. match: they hardly show one view."
    )
    text: str = Field(description="One line, with the measure.")


class Prediction(BaseModel):
    """Mask and depth of a frame, at its own size."""

    width: int
    height: int
    mask: str = Field(description="PNG of 8 bits in base64: 255 foreground.")
    depth: str | None = Field(description="PNG of 16 bits in base64: 0 nearest, 65535 farthest; null without depth.")
    metres: Metres | None = Field(description="Depth 0 and 65535 in metres, where depth is metric.")
    warnings: list[Doubt] = Field(description="Why the plate may not suit the frame; empty where it does.")
    seconds: float = Field(description="That the computation took.")


class Answered(NamedTuple):
    """What came of a frame."""

    content: bytes
    warnings: list[PlateWarning]


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
        height, width = picture.shape[:2]
        return KeptPlate(width, height, self._predictor.with_plate(picture), PlateMatch(picture).warnings)

    def predict(self, plate: KeptPlate, frame: bytes, output: Output) -> Answered:
        """Return JSON or a PNG, as `output` says, of a frame, JPEG or PNG, and how the plate suits it.

        Raises:
            UserError: it cannot be read, is too large or not of the plate's shape, or the network has no such output.
        """
        if output is Output.DEPTH and self.model.depth is None:
            raise UserError("output: this network has no depth; ask for mask or cutout")
        start = time.perf_counter()
        picture = self._decode(frame, "frame")
        answer, warnings = plate.answer(picture), plate.warnings(picture)
        as_json = output is Output.JSON
        content = self._to_json(answer, warnings, start) if as_json else _to_png(picture, answer, output)
        return Answered(content, warnings)

    def _to_json(self, answer: Answer, warnings: list[PlateWarning], start: float) -> bytes:
        mask, depth = _to_integers(answer)
        prediction = Prediction(
            width=mask.shape[1],
            height=mask.shape[0],
            mask=b64encode(encode(mask)).decode(),
            depth=None if depth is None else b64encode(encode(depth)).decode(),
            metres=self.model.metres,
            warnings=[Doubt(kind=warning.kind, text=warning.text) for warning in warnings],
            seconds=round(time.perf_counter() - start, 4),
        )
        return prediction.model_dump_json().encode()

    def _decode(self, content: bytes, name: str) -> np.ndarray:
        picture = decode_rgb(content, name, self._limits.max_pixels)
        if max(picture.shape) > self._limits.max_side:
            size = f"{picture.shape[1]}x{picture.shape[0]}, and at most {self._limits.max_side:,} a side are taken"
            raise PictureTooLargeError(f"{name}: is {size}; save it smaller")
        return picture


def _to_png(frame: np.ndarray, answer: Answer, output: Output) -> bytes:
    if output is Output.CUTOUT:
        return encode(render_cutout(frame, answer.mask))
    mask, depth = _to_integers(answer)
    if output is Output.MAPS:
        low, high = (np.zeros_like(mask),) * 2 if depth is None else (depth & 255, depth >> 8)
        # for programs near by, such as the page: time counts more than bytes
        return encode(np.dstack([mask, high, low]).astype(np.uint8), compression=0)
    return encode(mask if depth is None or output is Output.MASK else depth)


def _to_integers(answer: Answer) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the mask as uint8 and the depth as uint16."""
    depth = None if answer.depth is None else (answer.depth * 65535).round().astype(np.uint16)
    return render_mask(answer.mask), depth
