"""Weights of the published implementation, against a plain re-statement of its networks under its own layer names."""

import pickle
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from cleanplate.errors import UserError
from cleanplate.models import create_model
from cleanplate.models.published import load_published

Weights = dict[str, Tensor]


def conv_norm(i: int, o: int, *more: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(o), *more)


def encoder_block(i: int, o: int) -> nn.ModuleDict:
    convs = nn.ModuleDict({"conv1": conv_norm(i, o), "conv2": conv_norm(o, o)})
    return nn.ModuleDict({"double_conv": convs, "skip_conv": nn.Conv2d(i, o, 1)})


def decoder_block(i: int, o: int) -> nn.ModuleDict:
    block = encoder_block(i, o)
    block["transition_conv"] = nn.Sequential(nn.Conv2d(i, o, 1))
    block["enc_skip_conv"] = nn.Conv2d(i, o, 1)  # of no use in decoder blocks with a single skip
    return block


def encode(block: nn.ModuleDict, x: Tensor) -> Tensor:
    return block["double_conv"]["conv2"](block["double_conv"]["conv1"](x)) + block["skip_conv"](x)


def decode(block: nn.ModuleDict, x: Tensor, *skips: Tensor) -> Tensor:
    x = F.interpolate(block["transition_conv"](x), scale_factor=2, mode="bilinear", align_corners=False)
    skip = block["enc_skip_conv"](torch.cat(skips, 1)) if len(skips) == 2 else skips[0]
    return encode(block, torch.cat([x, skip], 1))


class PublishedDSResNet(nn.Module):
    """Answers depth first, then mask."""

    def __init__(self) -> None:
        super().__init__()
        self.b1, self.b2 = encoder_block(3, 16), encoder_block(16, 32)
        self.bf1, self.bf2 = encoder_block(3, 16), encoder_block(16, 32)
        self.merge = nn.Conv2d(64, 32, 1)
        self.enc1, self.enc2 = encoder_block(32, 64), encoder_block(64, 128)
        self.enc3, self.enc4 = encoder_block(128, 256), encoder_block(256, 512)
        self.Mdec3, self.Mdec2, self.Mdec1 = decoder_block(512, 256), decoder_block(256, 128), decoder_block(128, 64)
        self.M2, self.M1, self.M0 = decoder_block(64, 32), decoder_block(32, 16), nn.Conv2d(16, 1, 1)
        self.Ddec3, self.Ddec2, self.Ddec1 = decoder_block(512, 256), decoder_block(256, 128), decoder_block(128, 64)
        self.D2, self.D1, self.D0 = decoder_block(64, 32), decoder_block(32, 16), nn.Conv2d(16, 1, 1)

    def forward(self, plate: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
        def halve(x: Tensor) -> Tensor:
            return F.max_pool2d(x, 2)

        b1 = encode(self.b1, plate)
        b2 = encode(self.b2, halve(b1))
        bf1 = encode(self.bf1, frame)
        bf2 = encode(self.bf2, halve(bf1))
        enc1 = encode(self.enc1, self.merge(torch.cat([halve(b2), halve(bf2)], 1)))
        enc2 = encode(self.enc2, halve(enc1))
        enc3 = encode(self.enc3, halve(enc2))
        enc4 = encode(self.enc4, halve(enc3))

        mask = decode(self.Mdec1, decode(self.Mdec2, decode(self.Mdec3, enc4, enc3), enc2), enc1)
        mask = self.M0(decode(self.M1, decode(self.M2, mask, b2, bf2), b1, bf1))
        depth = decode(self.Ddec1, decode(self.Ddec2, decode(self.Ddec3, enc4, enc3), enc2), enc1)
        depth = self.D0(decode(self.D1, decode(self.D2, depth, b2, bf2), b1, bf1))
        return depth, mask


class PublishedMaskNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.prep_block_1 = conv_norm(3, 32, nn.Dropout(0.0))
        self.prep_block_2 = conv_norm(3, 32, nn.Dropout(0.0))
        self.convblock1 = nn.Sequential(nn.Conv2d(64, 32, 1), *conv_norm(32, 64, nn.Dropout(0.0)))
        self.convblock2 = conv_norm(64, 64, nn.Dropout(0.0))
        self.convblock3 = nn.Sequential(nn.Conv2d(64, 1, 1))

    def forward(self, plate: Tensor, frame: Tensor) -> Tensor:
        both = torch.cat([self.prep_block_1(plate), self.prep_block_2(frame)], 1)
        return self.convblock3(self.convblock2(self.convblock1(both)))


def trained(model: nn.Module) -> nn.Module:
    """Give every layer weights of its own, the norms' statistics too."""
    for tensor in model.state_dict().values():
        if tensor.ndim == 1:
            nn.init.uniform_(tensor, 0.5, 1.5)
    return model.eval()


@pytest.fixture(scope="module")
def published() -> nn.Module:
    torch.manual_seed(0)
    return trained(PublishedDSResNet())


@pytest.fixture
def weights(published: nn.Module) -> Weights:
    return dict(published.state_dict())


@pytest.fixture(scope="module")
def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 64, 96, generator=generator), torch.randn(2, 3, 64, 96, generator=generator)


def assert_same_weights(model: nn.Module, weights: Weights) -> None:
    for ours, theirs in (
        ("plate_encoder.blocks.0.convs.0.0.weight", "b1.double_conv.conv1.0.weight"),
        ("frame_encoder.blocks.1.shortcut.bias", "bf2.skip_conv.bias"),
        ("mask_decoder.blocks.4.join_skips.weight", "M1.enc_skip_conv.weight"),
        ("depth_decoder.blocks.0.residual.convs.1.2.running_var", "Ddec3.double_conv.conv2.2.running_var"),
    ):
        assert torch.equal(model.state_dict()[ours], weights[theirs])


def test_reference_has_the_published_parameter_count(published: nn.Module) -> None:
    assert sum(parameter.numel() for parameter in published.parameters()) == 10_688_450


def test_dsresnet_answers_as_the_published_network(published: nn.Module, weights: Weights) -> None:
    plate, frame = torch.randn(2, 1, 3, 64, 96, dtype=torch.float64)
    depth, mask = published.double()(plate, frame)
    prediction = load_published(weights).double().eval()(plate, frame)
    published.float()
    torch.testing.assert_close(prediction.depth_logits, depth, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(prediction.mask_logits, mask, atol=1e-10, rtol=1e-10)


def test_dsresnet_answers_as_the_published_network_in_float32(
    published: nn.Module, weights: Weights, inputs: tuple[Tensor, Tensor]
) -> None:
    depth, mask = published(*inputs)
    prediction = load_published(weights).eval()(*inputs)
    torch.testing.assert_close(prediction.depth_logits, depth, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(prediction.mask_logits, mask, atol=1e-6, rtol=1e-5)


def test_dsresnet_trains_as_the_published_network(published: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
    reference = trained(PublishedDSResNet()).double().train()
    model = load_published(reference.state_dict()).double().train()
    plate, frame = (picture.double() for picture in inputs)
    sum(logits.square().mean() for logits in reference(plate, frame)).backward()
    sum(logits.square().mean() for logits in model(plate, frame)).backward()
    for ours, theirs in (
        (model.plate_encoder.blocks[0].convs[0][0], reference.b1["double_conv"]["conv1"][0]),
        (model.encoder.blocks[3].shortcut, reference.enc4["skip_conv"]),
        (model.depth_decoder.blocks[3].transition, reference.D2["transition_conv"][0]),
    ):
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, atol=1e-10, rtol=1e-7)


def test_masknet_answers_as_the_published_network(inputs: tuple[Tensor, Tensor]) -> None:
    reference = trained(PublishedMaskNet())
    prediction = load_published(reference.state_dict()).eval()(*inputs)
    torch.testing.assert_close(prediction.mask_logits, reference(*inputs), atol=1e-6, rtol=1e-5)
    assert prediction.depth_logits is None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"model_state_dict": weights, "epoch": 3},
        lambda weights: {"state_dict": weights, "best": 0.5},
        lambda weights: {f"module.{name}": value for name, value in weights.items()},
    ],
    ids=["state dict", "model_state_dict", "state_dict", "module."],
)
def test_state_dicts_and_checkpoints_load(weights: Weights, wrap: Callable[[Weights], object], tmp_path: Path) -> None:
    assert_same_weights(load_published(wrap(weights)), weights)
    torch.save(wrap(weights), tmp_path / "model.pt")
    assert_same_weights(load_published(str(tmp_path / "model.pt")), weights)


def test_safetensors_file_loads_into_the_model_given(weights: Weights, tmp_path: Path) -> None:
    save_file(weights, tmp_path / "model.safetensors")
    model = create_model("dsresnet")
    assert load_published(tmp_path / "model.safetensors", model) is model
    assert_same_weights(model, weights)


def test_weights_without_the_unused_layers_load(weights: Weights) -> None:
    kept = {name: value for name, value in weights.items() if "dec" not in name or "enc_skip_conv" not in name}
    assert len(kept) == len(weights) - 12
    assert_same_weights(load_published(kept), weights)


def refusal(weights: object, model: nn.Module | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load_published(weights, model)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["merge.weight", "M1.enc_skip_conv.bias", "Ddec2.double_conv.conv1.2.running_mean"])
def test_missing_layer_is_named(weights: Weights, name: str) -> None:
    del weights[name]
    assert f"layer {name} is missing" in refusal(weights)


@pytest.mark.parametrize("name", ["enc5.skip_conv.weight", "M2.enc_skip_conv.scale", "b1.enc_skip_conv.weight"])
def test_unexpected_layer_is_named(weights: Weights, name: str) -> None:
    assert f"layer {name} does not belong to dsresnet" in refusal({**weights, name: torch.zeros(1)})


def test_layer_of_another_shape_is_named_and_the_model_left_alone(weights: Weights) -> None:
    weights["D0.weight"] = torch.zeros(2, 16, 1, 1)
    model = create_model("dsresnet")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    message = refusal(weights, model)
    assert "layer D0.weight has shape (2, 16, 1, 1), dsresnet wants (1, 16, 1, 1)" in message
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_of_another_network_are_refused(weights: Weights) -> None:
    assert "weights of dsresnet do not fit MaskNet" in refusal(weights, create_model("masknet"))
    assert "neither published network" in refusal({"fc.weight": torch.zeros(1)})
    assert "neither published network" in refusal(create_model("dsresnet").state_dict())
    assert "lr is float, not a tensor" in refusal({"lr": 0.1})
    assert "holds list, not a state dict" in refusal({"state_dict": [1, 2]})


class Trap:
    """Would make a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def test_file_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"state_dict": {}, "extra": Trap(tmp_path / "sprung")}, path)
    assert f"{path}: not readable as weights" in refusal(path)
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert f"{path}: not readable as weights" in refusal(path)
    assert not (tmp_path / "sprung").exists()


def test_file_that_unfolds_when_read_is_refused(weights: Weights, tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "stored.pt")
    with ZipFile(tmp_path / "stored.pt") as stored, ZipFile(tmp_path / "model.pt", "w", ZIP_DEFLATED) as compressed:
        for name in stored.namelist():
            compressed.writestr(name, stored.read(name))
    assert "model.pt: not readable as weights" in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", bytes(range(256)) * 8])
def test_garbage_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert f"{path}: not readable as weights" in refusal(path)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.pt")
    assert "no such file" in refusal(tmp_path)
