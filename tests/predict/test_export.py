"""ONNX files: they answer as torch does at every size, without torch, and those that are not ours are refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnx_files import AXES, integer, integer_elsewhere, make_onnx
from scenes import draw_wall
from torch import Tensor, nn

from cleanplate import Predictor, UserError, cli, evaluate, export
from cleanplate.data.card import ChannelStatistics, DepthMeaning, Normalisation
from cleanplate.models import MODELS, Network, Prediction, create_model
from cleanplate.pictures import write_picture
from cleanplate.weights import WeightsCard, load_weights, save_weights

CARD = WeightsCard(
    model="masknet",
    size=64,
    normalisation=Normalisation(
        plate=ChannelStatistics(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)),
        frame=ChannelStatistics(mean=(0.5, 0.4, 0.3), std=(0.3, 0.2, 0.25)),
    ),
    depth=DepthMeaning(),
    recipe="location",
)
SHAPES = [(1, 32, 32), (3, 64, 96), (5, 160, 32), (2, 224, 224)]


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of `run`, of mask and depth."""
    return Path(export(run, tmp_path_factory.mktemp("exported") / "dsresnet.onnx").path)


@pytest.fixture(scope="module")
def mask_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "masknet.safetensors"
    torch.manual_seed(0)
    save_weights(path, create_model("masknet"), CARD)
    return path


@pytest.fixture(scope="module")
def mask_exported(mask_weights: Path) -> Path:
    return Path(export(mask_weights, mask_weights.with_name("masknet.onnx")).path)


def pictures(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def answers_of_torch(weights: Path | str, plates: np.ndarray, frames: np.ndarray) -> list[np.ndarray]:
    model, card = load_weights(weights)

    def normalised(images: np.ndarray, statistics: ChannelStatistics) -> Tensor:
        scaled = (images / 255 - np.array(statistics.mean)) / np.array(statistics.std)
        return torch.tensor(scaled, dtype=torch.float32).permute(0, 3, 1, 2)

    with torch.no_grad():
        prediction = model(normalised(plates, card.normalisation.plate), normalised(frames, card.normalisation.frame))
    return [logits.sigmoid()[:, 0].numpy() for logits in prediction if logits is not None]


# What is written


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_are_those_of_torch(shape: tuple[int, ...], exported: Path, run: Path) -> None:
    plates, frames = pictures(*shape), pictures(*shape, seed=1)
    backend = Predictor.load(exported).backend
    masks, depths = backend(backend.keep_plates(plates), frames)
    expected_masks, expected_depths = answers_of_torch(run, plates, frames)
    assert masks.dtype == np.float32
    np.testing.assert_allclose(masks, expected_masks, atol=1e-4)
    np.testing.assert_allclose(depths, expected_depths, atol=1e-4)


def test_one_plate_serves_a_batch(mask_exported: Path, mask_weights: Path) -> None:
    plate, frames = pictures(1, 64, 32), pictures(3, 64, 32, seed=1)
    backend = Predictor.load(mask_exported).backend
    masks, depths = backend(backend.keep_plates(plate), frames)
    assert depths is None
    np.testing.assert_allclose(masks, answers_of_torch(mask_weights, np.repeat(plate, 3, 0), frames)[0], atol=1e-4)


def test_file_names_its_inputs_outputs_and_axes(exported: Path, mask_exported: Path) -> None:
    def values(of: list[onnx.ValueInfoProto]) -> dict[str, list[str | int]]:
        return {value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in of}

    both, mask_alone = onnx.load(exported), onnx.load(mask_exported)
    onnx.checker.check_model(both, full_check=True)
    for model in (both, mask_alone):
        assert values(model.graph.input) == {"plate": [*AXES, 3], "frame": [*AXES, 3]}
        assert {value.type.tensor_type.elem_type for value in model.graph.input} == {TensorProto.UINT8}
        assert {value.type.tensor_type.elem_type for value in model.graph.output} == {TensorProto.FLOAT}
    assert values(both.graph.output) == {"mask": [*AXES], "depth": [*AXES]}
    assert values(mask_alone.graph.output) == {"mask": [*AXES]}


def test_file_carries_the_card_of_its_weights_and_the_licence(exported: Path, run: Path) -> None:
    metadata = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    assert WeightsCard.model_validate_json(metadata["cleanplate"]) == load_weights(run)[1]
    assert "MIT" in metadata["licence"]
    predictor = Predictor.load(exported)
    assert predictor.size == 64
    assert predictor.backend.metres == load_weights(run)[1].depth.metres


def test_file_tells_nothing_of_the_machine(exported: Path) -> None:
    content = exported.read_bytes()
    for place in (Path(torch.__file__).parents[1], Path(cli.__file__).parents[1], exported.parent):
        assert str(place).encode() not in content


class _Tiny(Network):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 2, 1)

    def encode_plate(self, plate: Tensor) -> list[Tensor]:
        return [plate]

    def answer(self, plate_features: list[Tensor], frame: Tensor) -> Prediction:
        logits = self.conv(torch.cat([*plate_features, frame], 1))
        return Prediction(logits[:, :1], logits[:, 1:])


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of the least network of mask and depth, which is exported in no time."""
    monkeypatch.setitem(MODELS, "tiny", _Tiny)
    save_weights(tmp_path / "tiny.safetensors", _Tiny(), CARD.model_copy(update={"model": "tiny"}))
    return tmp_path / "tiny.safetensors"


def test_depth_that_was_never_learned_is_no_output(tiny: Path) -> None:
    save_weights(tiny, _Tiny(), CARD.model_copy(update={"model": "tiny", "depth": None}))
    export(tiny, tiny.with_suffix(".onnx"))
    assert [output.name for output in onnx.load(tiny.with_suffix(".onnx")).graph.output] == ["mask"]
    assert Predictor.load(tiny.with_suffix(".onnx")).with_plate(pictures(40, 70))(pictures(40, 70)).depth is None


def test_weights_to_give_away_are_half_as_large_and_answer_nearly_the_same(run: Path, tmp_path: Path) -> None:
    exported = export(run, tmp_path / "new" / "small.safetensors")
    whole = (run / "weights.safetensors").stat().st_size
    assert exported.bytes == Path(exported.path).stat().st_size < 0.51 * whole
    assert load_weights(exported.path)[1] == load_weights(run)[1]
    plates, frames = pictures(1, 64, 96), pictures(1, 64, 96, seed=1)
    for rounded, exact in zip(*(answers_of_torch(w, plates, frames) for w in (exported.path, run)), strict=True):
        assert 0 < np.abs(rounded - exact).max() < 0.01
    assert 0 < max(exported.max_abs_difference.values()) < 0.01


# The command


def run_command(*words: str | Path) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    return ended.value.code


def test_command_prints_the_agreement(mask_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "model.onnx"
    assert run_command("export", "--weights", mask_weights, "--out", out, "--json") == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert "Warning" not in printed.err
    assert "torchvision" not in printed.err
    assert told["path"] == str(out)
    assert list(out.parent.iterdir()) == [out]
    assert out.stat().st_size == told["bytes"]
    shapes = [tuple(map(int, shape.split("x"))) for shape in told["max_abs_difference"]]
    assert len(shapes) == 4
    assert any(batch % 2 and batch > 1 for batch, *_ in shapes)
    assert any(height != width for _, height, width in shapes)
    assert all(0 <= value <= 1e-4 for value in told["max_abs_difference"].values())


@pytest.mark.parametrize("wrong", [0.001, np.nan])
def test_nothing_is_written_of_a_file_that_disagrees(
    wrong: float, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backend = import_module("cleanplate.predict.onnx_backend").OnnxBackend
    right = backend.__call__

    def disturbed(self: object, kept: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        masks, depths = right(self, kept, frames)
        if len(frames) == 3:
            depths[-1, -1, -1] += wrong
        return masks, depths

    monkeypatch.setattr(backend, "__call__", disturbed)
    out = tiny.with_name("model.onnx")
    out.write_text("an earlier one")
    assert run_command("export", "--weights", tiny, "--out", out) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"cleanplate: {out}: not written: at 3x96x160 onnxruntime answers otherwise than torch")
    assert out.read_text() == "an earlier one"
    assert sorted(path.name for path in tiny.parent.iterdir()) == ["model.onnx", "tiny.safetensors"]


def test_other_suffix_is_refused(mask_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.pb: an exported network is an \.onnx or a \.safetensors file"):
        export(mask_weights, tmp_path / "model.pb")


def test_missing_packages_are_named(mask_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"^export needs onnxscript; pip install onnxscript$"):
        export(mask_weights, tmp_path / "model.onnx")


# Its use

WITHOUT_THE_REST = """
import sys
allowed = {"cleanplate", "numpy", "cv2", "onnxruntime", *sys.stdlib_module_names}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
import numpy
from cleanplate import Predictor
plate, frame = numpy.load(sys.argv[2])
answer = Predictor.load(sys.argv[1]).with_plate(plate)(frame)
numpy.save(sys.argv[3], numpy.stack([answer.mask, answer.depth]))
"""


def test_predictor_needs_onnxruntime_numpy_and_opencv_alone(exported: Path, run: Path, tmp_path: Path) -> None:
    plate, frame = pictures(50, 90), pictures(50, 90, seed=1)
    np.save(tmp_path / "pictures.npy", [plate, frame])
    files = [exported, tmp_path / "pictures.npy", tmp_path / "answer.npy"]
    done = subprocess.run([sys.executable, "-c", WITHOUT_THE_REST, *files], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    expected = Predictor.load(run, exact=True).with_plate(plate)(frame)
    np.testing.assert_allclose(np.load(files[-1]), np.stack([expected.mask, expected.depth]), atol=1e-4)


def test_weights_without_torch_are_refused_in_a_line(mask_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cleanplate.predict.torch_backend", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"masknet\.safetensors: cannot be loaded without torch; install torch, or use"):
        Predictor.load(mask_weights)


def test_missing_onnxruntime_is_named(mask_exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"masknet\.onnx: needs onnxruntime; pip install onnxruntime$"):
        Predictor.load(mask_exported)


def test_evaluation_gives_the_figures_of_the_weights(mask_exported: Path, mask_weights: Path, scenes: Path) -> None:
    of_onnx, of_torch = evaluate(mask_exported, scenes), evaluate(mask_weights, scenes)
    assert of_onnx.items == of_torch.items > 0
    assert of_onnx.metrics == pytest.approx(of_torch.metrics, abs=1e-4)


def test_predict_takes_it(mask_exported: Path, tmp_path: Path) -> None:
    for name in ("plate", "frame"):
        write_picture(tmp_path / f"{name}.png", draw_wall(3, (70, 90)))
    words = ["predict", "--weights", mask_exported, "--plate", tmp_path / "plate.png", tmp_path / "frame.png"]
    assert run_command(*words, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "frame_mask.png").exists()


# Files that are not ours


def assert_refused(path: Path, text: str) -> None:
    with pytest.raises(UserError, match=text) as caught:
        Predictor.load(path).with_plate(pictures(32, 32))(pictures(32, 32))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_network_of_another_program_that_keeps_to_the_contract_is_taken(tmp_path: Path) -> None:
    frame = pictures(64, 32, seed=1)
    (tmp_path / "m.onnx").write_bytes(make_onnx(CARD.model_dump_json()))
    answer = Predictor.load(tmp_path / "m.onnx").with_plate(pictures(64, 32))(frame)
    assert np.array_equal(answer.mask, frame[..., 0].astype(np.float32))


@pytest.mark.parametrize("location", ["beside.bin", "../secret.bin", "/etc/passwd", "*/_ORT_MEM_ADDR_/*"])
def test_data_in_other_files_is_refused(location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (folder / "beside.bin", tmp_path / "secret.bin"):
        path.write_bytes(bytes(8))
    monkeypatch.chdir(folder)
    (folder / "m.onnx").write_bytes(make_onnx(CARD.model_dump_json(), channel=integer_elsewhere(location)))
    assert_refused(folder / "m.onnx", "keeps parts of itself in other files")


def of_too_many_bytes(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**30 + 1)


def made(**changes: Any) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(make_onnx(CARD.model_dump_json(), **changes))


CAST = helper.make_node("Cast", ["chosen"], ["cast"], to=TensorProto.FLOAT)
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such weights"),
    "empty": (lambda path: path.write_bytes(b""), "not a readable ONNX file"),
    "text": (lambda path: path.write_text("no network\nhere"), "not a readable ONNX file"),
    "of another format": (
        lambda path: path.write_bytes(b"\x1c\0\0\0ORTM" + bytes(200)),
        "not a readable ONNX file",
    ),
    "a pipe": (os.mkfifo, r"cannot be read \(not a file\)"),
    "a folder": (Path.mkdir, r"cannot be read \(not a file\)"),
    "too large": (of_too_many_bytes, "at most 1,073,741,824 are read"),
    "other inputs": (made(inputs=("plate", "image")), "its inputs and outputs are not cleanplate's"),
    "an input less": (made(inputs=("frame",)), "its inputs and outputs are not cleanplate's"),
    "an input more": (made(inputs=("plate", "x", "frame")), "its inputs and outputs are not cleanplate's"),
    "another output": (made(output="matte"), "its inputs and outputs are not cleanplate's"),
    "an unknown operation": (
        made(rest=[helper.make_node("Custom", ["chosen"], ["mask"], domain="my.own")]),
        "not a readable ONNX file",
    ),
    "no card": (lambda path: path.write_bytes(make_onnx(None)), "not written by cleanplate"),
    "a channel that is not there": (made(channel=integer(7)), "cannot be computed"),
    "an answer of another size": (
        made(rest=[CAST, helper.make_node("Concat", ["cast", "cast"], ["mask"], axis=1)]),
        "its answers are not of the frame's size",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_network_of_ours_is_refused_in_a_line(fault: str, tmp_path: Path) -> None:
    make, text = FAULTS[fault]
    make(tmp_path / "m.onnx")
    assert_refused(tmp_path / "m.onnx", text)


@pytest.mark.parametrize("kept", [7, 1000, 200_000, -1])
def test_file_that_ends_early_is_refused(kept: int, mask_exported: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(mask_exported.read_bytes()[:kept])
    assert_refused(tmp_path / "m.onnx", "not a readable ONNX file")


@pytest.mark.parametrize(
    "card",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"size": 100, "depth": null}',
        '{"size": 9999968, "depth": null}',
        '{"size": "64", "depth": null}',
        '{"size": true, "depth": null}',
        '{"size": 64}',
        '{"size": 64, "depth": 3}',
        '{"size": 64, "depth": {"kind": "metric"}}',
        '{"size": 64, "depth": {"kind": "metric", "near": 9, "far": 1}}',
        '{"size": 64, "depth": {"kind": "metric", "near": 1, "far": NaN}}',
        '{"size": 64, "depth": {"kind": "metric", "near": "1", "far": "2"}}',
        '{"size": 64, "depth": {"kind": "metric", "near": 1, "far": 1' + "0" * 400 + "}}",
    ],
)
def test_damaged_card_is_refused_in_a_line(card: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(make_onnx(card))
    assert_refused(tmp_path / "m.onnx", "its metadata is damaged: ")
