"""Write a network as a file to give away: ONNX, whose answers have been seen to be those of torch, or small weights."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from cleanplate.errors import UserError
from cleanplate.files import write_bytes
from cleanplate.models.ready import ReadyModel
from cleanplate.predict.onnx_backend import CARD_KEY, DEPTH, INPUTS, MASK, OnnxBackend
from cleanplate.predict.predictor import Backend
from cleanplate.predict.torch_backend import TorchBackend
from cleanplate.progress import say
from cleanplate.weights import WeightsCard, save_weights

TRIED = ((1, 224, 224), (3, 96, 160), (5, 64, 32), (2, 320, 192))
"""Batch, height and width at which the answers are compared."""
TOLERANCE = 1e-4
AXES = ("batch", "height", "width")
LICENCE = "the network: MIT, of cleanplate; its parameters: of whoever trained them"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""Of the extra `export`."""
_TRACED_AT = (2, 64, 96, 3)  # a batch of one would be taken for a constant


class Exported(BaseModel):
    """What `cleanplate export` has written."""

    path: str
    bytes: int
    max_abs_difference: dict[str, float]
    """The largest difference from torch in float32, of mask and depth, at each batch x height x width."""


class _ForPictures(nn.Module):
    """A ready model that takes pictures as decoders give them, and answers what its weights have learned."""

    def __init__(self, model: ReadyModel, card: WeightsCard) -> None:
        super().__init__()
        self.model, self.knows_depth = model, card.depth is not None

    def forward(self, plate: Tensor, frame: Tensor) -> tuple[Tensor, ...]:
        """Return `(B, H, W)` float32 mask, and depth where known, of `(B, H, W, 3)` uint8 RGB plate and frame."""
        mask, depth = self.model(plate.permute(0, 3, 1, 2), frame.permute(0, 3, 1, 2))
        return (mask[:, 0],) if depth is None or not self.knows_depth else (mask[:, 0], depth[:, 0])


def export(weights: Path | str, out: Path | str = "model.onnx") -> Exported:
    """Write a network as a file to give away.

    As `.onnx` it takes pictures and answers with mask and depth. As `.safetensors` it is weights as any others, the
    kernels of its convolutions in float16: half as large.

    Args:
        weights: a run folder or a `.safetensors` file; `general` are the package's own.
        out: the file to write; one of that name is replaced.

    Raises:
        UserError: weights or `out` are at fault, a package is missing, or ONNX's answers are not those of torch;
            nothing is written then.
    """
    out = Path(out)
    if out.suffix == ".safetensors":
        return _export_half(weights, out)
    if out.suffix != ".onnx":
        raise UserError(f"{out}: an exported network is an .onnx or a .safetensors file; give such a name")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(f"export needs {' and '.join(missing)}; pip install {' '.join(missing)}")
    ready = TorchBackend.load(weights, exact=True)
    model = _ForPictures(ready.model.cpu(), ready.card).eval()
    say(f"exporting {weights} and comparing the answers, up to half a minute")
    content = _to_onnx(model, ready.card)
    differences = _compare(model, OnnxBackend(content, out))
    worst = max(differences, key=differences.__getitem__)
    if differences[worst] > TOLERANCE:
        raise UserError(
            f"{out}: not written: at {worst} onnxruntime answers otherwise than torch, by {differences[worst]:.1g}; "
            "try another version of onnxruntime"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, content)
    return Exported(path=str(out), bytes=len(content), max_abs_difference=differences)


def _export_half(weights: Path | str, out: Path) -> Exported:
    exact = TorchBackend.load(weights, exact=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(out, exact.model.model, exact.card, half=True)
    differences = _compare(_ForPictures(exact.model.cpu(), exact.card).eval(), TorchBackend.load(out, exact=True))
    return Exported(path=str(out), bytes=out.stat().st_size, max_abs_difference=differences)


def _to_onnx(model: _ForPictures, card: WeightsCard) -> bytes:
    examples = tuple(torch.zeros(_TRACED_AT, dtype=torch.uint8) for _ in INPUTS)
    outputs = [MASK, DEPTH][: len(model(*examples))]
    with _quietly():
        program = torch.onnx.export(
            model,
            examples,
            input_names=INPUTS,
            output_names=outputs,
            dynamic_shapes={name: dict(enumerate(AXES)) for name in INPUTS},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    file = program.model_proto
    graph = file.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.ClearField("metadata_props")  # such as where in the exporting user's files a node came from
    for output in graph.output:
        for axis, name in zip(output.type.tensor_type.shape.dim, AXES, strict=True):
            axis.dim_param = name  # it is 32*(height//32) otherwise
    for key, value in ((CARD_KEY, card.model_dump_json()), ("licence", LICENCE)):
        file.metadata_props.add(key=key, value=value)
    return file.SerializeToString()


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back what the exporter says of itself: that torchvision is missing, that two axes are named alike."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _compare(model: _ForPictures, backend: Backend) -> dict[str, float]:
    """Return the largest difference of any answer at each of the sizes tried."""
    rng = np.random.default_rng(0)
    differences = {}
    for shape in TRIED:
        plates, frames = rng.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
        with torch.inference_mode():
            expected = model(torch.from_numpy(plates), torch.from_numpy(frames))
        answers = [answer for answer in backend(backend.keep_plates(plates), frames) if answer is not None]
        differences["x".join(map(str, shape))] = max(
            float(np.nan_to_num(np.abs(answer - truth.numpy()), nan=np.inf).max())
            for answer, truth in zip(answers, expected, strict=True)
        )
    return differences
