"""Depth labels for plates, or for a data set's frames, from a monocular network in ONNX form."""

import hashlib
import time
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cleanplate.data.card import Deviation, explain
from cleanplate.data.modest import FIELDS, FILE_MAP, FOLDERS, ModestFolder, find_folder
from cleanplate.errors import UserError
from cleanplate.files import read_file, require_folder, write_text
from cleanplate.onnx_session import open_session
from cleanplate.pictures import list_pictures, pictures_called, read_rgb, write_picture
from cleanplate.progress import track
from cleanplate.safe_yaml import read_yaml

LABELS_NAME = "labels.yaml"
"""Beside the labels: which network they come from."""
MAX_NETWORK_BYTES = 2**31
"""No ONNX file is larger in one piece."""
Mean = tuple[float, float, float]
Side = Annotated[int, Field(gt=0, le=4096)]


class DepthNetwork(BaseModel):
    """How a network wants its pictures, and what it answers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    mean: Mean
    """Of each channel, RGB, of pictures scaled to 0 to 1."""
    std: tuple[Deviation, Deviation, Deviation]
    size: Side
    """Pixels of the shorter side, where the file leaves height and width open."""
    multiple: Side
    """Of which height and width then are."""
    gives: Literal["depth", "disparity"]
    """`depth` grows with the distance, `disparity` falls."""


class Labelled(BaseModel):
    """What `cleanplate data label-depth` did."""

    path: Path
    """The folder of the labels."""
    labelled: int
    already: int
    """How many had a label before."""
    seconds: float


def label_depth(data: Path | str, model: Path | str, *, description: Path | str | None = None) -> Labelled:
    """Label the frames of a data set, or the pictures of a folder of plates, where they have no depth yet.

    Labels are relative: each is stretched to the whole range, 0 nearest to 1 farthest. Those of plates go to
    `DATA/depth`, where `data compose` looks for them, those of frames into the data set. A second call goes on where
    the first was stopped.

    Args:
        data: a data set folder, or a folder of plates.
        model: an ONNX file; the first input takes `(1, 3, H, W)`, the first output is one value for each pixel.
        description: `midas`, `depth-anything` or a YAML file of a `DepthNetwork`; when None, the one beside the model,
            of its name.

    Raises:
        UserError: folder, model or description cannot be used, the data set's depth is in metres, or the labels there
            are come from another network.
    """
    start = time.perf_counter()
    data, model = require_folder(data), Path(model)
    source = ModestFolder(data) if (data / FILE_MAP).exists() else None
    if source and source.card.depth.kind == "metric":
        raise UserError(f"{data}: its depth is in metres, and a monocular network knows none; label another data set")
    folder, pictures = _frames(source) if source else _plates(data)
    network = Monocular(model, read_description(model, description))
    waiting = {label: picture for label, picture in pictures.items() if not _exists(label)}
    if waiting:
        folder.mkdir(exist_ok=True)
        _claim(folder, network)
    for label, picture in track(waiting.items(), len(waiting), "labelling"):
        depth = network(read_rgb(picture))
        if depth is None:
            raise UserError(f"{picture}: {model.name} answers the same everywhere, or no number; does its YAML fit it?")
        write_picture(label, (depth * 65535).round().astype(np.uint16))
    if source:
        _name_labels(source)
    seconds = round(time.perf_counter() - start, 2)
    return Labelled(path=folder, labelled=len(waiting), already=len(pictures) - len(waiting), seconds=seconds)


def read_description(model: Path, description: Path | str | None = None) -> DepthNetwork:
    """Read how a network wants its pictures: of that name among the shipped, in that file, or beside the model.

    Raises:
        UserError: there is none, or it is not valid.
    """
    folder = Path(str(files("cleanplate") / "data" / "depth_networks"))
    shipped = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    path = model.with_suffix(".yaml") if description is None else shipped.get(str(description), Path(description))
    missing = f"no such description of {model.name}; give --description {' or '.join(shipped)}, or write it"
    try:
        return DepthNetwork.model_validate(read_yaml(path, missing))
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error)}") from None


class Monocular:
    """A monocular network, on the CPU.

    Args:
        path: its ONNX file.
        description: how it wants its pictures, and what it answers.

    Raises:
        UserError: onnxruntime is not installed, or the file is no network of one picture.
    """

    def __init__(self, path: Path, description: DepthNetwork) -> None:
        content = read_file(path, "no such network", MAX_NETWORK_BYTES)
        self._session = open_session(content, path, "use a network in one file, such as the one that is distributed")
        self.path, self.description, self.sha256 = path, description, hashlib.sha256(content).hexdigest()
        if not (inputs := self._session.get_inputs()):
            raise UserError(f"{path}: takes no input, not one picture (1, 3, H, W)")
        given = inputs[0]
        if given.type not in ("tensor(float)", "tensor(float16)") or len(given.shape) != 4 or given.shape[1] != 3:
            raise UserError(f"{path}: its input is {given.type} {given.shape}, not one picture (1, 3, H, W)")
        self._name, self._kind = given.name, np.float16 if given.type.endswith("16)") else np.float32
        self._fixed = [side if isinstance(side, int) else None for side in given.shape[2:]]

    def __call__(self, picture: np.ndarray) -> np.ndarray | None:
        """Return the depth `(H, W)` float32 of a picture `(H, W, 3)` uint8 RGB, stretched: 0 nearest, 1 farthest.

        None where the answer is the same everywhere, or not finite.
        """
        height, width = self._sides(picture.shape)
        shrinks = picture.shape[0] > height
        seen = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        mean, std = np.array(self.description.mean, np.float32), np.array(self.description.std, np.float32)
        normalised = ((seen.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)[None].astype(self._kind)
        try:
            answer = np.asarray(self._session.run(None, {self._name: normalised})[0], np.float32).squeeze()
        except Exception as error:
            raise UserError(f"{self.path}: cannot be computed ({error}); does its YAML fit it?") from None
        if answer.ndim != 2:
            raise UserError(f"{self.path}: answers {answer.shape}, not one value for each pixel")
        low, high = float(answer.min()), float(answer.max())
        if not np.isfinite([low, high]).all() or high <= low:
            return None
        depth = (answer - low) / (high - low)
        if self.description.gives == "disparity":
            depth = 1 - depth
        return cv2.resize(depth, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR).clip(0, 1)

    def _sides(self, shape: tuple[int, ...]) -> list[int]:
        """Return height and width as the file has them, or the picture's own shape at the size described."""
        size, multiple = self.description.size, self.description.multiple
        wanted = (max(1, round(side * size / min(shape[:2]) / multiple)) * multiple for side in shape[:2])
        return [fixed or side for fixed, side in zip(self._fixed, wanted, strict=True)]


def _plates(folder: Path) -> tuple[Path, dict[Path, Path]]:
    """Return where the labels go, and the picture of each."""
    labels = folder / "depth"
    return labels, {labels / f"{path.stem}.png": path for path in list_pictures(folder)}


def _frames(source: ModestFolder) -> tuple[Path, dict[Path, Path]]:
    """Return where the labels go, and the frame of each that the file map names none for."""
    try:
        labels = find_folder(source.path, "depth")
    except UserError:
        labels = source.path / FOLDERS["depth"][0]
    items = [index for index in range(len(source)) if not source.name(index, "depth")]
    return labels, {labels / f"{_label_name(source, index)}.png": source.find(index, "frame") for index in items}


def _label_name(source: ModestFolder, index: int) -> str:
    return f"{source.name(index)}_depth_map"


def _exists(label: Path) -> bool:
    return any(pictures_called(label.parent, label.stem))


def _claim(folder: Path, network: Monocular) -> None:
    """Write beside the labels which network they come from, or refuse to go on with another one."""
    path = folder / LABELS_NAME
    ours: dict[str, Any] = {"network": network.path.name, "sha256": network.sha256}
    ours |= network.description.model_dump(mode="json")
    if path.exists() and read_yaml(path, "missing") != ours:
        text = "these labels come from another network or description; use that one, or start without these labels"
        raise UserError(f"{path}: {text}")
    write_text(path, yaml.safe_dump(ours, sort_keys=False))


def _name_labels(source: ModestFolder) -> None:
    """Name the labels in the file map, once every frame has one."""
    rows = ([source.name(index, field) for field in FIELDS[:3]] for index in range(len(source)))
    depths = (source.name(index, "depth") or _label_name(source, index) for index in range(len(source)))
    lines = ("\t".join([*row, depth]) + "\n" for row, depth in zip(rows, depths, strict=True))
    write_text(source.path / FILE_MAP, "".join(lines))
