"""The network as an ONNX file, computed by onnxruntime: no torch is needed, nor anything else but numpy."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cleanplate.errors import UserError
from cleanplate.files import read_file
from cleanplate.onnx_session import open_session
from cleanplate.pictures import require_multiple

if TYPE_CHECKING:
    from onnxruntime import NodeArg

CARD_KEY = "cleanplate"
"""The metadata property of the file that holds the weights' card."""
INPUTS, MASK, DEPTH = ["plate", "frame"], "mask", "depth"
"""Inputs, `(B, H, W, 3)` uint8 RGB, and outputs, `(B, H, W)` float32; a network without depth has no output of it."""


class OnnxBackend:
    """A backend of `Predictor`, on the CPU.

    Args:
        content: of a file that `cleanplate export` has written.
        path: what faults are told of.

    Raises:
        UserError: onnxruntime is not installed or does not take the content, or it is not one of cleanplate's.
    """

    def __init__(self, content: bytes, path: Path | str) -> None:
        self._session = open_session(content, path, "export it anew")
        try:
            inputs, outputs = map(_forms, (self._session.get_inputs(), self._session.get_outputs()))
            metadata = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # onnxruntime's own have nothing else in common
            raise UserError(f"{path}: not a readable ONNX file ({error}); export it anew") from None
        mask, depth = ((name, "tensor(float)", 3) for name in (MASK, DEPTH))
        if inputs != {(name, "tensor(uint8)", 4) for name in INPUTS} or outputs not in ({mask}, {mask, depth}):
            raise UserError(f"{path}: its inputs and outputs are not cleanplate's; use a file that it exported")
        self.path = path
        self._has_depth = depth in outputs
        self.size, self.metres = _read_card(metadata, path)

    @classmethod
    def load(cls, path: Path | str) -> "OnnxBackend":
        """Load an ONNX file."""
        return cls(read_file(Path(path), "no such weights; `cleanplate export` writes an .onnx file"), path)

    def keep_plates(self, plates: np.ndarray) -> np.ndarray:
        """Return `(B, H, W, 3)` uint8 RGB plates as the network takes them."""
        return np.ascontiguousarray(plates)

    def __call__(self, kept_plates: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return masks and depths, `(B, H, W)` float32 of 0 to 1, of `(B, H, W, 3)` uint8 RGB frames.

        The plates are as many as the frames, or one for all of them. There are no depths from a network that has none.

        Raises:
            UserError: the file is damaged in such a way that it shows only now.
        """
        pictures = (np.broadcast_to(kept_plates, frames.shape), frames)
        feed = dict(zip(INPUTS, map(np.ascontiguousarray, pictures), strict=True))
        try:
            answers = self._session.run([MASK, DEPTH] if self._has_depth else [MASK], feed)
        except Exception as error:
            raise UserError(f"{self.path}: cannot be computed ({error}); export it anew") from None
        if any(answer.shape != frames.shape[:3] for answer in answers):
            raise UserError(f"{self.path}: its answers are not of the frame's size; export it anew")
        return answers[0], answers[1] if self._has_depth else None

    def side_by_side(self) -> AbstractContextManager[None]:
        """Let calls come from several threads at once; onnxruntime shares its own threads among them."""
        return nullcontext()


def _forms(values: "Sequence[NodeArg]") -> set[tuple[str, str, int]]:
    """Return the name, the type and the number of axes of each input or output."""
    return {(value.name, value.type, len(value.shape)) for value in values}


def _read_card(metadata: dict[str, str], path: Path | str) -> tuple[int, tuple[float, float] | None]:
    """Return the size of training, and depths 0 and 1 in metres, from the card in a file's metadata."""
    if CARD_KEY not in metadata:
        raise UserError(f"{path}: not written by cleanplate; its metadata says no size")
    try:
        card = json.loads(metadata[CARD_KEY])
        size, depth = card["size"], card["depth"]
        metres = (depth["near"], depth["far"]) if depth and depth["kind"] == "metric" else None
        if not isinstance(size, int) or (metres and not (all(map(isfinite, metres)) and metres[0] < metres[1])):
            raise ValueError("size or depth make no sense")
        return require_multiple(size, "size"), metres
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: its metadata is damaged: {error}; export it anew") from None
