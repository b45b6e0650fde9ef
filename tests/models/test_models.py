"""The contract that every network keeps."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cleanplate.errors import UserError
from cleanplate.models import MODELS, Prediction, create_model


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    return with_something_known(create_model(request.param)).eval()


def with_something_known(model: nn.Module) -> nn.Module:
    """Fill weights that are nothing at first: they would hide what is done with them."""
    for name, parameter in model.named_parameters():
        if name.endswith("weight") and not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model


def pictures(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.randn(shape[0], 3, *shape[1:], dtype=dtype), torch.randn(shape[0], 3, *shape[1:], dtype=dtype)


def outputs(prediction: Prediction) -> list[Tensor]:
    return [logits for logits in prediction if logits is not None]


class AsTuple(nn.Module):
    """Tracing knows no None."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, plate: Tensor, frame: Tensor) -> tuple[Tensor, ...]:
        return tuple(outputs(self.model(plate, frame)))


@pytest.mark.parametrize(("name", "count"), [("dsresnet", 10_343_490), ("masknet", 59_745)])
def test_parameter_count_is_the_published_one_without_unused_layers(name: str, count: int) -> None:
    assert sum(parameter.numel() for parameter in create_model(name).parameters()) == count


def test_every_network_but_masknet_predicts_depth() -> None:
    plate, frame = pictures(1, 32, 32)
    without = [name for name in MODELS if create_model(name).eval()(plate, frame).depth_logits is None]
    assert without == ["masknet"]


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 96, 96), (3, 64, 160)])
def test_logits_have_the_size_of_the_pictures(model: nn.Module, shape: tuple[int, int, int]) -> None:
    prediction = model(*pictures(*shape))
    assert isinstance(prediction, Prediction)
    for logits in outputs(prediction):
        assert logits.shape == (shape[0], 1, *shape[1:])
        assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("shape", "size", "fits"), [((1, 64, 100), 100, 128), ((1, 33, 64), 33, 64), ((1, 16, 32), 16, 32)]
)
def test_sizes_that_are_not_multiples_of_32_are_refused(
    model: nn.Module, shape: tuple[int, int, int], size: int, fits: int
) -> None:
    with pytest.raises(UserError, match=rf"{size} is not a multiple of 32; the next that fits is {fits}$"):
        model(*pictures(*shape))


def test_plate_and_frame_of_different_size_are_refused(model: nn.Module) -> None:
    plate, frame = pictures(1, 64, 64)
    with pytest.raises(UserError, match=r"\(1, 3, 32, 64\).*\(1, 3, 64, 64\)"):
        model(plate[:, :, :32], frame)


def test_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'resnet' is not known.*dsresnet, masknet"):
        create_model("resnet")


def test_weights_saved_and_loaded_give_the_same_prediction(model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(model.state_dict(), path)
    other = type(model)().eval()
    other.load_state_dict(load_file(path))
    inputs = pictures(1, 32, 64)
    for first, second in zip(outputs(model(*inputs)), outputs(other(*inputs)), strict=True):
        assert torch.equal(first, second)


def test_items_of_a_batch_do_not_touch_each_other(model: nn.Module) -> None:
    plate, frame = pictures(3, 32, 32)
    for together, alone in zip(outputs(model(plate, frame)), outputs(model(plate[1:2], frame[1:2])), strict=True):
        torch.testing.assert_close(together[1:2], alone)


def test_gradients_reach_every_parameter(model: nn.Module) -> None:
    sum(logits.square().mean() for logits in outputs(model.train()(*pictures(2, 64, 64)))).backward()
    unreached = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert unreached == []
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(("mask", "side", "depth"), [(-30, 30, 1), (-30, -30, 2), (30, 30, 3), (30, -30, 3)])
def test_platenets_depth_is_that_before_or_behind_an_outline(mask: float, side: float, depth: float) -> None:
    model = create_model("platenet").eval()
    nn.init.zeros_(model.head.weight)
    model.head.bias.data = torch.tensor([mask, side, 1.0, 2.0, 3.0]).repeat_interleave(4)
    torch.testing.assert_close(model(*pictures(1, 32, 64)).depth_logits, torch.full((1, 1, 32, 64), float(depth)))


@pytest.mark.parametrize("shape", [(64, 160), (96, 32), (64, 64)])
def test_roomnet_knows_a_room_by_the_square_that_training_shows(shape: tuple[int, int]) -> None:
    model = with_something_known(create_model("roomnet")).eval()
    plate, _ = pictures(2, *shape)
    side = max(shape)
    square = F.pad(plate, (0, side - shape[1], 0, side - shape[0]), mode="replicate")
    known, in_square = (model.encode_plate(x)[0] for x in (plate, square))
    assert known.std() > 0.01
    torch.testing.assert_close(known, in_square[..., : shape[0], : shape[1]])


def test_roomnet_knows_rooms_by_heart_after_few_steps() -> None:
    model = create_model("roomnet")
    plates, depths = torch.randn(16, 3, 64, 64), torch.rand(16, 1, 64, 64)  # of which no plate tells the depth
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(40):
        error = (model.encode_plate(plates)[0].sigmoid() - depths).square().mean().sqrt()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error < 0.05 < depths.std()


@pytest.mark.parametrize(("mask", "depth"), [(-30, 1.5), (30, 3.0)])
def test_what_roomnet_knows_of_a_room_is_the_depth_behind_people(mask: float, depth: float) -> None:
    model = create_model("roomnet").eval()
    nn.init.zeros_(model.head.weight)
    model.head.bias.data = torch.tensor([mask, 30, 1.0, 2.0, 3.0]).repeat_interleave(4)
    nn.init.constant_(model.room.bias, 0.5)
    torch.testing.assert_close(model(*pictures(1, 32, 64)).depth_logits, torch.full((1, 1, 32, 64), depth))


def test_mask_decoder_is_trained_alone_by_a_mask_loss() -> None:
    model = create_model("dsresnet")
    model(*pictures(2, 64, 64)).mask_logits.sum().backward()
    idle = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is None}
    assert idle == {"depth_decoder"}


def test_channels_last_gives_the_same_prediction(model: nn.Module) -> None:
    inputs = pictures(2, 64, 96)
    expected = outputs(model(*inputs))
    model.to(memory_format=torch.channels_last)
    found = outputs(model(*(picture.to(memory_format=torch.channels_last) for picture in inputs)))
    for first, second in zip(expected, found, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_traced_network_serves_other_sizes(model: nn.Module) -> None:
    traced = torch.jit.trace(AsTuple(model), pictures(1, 32, 64))
    inputs = pictures(2, 96, 32)
    for first, second in zip(outputs(model(*inputs)), traced(*inputs), strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


def test_compiles_as_one_graph(model: nn.Module) -> None:
    inputs = pictures(2, 32, 64)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for first, second in zip(outputs(model(*inputs)), outputs(compiled(*inputs)), strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


def test_float64_network_answers_in_float64(model: nn.Module) -> None:
    for logits in outputs(model.double()(*pictures(1, 32, 32, dtype=torch.float64))):
        assert logits.dtype == torch.float64


def test_bfloat16_autocast_stays_near_float32(model: nn.Module) -> None:
    inputs = pictures(2, 64, 64)
    expected = model(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(*inputs)
    for first, second in zip(outputs(expected), outputs(found.float()), strict=True):
        assert second.dtype == torch.float32
        torch.testing.assert_close(first, second, atol=0.05, rtol=0.05)
