"""Prediction: answers at the frame's own size, and the files that `predict` writes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import FAR, NEAR, draw_wall

from cleanplate import Predictor, UserError
from cleanplate.data.card import ChannelStatistics, DepthMeaning, Normalisation
from cleanplate.models import create_model
from cleanplate.pictures import list_pictures, read_rgb, write_picture
from cleanplate.predict.pictures import predict
from cleanplate.sheet import colour_depth
from cleanplate.weights import WeightsCard, load_weights, save_weights

NORMALISATION = Normalisation(
    plate=ChannelStatistics(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)),
    frame=ChannelStatistics(mean=(0.5, 0.4, 0.3), std=(0.3, 0.2, 0.25)),
)


def write_weights(path: Path, model: str) -> Path:
    torch.manual_seed(0)
    card = WeightsCard(model=model, size=64, normalisation=NORMALISATION, depth=DepthMeaning())
    save_weights(path, create_model(model), card)
    return path


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of the network of mask and depth, for 64x64."""
    return write_weights(tmp_path_factory.mktemp("weights") / "dsresnet.safetensors", "dsresnet")


@pytest.fixture(scope="session")
def mask_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "masknet.safetensors", "masknet")


@pytest.fixture(scope="session")
def predictor(weights: Path) -> Predictor:
    return Predictor.load(weights, exact=True)


@pytest.fixture(scope="session")
def mask_predictor(mask_weights: Path) -> Predictor:
    return Predictor.load(mask_weights)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


# Predictor


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150))
def test_answer_has_the_frames_own_size(mask_predictor: Predictor, height: int, width: int) -> None:
    answer = mask_predictor.with_plate(picture(height, width))(picture(height, width, 1))
    assert answer.mask.shape == (height, width)
    assert answer.mask.dtype == np.float32
    assert 0 <= answer.mask.min() <= answer.mask.max() <= 1


@pytest.mark.parametrize("shape", [(64, 64), (33, 97), (200, 50), (480, 640)])
def test_depth_has_the_frames_own_size_too(shape: tuple[int, int], predictor: Predictor) -> None:
    answer = predictor.with_plate(picture(*shape))(picture(*shape, 1))
    assert answer.depth is not None
    assert answer.mask.shape == answer.depth.shape == shape
    assert answer.depth.dtype == np.float32
    assert 0 <= answer.depth.min() <= answer.depth.max() <= 1


def test_the_fastest_answers_are_those_of_the_exact_network_but_for_rounding(run: Path, scenes: Path) -> None:
    name = list_pictures(scenes / "bg_fg")[0]
    plate, frame = read_rgb(list_pictures(scenes / "bg")[0]), read_rgb(name)
    exact, fast = (Predictor.load(run, exact=exact).with_plate(plate)(frame) for exact in (True, False))
    np.testing.assert_allclose(fast.mask, exact.mask, atol=0.05)
    np.testing.assert_allclose(fast.depth, exact.depth, atol=0.05)
    assert np.abs(fast.mask - exact.mask).mean() < 0.005


@pytest.mark.parametrize("shape", [(64, 64), (32, 64), (64, 32)])
def test_answer_is_that_of_the_network_where_nothing_is_resized(
    shape: tuple[int, int], predictor: Predictor, weights: Path
) -> None:
    plate, frame = picture(*shape), picture(*shape, 1)
    answer = predictor.with_plate(plate)(frame)
    model, _ = load_weights(weights)
    with torch.no_grad():
        prediction = model(normalised(plate, NORMALISATION.plate), normalised(frame, NORMALISATION.frame))
    np.testing.assert_allclose(answer.mask, prediction.mask_logits.sigmoid()[0, 0], atol=1e-5)
    np.testing.assert_allclose(answer.depth, prediction.depth_logits.sigmoid()[0, 0], atol=1e-5)


def normalised(pixels: np.ndarray, statistics: ChannelStatistics) -> torch.Tensor:
    scaled = (pixels / 255 - np.array(statistics.mean)) / np.array(statistics.std)
    return torch.tensor(scaled, dtype=torch.float32).permute(2, 0, 1)[None]


def test_size_asked_for_is_the_networks(mask_weights: Path) -> None:
    plate, frame = picture(96, 96), picture(96, 96, 1)
    small = Predictor.load(mask_weights).with_plate(plate)(frame).mask
    full = Predictor.load(mask_weights, 96).with_plate(plate)(frame).mask
    assert small.shape == full.shape
    assert not np.allclose(small, full, atol=1e-3)


def test_one_plate_serves_many_frames(mask_predictor: Predictor) -> None:
    answer_frame = mask_predictor.with_plate(picture(40, 60))
    first, other = answer_frame(picture(40, 60, 1)).mask, answer_frame(picture(40, 60, 2)).mask
    assert not np.array_equal(first, other)
    assert np.array_equal(first, answer_frame(picture(40, 60, 1)).mask)


def test_plate_may_be_larger_than_the_frame(mask_predictor: Predictor) -> None:
    plate, frame = draw_wall(0, (120, 160)), picture(60, 80)
    answer = mask_predictor.with_plate(plate)(frame)
    assert answer.mask.shape == (60, 80)
    same_size = mask_predictor.with_plate(cv2.resize(plate, (80, 60), interpolation=cv2.INTER_AREA))(frame)
    np.testing.assert_allclose(answer.mask, same_size.mask, atol=0.05)


def test_plate_of_another_shape_is_refused_in_a_line(mask_predictor: Predictor) -> None:
    answer_frame = mask_predictor.with_plate(picture(60, 80))
    with pytest.raises(UserError, match=r"^plate and frame are 80x60 and 60x80: not of one shape[^\n]*$"):
        answer_frame(picture(80, 60))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((3, 40, 40), np.uint8),
        np.zeros((40, 40, 3), np.float32),
        np.zeros((0, 40, 3), np.uint8),
    ],
    ids=["grey", "RGBA", "channels first", "float", "empty"],
)
def test_what_is_no_rgb_picture_is_refused(wrong: np.ndarray, mask_predictor: Predictor) -> None:
    with pytest.raises(UserError, match=r"plate: expected \(H, W, 3\) uint8 RGB"):
        mask_predictor.with_plate(wrong)
    answer_frame = mask_predictor.with_plate(picture(40, 40))
    with pytest.raises(UserError, match=r"frame: expected \(H, W, 3\) uint8 RGB"):
        answer_frame(wrong)


def test_size_that_does_not_fit_names_the_next_that_does(mask_weights: Path) -> None:
    with pytest.raises(UserError, match="65 is not a multiple of 32; the next that fits is 96"):
        Predictor.load(mask_weights, 65)


# predict


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A folder with `plate.png` and two frames of 90x70 in `frames/`."""
    (tmp_path / "frames").mkdir()
    write_picture(tmp_path / "plate.png", draw_wall(3, (70, 90)))
    for number in (1, 2):
        write_picture(tmp_path / "frames" / f"frame {number}.png", picture(70, 90, number))
    return tmp_path


def read(path: Path) -> np.ndarray:
    """Return a picture as it lies on disk, RGB where it has colours."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def test_files_hold_what_the_predictor_answers(weights: Path, scene: Path) -> None:
    predictor = Predictor.load(weights)
    predicted = predict(weights, scene / "plate.png", [scene / "frames"], out=scene / "out")
    kinds = ("mask", "cutout", "depth", "depth_colour", "overview")
    assert predicted.frames == 2
    assert {Path(file).name for file in predicted.files} == {f"frame {n}_{kind}.png" for n in (1, 2) for kind in kinds}
    assert {str(path) for path in (scene / "out").iterdir()} == set(predicted.files)

    frame = read(scene / "frames" / "frame 1.png")
    answer = predictor.with_plate(read(scene / "plate.png"))(frame)
    assert answer.depth is not None
    files = {kind: read(scene / "out" / f"frame 1_{kind}.png") for kind in kinds}
    assert np.array_equal(files["mask"], (answer.mask * 255).round())
    assert files["depth"].dtype == np.uint16
    assert np.array_equal(files["depth"], (answer.depth * 65535).round())
    assert np.array_equal(files["depth_colour"][:, :90], colour_depth(answer.depth))  # its scale is at the right
    assert np.array_equal(files["cutout"][..., :3], frame)
    assert np.array_equal(files["cutout"][..., 3], files["mask"])


def test_overview_shows_plate_frame_mask_cutout_and_depth(weights: Path, scene: Path) -> None:
    predict(weights, scene / "plate.png", [scene / "frames" / "frame 1.png"], out=scene / "out")
    overview = read(scene / "out" / "frame 1_overview.png")
    tile, gap, top = 320, 4, 18
    assert overview.shape == (top + tile + gap, 5 * (tile + gap) + 2 * gap, 3)
    height = round(70 * tile / 90)
    plate, frame, mask, *_ = (overview[top : top + height, n * (tile + gap) :][:, :tile] for n in range(5))
    for shown, file in ((plate, "plate.png"), (frame, "frames/frame 1.png"), (mask, "out/frame 1_mask.png")):
        expected = cv2.resize(read(scene / file), (tile, height), interpolation=cv2.INTER_LINEAR)
        assert np.array_equal(shown, expected if expected.ndim == 3 else np.dstack([expected] * 3))


def test_network_without_depth_gives_no_depth_files(mask_weights: Path, scene: Path) -> None:
    predicted = predict(mask_weights, scene / "plate.png", [scene / "frames" / "frame 1.png"], out=scene / "out")
    assert {Path(file).name for file in predicted.files} == {
        f"frame 1_{kind}.png" for kind in ("mask", "cutout", "overview")
    }


def test_frames_of_one_name_are_refused_before_anything_is_written(mask_weights: Path, scene: Path) -> None:
    write_picture(scene / "frame 1.jpg", picture(70, 90))
    with pytest.raises(UserError, match=r"frame 1\.jpg: would overwrite what comes of .*frame 1\.png"):
        predict(mask_weights, scene / "plate.png", [scene / "frames", scene / "frame 1.jpg"], out=scene / "out")
    assert not (scene / "out").exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"this is text", "not a readable picture"), (b"", "not a readable picture"), (None, "no such picture")],
)
def test_frame_that_cannot_be_read_is_named(content: bytes | None, text: str, mask_weights: Path, scene: Path) -> None:
    frame = scene / "broken.png"
    if content is not None:
        frame.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{frame}: {text}[^\n]*$"):
        predict(mask_weights, scene / "plate.png", [frame], out=scene / "out")


def test_frame_of_another_shape_is_named(mask_weights: Path, scene: Path) -> None:
    write_picture(scene / "tall.png", picture(90, 70))
    with pytest.raises(UserError, match=r"tall\.png: plate and frame are 90x70 and 70x90"):
        predict(mask_weights, scene / "plate.png", [scene / "tall.png"], out=scene / "out")


def test_folder_without_pictures_is_refused(mask_weights: Path, scene: Path) -> None:
    (scene / "empty").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        predict(mask_weights, scene / "plate.png", [scene / "empty"], out=scene / "out")


def test_metres_are_those_of_the_card(run: Path, scene: Path) -> None:
    frame = scene / "frames" / "frame 1.png"
    predict(run, scene / "plate.png", [frame], out=scene / "out")
    metres = read(scene / "out" / "frame 1_depth_metres.tiff")
    depth = Predictor.load(run).with_plate(read(scene / "plate.png"))(read(frame)).depth
    assert metres.dtype == np.float32
    np.testing.assert_allclose(metres, NEAR + depth * (FAR - NEAR), rtol=1e-5)


def test_relative_depth_has_no_metres(weights: Path, scene: Path) -> None:
    predict(weights, scene / "plate.png", [scene / "frames"], out=scene / "out")
    assert not list((scene / "out").glob("*metres*"))


@pytest.mark.parametrize("shape", [(70, 90), (35, 200), (300, 30)])
def test_background_fills_the_frame_by_its_middle(
    shape: tuple[int, int], predictor: Predictor, weights: Path, scene: Path
) -> None:
    beach = np.full((*shape, 3), 40, np.uint8)
    write_picture(scene / "beach.png", beach)
    frame = scene / "frames" / "frame 1.png"
    predict(weights, scene / "plate.png", [frame], out=scene / "out", onto=str(scene / "beach.png"))
    mask = predictor.with_plate(read(scene / "plate.png"))(read(frame)).mask[..., None]
    onto = read(scene / "out" / "frame 1_onto.png")
    np.testing.assert_allclose(onto, read(frame) * mask + 40 * (1 - mask), atol=1)


def test_patterns_are_looked_up(mask_weights: Path, scene: Path) -> None:
    predicted = predict(mask_weights, scene / "plate.png", [scene / "fra*" / "*.png"], out=scene / "out", only=["mask"])
    assert [Path(file).name for file in predicted.files] == ["frame 1_mask.png", "frame 2_mask.png"]


@pytest.mark.parametrize("given", ["**/frame *.png", "frames"])
def test_earlier_answers_are_no_frames_unless_named(given: str, mask_weights: Path, scene: Path) -> None:
    for _ in range(2):
        predicted = predict(mask_weights, scene / "plate.png", [scene / given], out=scene / "frames")
        assert predicted.frames == 2
    named = scene / "frames" / "frame 1_mask.png"
    assert predict(mask_weights, scene / "plate.png", [named], out=scene / "frames").frames == 1
    with pytest.raises(UserError, match=r"\*_mask.png: nothing but earlier answers in .*; give frames"):
        predict(mask_weights, scene / "plate.png", [scene / "frames" / "*_mask.png"], out=scene / "frames")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"onto": "#12"}, "--onto #12: not a colour; write six hex digits, such as #00ff00"),
        ({"onto": "none.png"}, "none.png: no such picture"),
        ({"only": ["masks"]}, "--only masks: is none of mask, cutout"),
        ({"only": ["onto"]}, "--only onto: give the background as well"),
        ({"only": ["mask"], "onto": "#00ff00"}, "--onto: --only mask leaves it out; add --only onto"),
        ({"only": ["depth"], "frames": ["film.mp4"]}, "--only depth: of a video there are mask, cutout, depth_colour"),
        ({"only": ["depth"], "frames": ["plate.png", "film.mp4"]}, "--only depth: of a video there are mask"),
        ({"size": 0}, "size: 0 is not a multiple of 32"),
        ({"frames": ["*.tif"]}, r"\*.tif: no file has such a name"),
    ],
)
def test_wishes_at_fault_are_refused(
    arguments: dict, text: str, mask_weights: Path, scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").touch()
    (tmp_path / "plate.png").touch()
    frames = arguments.pop("frames", [scene / "frames"])
    with pytest.raises(UserError, match=text):
        predict(mask_weights, scene / "plate.png", frames, out=scene / "out", **arguments)
    assert not (scene / "out").exists()


def test_depth_alone_of_a_network_without_it_is_refused(mask_weights: Path, scene: Path) -> None:
    with pytest.raises(UserError, match=r"--only depth: .* answer with none, or not in metres; leave --only out"):
        predict(mask_weights, scene / "plate.png", [scene / "frames"], out=scene / "no depth", only=["depth"])


def test_a_scene_keeps_no_more_of_a_large_frame_than_its_plate_takes(mask_weights: Path) -> None:
    plate, frame = np.zeros((64, 64, 3), np.uint8), np.zeros((512, 512, 3), np.uint8)
    answer_frame = Predictor.load(mask_weights, 32).with_plate(plate)
    answer_frame(frame)
    kept = [value for value in vars(answer_frame).values() if isinstance(value, np.ndarray)]
    assert sum(picture.nbytes for picture in kept) <= 3 * plate.nbytes
