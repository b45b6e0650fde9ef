"""Weights files: what goes in comes out, and faults are told in a line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cleanplate.data.card import ChannelStatistics, DepthMeaning, Normalisation
from cleanplate.errors import UserError
from cleanplate.models import create_model
from cleanplate.weights import WeightsCard, load_weights, save_weights

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


def test_unknown_network_is_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", create_model("masknet"), CARD.model_copy(update={"model": "futurenet"}))
    with pytest.raises(UserError, match="futurenet"):
        load_weights(tmp_path / "w.safetensors")
