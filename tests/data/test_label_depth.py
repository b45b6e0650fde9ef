import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper
from onnx_files import integer_elsewhere, make_monocular

from cleanplate.cli import main
from cleanplate.data.check import check
from cleanplate.data.compose import compose
from cleanplate.data.label_depth import Monocular, label_depth, read_description
from cleanplate.data.modest import ModestFolder
from cleanplate.errors import UserError
from cleanplate.pictures import read_depth, read_rgb, write_picture

PLAIN = {"mean": [0, 0, 0], "std": [1, 1, 1], "size": 32, "multiple": 8, "gives": "depth"}


def write_network(
    folder: Path, sides: tuple[object, object] = ("h", "w"), name: str = "tiny", **described: object
) -> Path:
    """A network whose depth is the mean of the channels that it is given, and its description."""
    path = folder / f"{name}.onnx"
    path.write_bytes(make_monocular(sides))
    path.with_suffix(".yaml").write_text(yaml.safe_dump(PLAIN | described))
    return path


def expected_depth(picture: np.ndarray) -> np.ndarray:
    """The mean of the channels, stretched to 0 to 1."""
    grey = picture.astype(np.float32).mean(2)
    return (grey - grey.min()) / (grey.max() - grey.min())


@pytest.fixture
def slopes(tmp_path: Path) -> Path:
    """Two plates of smooth slopes, 64 and 96 wide."""
    (tmp_path / "slopes").mkdir()
    for name, width in (("a.png", 64), ("b.jpg", 96)):
        slope = np.linspace(20, 220, width)[None, :, None] * np.linspace(0.5, 1, 64)[:, None, None]
        write_picture(tmp_path / "slopes" / name, np.repeat(slope, 3, 2).astype(np.uint8))
    return tmp_path / "slopes"


@pytest.mark.parametrize("sides", [("h", "w"), (32, 48)])
@pytest.mark.parametrize("gives", ["depth", "disparity"])
def test_plates_get_stretched_depth_near_dark(
    slopes: Path, tmp_path: Path, sides: tuple[object, object], gives: str
) -> None:
    made = label_depth(slopes, write_network(tmp_path, sides, gives=gives))
    assert (made.labelled, made.already) == (2, 0)
    for name in ("a.png", "b.jpg"):
        picture, label = read_rgb(slopes / name), read_depth((slopes / "depth" / name).with_suffix(".png"))
        assert label.shape == picture.shape[:2]
        depth = label / 65535
        assert depth.min() == 0
        assert depth.max() == 1
        wanted = expected_depth(picture)
        assert np.abs(depth - (wanted if gives == "depth" else 1 - wanted)).mean() < 0.02


def test_pictures_are_normalised_as_the_description_says(tmp_path: Path) -> None:
    """A deviation that blows up one channel makes it the only one that counts."""
    (tmp_path / "plates").mkdir()
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, :16, 0], picture[:, 16:, 2] = 200, 250
    write_picture(tmp_path / "plates" / "x.png", picture)
    label_depth(tmp_path / "plates", write_network(tmp_path, mean=[0, 0.5, 0], std=[0.01, 1, 1]))
    depth = read_depth(tmp_path / "plates" / "depth" / "x.png")
    assert (depth[:, 2:14] > 60000).all()  # red, the first channel
    assert (depth[:, 18:30] < 5000).all()


def test_an_open_network_sees_multiples_at_the_described_size(tmp_path: Path) -> None:
    """The network's last step takes 70 x 112 pixels and no others."""
    network = write_network(tmp_path, size=70, multiple=14)
    model = onnx.load(network)
    model.graph.node[0].output[0] = "mean"
    model.graph.node.append(helper.make_node("Reshape", ["mean", "shape"], ["answer"]))
    model.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [3], [1, 70, 112]))
    onnx.save(model, network)
    (tmp_path / "plates").mkdir()
    picture = np.linspace(0, 255, 150).astype(np.uint8)[None, :, None] * np.ones((100, 1, 3), np.uint8)
    write_picture(tmp_path / "plates" / "x.png", picture)
    assert label_depth(tmp_path / "plates", network).labelled == 1
    assert np.abs(read_depth(tmp_path / "plates" / "depth" / "x.png") / 65535 - expected_depth(picture)).mean() < 0.01
    write_network(tmp_path, name="other", size=84, multiple=14)
    with pytest.raises(UserError, match="cannot be computed"):
        Monocular(network, read_description(tmp_path / "other.onnx"))(picture)


def test_a_data_set_gets_labels_that_check_and_training_know(plates: Path, cutouts: Path, tmp_path: Path) -> None:
    data = compose(plates, cutouts, tmp_path / "composed", size=64, places=1, workers=1).path
    before = ModestFolder(data).labelled()
    own = {path.name: path.read_bytes() for path in (data / "bg_fg_depth_map").iterdir()}
    assert 0 < before.sum() < len(before)
    made = label_depth(data, write_network(tmp_path))
    assert made.labelled == (~before).sum()
    folder = ModestFolder(data)
    assert folder.labelled().all()
    assert check(data, workers=1).faults == []
    item = folder.read(int(np.flatnonzero(~before)[0]))
    assert item.depth is not None
    assert np.abs(item.depth / 65535 - expected_depth(item.frame)).mean() < 0.05
    for name, content in own.items():
        assert (data / "bg_fg_depth_map" / name).read_bytes() == content
    assert label_depth(data, tmp_path / "tiny.onnx").labelled == 0


def test_it_goes_on_where_it_was_stopped(slopes: Path, tmp_path: Path) -> None:
    network = write_network(tmp_path)
    (slopes / "c.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"c\.png"):
        label_depth(slopes, network)
    times = {path.name: path.stat().st_mtime_ns for path in (slopes / "depth").glob("*.png")}
    assert set(times) == {"a.png", "b.png"}
    write_picture(slopes / "c.png", read_rgb(slopes / "a.png"))
    made = label_depth(slopes, network)
    assert (made.labelled, made.already) == (1, 2)
    assert {name: (slopes / "depth" / name).stat().st_mtime_ns for name in times} == times


def test_labels_of_two_networks_are_not_mixed(slopes: Path, tmp_path: Path) -> None:
    label_depth(slopes, write_network(tmp_path))
    write_picture(slopes / "c.png", read_rgb(slopes / "a.png"))
    with pytest.raises(UserError, match="another network or description"):
        label_depth(slopes, write_network(tmp_path, gives="disparity"))
    assert not (slopes / "depth" / "c.png").exists()


@pytest.mark.parametrize("name", ["midas", "depth-anything"])
def test_the_shipped_descriptions_are_valid(name: str, tmp_path: Path) -> None:
    described = read_description(tmp_path / "x.onnx", name)
    assert described.gives == "disparity"
    assert described.size % described.multiple == 0


def test_what_cannot_be_used_is_refused_in_a_line(slopes: Path, scenes: Path, tmp_path: Path) -> None:
    network = write_network(tmp_path)
    with pytest.raises(UserError, match="in metres"):
        label_depth(scenes, network)
    with pytest.raises(UserError, match=r"gone\.onnx: no such network"):
        label_depth(slopes, tmp_path / "gone.onnx", description="midas")
    with pytest.raises(UserError, match=r"other\.yaml: no such description.*midas"):
        label_depth(slopes, tmp_path / "other.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(UserError, match=r"text\.onnx: not a readable ONNX"):
        label_depth(slopes, tmp_path / "text.onnx", description="midas")
    network.with_suffix(".yaml").write_text("size: 64")
    with pytest.raises(UserError, match=r"tiny\.yaml: mean: Field required"):
        label_depth(slopes, network)
    write_picture(slopes / "a.png", np.full((64, 64, 3), 7, np.uint8))
    with pytest.raises(UserError, match=r"a\.png: tiny\.onnx answers the same everywhere"):
        label_depth(slopes, write_network(tmp_path))


def test_the_command(slopes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = write_network(tmp_path)
    command = [
        sys.executable,
        "-m",
        "cleanplate",
        "data",
        "label-depth",
        str(slopes),
        "--model",
        str(network),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["labelled"] == 2
    with pytest.raises(SystemExit) as stop:
        main(["data", "label-depth", str(slopes), "--model", str(tmp_path / "none.onnx"), "--description", "midas"])
    assert stop.value.code == 2
    assert "none.onnx: no such network" in capsys.readouterr().err
    assert cv2.imread(str(slopes / "depth" / "a.png"), cv2.IMREAD_UNCHANGED).dtype == np.uint16


@pytest.mark.parametrize("location", ["beside.bin", "../secret.bin", "/etc/passwd", "*/_ORT_MEM_ADDR_/*"])
def test_a_network_with_parts_in_other_files_is_refused(location: str, tmp_path: Path) -> None:
    network = write_network(tmp_path)
    model = onnx.load(network)
    model.graph.initializer.append(integer_elsewhere(location))
    network.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"tiny\.onnx: keeps parts of itself in other files, which are not read; use a"):
        Monocular(network, read_description(network))
