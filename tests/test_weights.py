"""Weights files: what goes in comes out, and faults are told in a line."""

import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import cleanplate.weights
from cleanplate.data.card import ChannelStatistics, DepthMeaning, Normalisation
from cleanplate.errors import UserError
from cleanplate.models import create_model
from cleanplate.weights import WeightsCard, find_run, load_weights, save_weights

STATISTICS = ChannelStatistics(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
CARD = WeightsCard(
    model="masknet",
    size=96,
    normalisation=Normalisation(plate=STATISTICS, frame=STATISTICS),
    depth=DepthMeaning(kind="metric", near=1, far=8),
    recipe="mine",
)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    save_weights(path, create_model("masknet"), CARD)
    return path


def assert_refused(path: Path, text: str) -> None:
    with pytest.raises(UserError, match=text) as caught:
        load_weights(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["masknet", "dsresnet"])
def test_network_and_card_come_back(name: str, tmp_path: Path) -> None:
    model, card = create_model(name), CARD.model_copy(update={"model": name})
    save_weights(tmp_path / "w.safetensors", model, card)
    loaded, loaded_card = load_weights(tmp_path / "w.safetensors")
    assert loaded_card == card
    assert not loaded.training
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in model.state_dict().items())


def test_channels_last_weights_come_back(tmp_path: Path) -> None:
    model = create_model("masknet").to(memory_format=torch.channels_last)
    save_weights(tmp_path / "w.safetensors", model, CARD)
    loaded = load_weights(tmp_path / "w.safetensors")[0].state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())


def test_half_precision_halves_the_file_and_is_read_as_float32(weights: Path, tmp_path: Path) -> None:
    model, half = create_model("masknet"), tmp_path / "half.safetensors"
    save_weights(weights, model, CARD)
    save_weights(half, model, CARD, half=True)
    assert half.stat().st_size < 0.55 * weights.stat().st_size
    loaded = load_weights(half)[0].state_dict()
    for name, value in model.state_dict().items():
        assert loaded[name].dtype == value.dtype
        if value.ndim > 1:
            torch.testing.assert_close(loaded[name], value, rtol=2**-11, atol=2**-25)
        else:
            assert loaded[name].equal(value)


def test_general_means_the_weights_of_the_package(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "general").mkdir()
    monkeypatch.setattr(cleanplate.weights, "GENERAL_FILE", weights)
    assert load_weights("general")[1] == CARD
    monkeypatch.setattr(cleanplate.weights, "GENERAL_FILE", tmp_path / "none.safetensors")
    with pytest.raises(
        UserError, match=r"none\.safetensors: this installation has no weights of its own; give weights"
    ):
        load_weights("general")


def test_general_is_no_run_folder_even_where_there_is_one_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "general").mkdir()
    (tmp_path / "run").mkdir()
    assert find_run("general") is None
    assert find_run("run") == Path("run")
    assert find_run(tmp_path / "general") == tmp_path / "general"
    assert find_run("run.safetensors") is None


def test_run_folder_means_its_best_weights(weights: Path, tmp_path: Path) -> None:
    weights.rename(tmp_path / "weights.safetensors")
    assert load_weights(tmp_path)[1] == CARD


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.safetensors", "no such weights; give a run folder")


def test_run_without_a_finished_epoch_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path, "holds no weights.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_file_that_ends_early_is_refused(kept: int, weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:kept])
    assert_refused(weights, "not a readable safetensors file")


def test_other_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_text("no weights here")
    assert_refused(path, "not a readable safetensors file")


def test_safetensors_file_of_another_program_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    assert_refused(tmp_path / "foreign.safetensors", "not written by cleanplate")


def test_parameters_of_another_network_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", create_model("dsresnet"), CARD)
    assert_refused(tmp_path / "w.safetensors", "its parameters are not those of masknet")


@pytest.mark.parametrize("change", [torch.Tensor.double, torch.Tensor.int, lambda value: value[None]])
def test_parameters_of_another_kind_or_shape_are_refused(change, weights: Path) -> None:
    tensors = load_file(weights)
    tensors["merge.weight"] = change(tensors["merge.weight"])
    save_file(tensors, weights, {"cleanplate": CARD.model_dump_json()})
    assert_refused(weights, "its parameters are not those of masknet")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"size":96', '"size":100', "size: size: 100 is not a multiple of 32"),
        ('"size":96', '"size":3200000', "size: size: 3200000 is too large"),
        ('"mean":[0.1', '"mean":[NaN', r"normalisation\.plate\.mean\.0: .*finite"),
        ('"std":[0.4', '"std":[0', r"normalisation\.plate\.std\.0: .*greater than 0"),
        ('"near":1.0', '"near":9.0', "depth: metric depth needs near"),
        ('"size":96', '"size":' + "[" * 1000, "content: Invalid JSON"),
        ('"size":96', '"a\\nb":96', "size: Field required"),
    ],
)
def test_damaged_metadata_is_named_by_key(weights: Path, old: str, new: str, words: str) -> None:
    save_file(load_file(weights), weights, {"cleanplate": CARD.model_dump_json().replace(old, new)})
    assert_refused(weights, f"its metadata is damaged: {words}")


def with_header(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


@pytest.mark.parametrize(
    "content",
    [
        with_header(b"{}", 2**64 - 1),
        with_header(b"{}", 10**8),
        with_header(b'{"a": {"dtype": "F32", "shape": [1099511627776], "data_offsets": [0, 4398046511104]}}'),
        with_header(b'{"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}}'),
        with_header(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}'),
        with_header(b"[" * 10_000),
        with_header(b"\xff\xfe"),
    ],
)
def test_header_that_lies_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    assert_refused(tmp_path / "w.safetensors", "not a readable safetensors file")


def test_unknown_network_is_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", create_model("masknet"), CARD.model_copy(update={"model": "futurenet"}))
    assert_refused(tmp_path / "w.safetensors", "model: 'futurenet' is not known; choose one of")


def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=r"weights\.safetensors: cannot be read \(not a file\)"):
        load_weights(tmp_path)
