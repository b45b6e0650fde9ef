import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from fuzz_inputs import chunk, png
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cleanplate.errors import UserError
from cleanplate.pictures import (
    Canvas,
    list_pictures,
    read_bitmap,
    read_depth,
    read_mask,
    read_rgb,
    read_rgba,
    require_multiple,
    rescale,
    resize,
    write_picture,
)

sides = st.integers(1, 500)
sizes = st.integers(1, 10).map(lambda n: 32 * n)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(("read", "shape"), [(read_rgb, (9, 7, 3)), (read_mask, (9, 7))])
def test_png_comes_back_as_it_was(tmp_path: Path, read, shape: tuple[int, ...]) -> None:
    write_picture(tmp_path / "a.png", noise(*shape))
    assert np.array_equal(read(tmp_path / "a.png"), noise(*shape))


def test_rgba_comes_back_as_it_was(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", noise(9, 7, 4))
    assert np.array_equal(read_rgba(tmp_path / "a.png"), noise(9, 7, 4))


def test_jpeg_keeps_the_order_of_channels(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", np.full((16, 16, 3), (250, 120, 10), np.uint8))
    assert np.abs(read_rgb(tmp_path / "a.jpg").astype(int) - (250, 120, 10)).max() <= 2


def test_depth_keeps_16_bits_and_widens_8(tmp_path: Path) -> None:
    depth = np.array([[0, 1, 40000], [65535, 257, 3]], np.uint16)
    write_picture(tmp_path / "16.png", depth)
    assert np.array_equal(read_depth(tmp_path / "16.png"), depth)
    write_picture(tmp_path / "8.png", np.array([[0, 1, 255]], np.uint8))
    assert read_depth(tmp_path / "8.png").tolist() == [[0, 257, 65535]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_cutouts_of_every_kind_of_transparency_are_read(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
    picture.paste((90, 90, 90, 255), (2, 1, 6, 4))
    picture.convert(mode).save(tmp_path / "a.png")
    cutout = read_rgba(tmp_path / "a.png")
    assert cutout.shape == (4, 6, 4)
    assert (cutout[1:, 2:] == [90, 90, 90, 255]).all()
    assert (cutout[0, :, 3] == 0).all()


def test_cutouts_of_16_bits_are_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), noise(5, 5, 4).astype(np.uint16) * 257)
    assert np.array_equal(read_rgba(tmp_path / "a.png")[..., 3], noise(5, 5, 4)[..., 3])


@pytest.mark.parametrize(
    ("picture", "words"),
    [(noise(5, 5, 3), "needs an alpha channel"), (noise(5, 5, 4) * [1, 1, 1, 0], "transparent everywhere")],
)
def test_cutout_without_alpha_is_named(tmp_path: Path, picture: np.ndarray, words: str) -> None:
    write_picture(tmp_path / "a.png", picture.astype(np.uint8))
    with pytest.raises(UserError, match=rf"a\.png: .*{words}"):
        read_rgba(tmp_path / "a.png")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_picture_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, noise(64, 64, 3))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=rf"a\{suffix}: the picture ends early"):
        read_rgb(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_bytes_after_the_end_do_no_harm(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, noise(16, 16, 3))
    expected = read_rgb(path)
    path.write_bytes(path.read_bytes() + bytes(200) + b"\xff\xda of a film that a phone has added")
    assert np.array_equal(read_rgb(path), expected)


def test_bitmap_comes_back_as_it_was_or_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bmp"
    Image.fromarray(noise(9, 7)).save(path)
    assert np.array_equal(read_bitmap(path), noise(9, 7))
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    with pytest.raises(UserError, match=r"a\.bmp: the picture ends early"):
        read_bitmap(path)
    path.write_bytes(content[:18] + struct.pack("<ii", 20_000, -20_000) + content[26:])
    with pytest.raises(UserError, match=r"a\.bmp: is 20000x20000, and at most 100,000,000 pixels are read"):
        read_bitmap(path)
    write_picture(tmp_path / "b.png", noise(9, 7))
    (tmp_path / "b.png").rename(path)
    with pytest.raises(UserError, match=r"a\.bmp: not a readable picture; replace it with a valid BMP"):
        read_bitmap(path)


@pytest.mark.parametrize("content", [b"", b"this is no picture"])
def test_text_called_png_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png: not a readable picture"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".bmp", ".webp", ".tiff", ".gif", ".ppm"])
def test_other_format_called_png_is_named(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a.png").write_bytes(cv2.imencode(suffix, noise(9, 7, 3))[1].tobytes())
    with pytest.raises(UserError, match=r"a\.png: not a readable picture; replace it with a valid JPEG or PNG"):
        read_rgb(tmp_path / "a.png")


def wide_png(side: int) -> bytes:
    """Some bytes that say they are a picture of that many pixels a side."""
    return png(struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0), chunk(b"IDAT", zlib.compress(bytes(9999))))


def wide_jpeg(side: int, scans: int = 1) -> bytes:
    """As `wide_png`; its last scan is there so many times."""
    content = cv2.imencode(".jpg", noise(9, 7), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    size, last = content.index(b"\xff\xc2") + 5, content.rindex(b"\xff\xda")
    content = content[:size] + struct.pack(">HH", side, side) + content[size + 4 :]
    return content[:last] + content[last:-2] * scans + content[-2:]


@pytest.mark.parametrize(
    ("make", "side"),
    [(wide_png, 10_001), (wide_png, 50_000), (wide_png, 2**32 - 1), (wide_jpeg, 10_001), (wide_jpeg, 65_500)],
)
def test_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, make, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(make(side))
    monkeypatch.delattr(cv2, "imdecode")
    with pytest.raises(
        UserError, match=rf"a\.png: is {side}x{side}, and at most 100,000,000 pixels are read; save it sm"
    ):
        read_rgb(tmp_path / "a.png")


def test_png_of_a_chunk_longer_than_the_file_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = struct.pack(">IIBBBBB", 7, 9, 16, 6, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(png(header).replace(b"\0\0\0\0IEND", b"\xff\xff\xff\xffIDAT\0\0\0\0IEND"))
    monkeypatch.delattr(cv2, "imdecode")
    with pytest.raises(UserError, match=r"a\.png: the picture ends early"):
        read_rgba(tmp_path / "a.png")


def test_png_whose_sides_stand_elsewhere_is_refused(tmp_path: Path) -> None:
    first = chunk(b"gAMA", struct.pack(">II", 8, 8))
    (tmp_path / "a.png").write_bytes(wide_png(20_000)[:8] + first + wide_png(20_000)[8:])
    with pytest.raises(UserError, match=r"a\.png: not a readable picture"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_bound_on_pixels_is_exact(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, noise(9, 7, 3))
    monkeypatch.setattr("cleanplate.pictures.MAX_PIXELS", 63)
    assert read_rgb(path).shape == (9, 7, 3)
    monkeypatch.setattr("cleanplate.pictures.MAX_PIXELS", 62)
    with pytest.raises(UserError, match="is 7x9, and at most 62 pixels"):
        read_rgb(path)


def test_jpeg_of_a_thousand_scans_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(wide_jpeg(9, scans=20))
    assert read_mask(tmp_path / "a.jpg").shape == (9, 9)
    (tmp_path / "a.jpg").write_bytes(wide_jpeg(9, scans=1000))
    with pytest.raises(UserError, match=r"a\.jpg: is a JPEG of \d+ scans, and at most 100 are read; save it anew"):
        read_mask(tmp_path / "a.jpg")


def test_picture_that_opencv_throws_at_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(struct.pack(">IIBBBBB", 2**20 + 1, 2, 8, 0, 0, 0, 0), chunk(b"IDAT", b"")))
    with pytest.raises(UserError, match=r"a\.png: not a readable picture"):
        read_mask(tmp_path / "a.png")


def test_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.png: no such picture"):
        read_mask(tmp_path / "a.png")


def test_pictures_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "c.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in list_pictures(tmp_path)] == ["a.jpeg", "b.PNG"]


def test_fewer_pixels_are_means_and_more_lie_on_lines() -> None:
    picture = noise(8, 6).astype(np.float32)
    assert resize(picture, 4, 3) == pytest.approx(picture.reshape(4, 2, 3, 2).mean((1, 3)))
    slope = np.arange(4, dtype=np.float32)[None].repeat(2, 0)
    assert rescale(slope, 2)[0] == pytest.approx([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])  # centres of pixels meet


@given(sides, sides, st.floats(0.001, 2))
def test_rescaled_is_a_copy_of_a_pixel_at_least(height: int, width: int, factor: float) -> None:
    picture = noise(height, width, 3)
    scaled = rescale(picture[:, ::-1], factor)
    assert scaled.shape == (max(1, round(height * factor)), max(1, round(width * factor)), 3)
    assert scaled.flags.c_contiguous
    assert not np.shares_memory(scaled, picture)


@given(sides, sides, sizes)
def test_canvas_holds_a_picture_of_any_shape(height: int, width: int, size: int) -> None:
    square, tight = (make((height, width), size) for make in (Canvas.square, Canvas.tight))
    assert square[:2] == (size, size)
    assert square[2:] == tight[2:]
    assert max(tight[2:]) == size
    for side, inner in zip(tight[:2], tight[2:], strict=True):
        assert side % 32 == 0
        assert 0 <= side - inner < 32
    assert abs(tight.inner_height - size * height / max(height, width)) <= 1


def test_canvas_repeats_the_edge() -> None:
    picture = noise(20, 40, 3)
    placed = Canvas.square(picture.shape, 64).place(picture)
    inner = cv2.resize(picture, (64, 32), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(placed[:32], inner)
    assert (placed[32:] == inner[-1]).all()


def test_canvas_gives_a_picture_of_its_own_size_back() -> None:
    mask = np.random.default_rng(0).random((40, 64)).astype(np.float32)
    canvas = Canvas.tight(mask.shape, 64)
    assert canvas[:2] == (64, 64)
    assert np.array_equal(canvas.take_back(canvas.place(mask), mask.shape), mask)


@given(sides, sides)
def test_an_answer_has_the_pictures_shape(height: int, width: int) -> None:
    canvas = Canvas.tight((height, width, 3), 64)
    assert canvas.take_back(np.zeros(canvas[:2], np.float32), (height, width, 3)).shape == (height, width)


@pytest.mark.parametrize(("size", "fits"), [(0, 32), (31, 32), (33, 64), (100, 128), (223, 224)])
def test_a_size_that_does_not_fit_is_told_the_next_that_does(size: int, fits: int) -> None:
    with pytest.raises(UserError, match=f"--size: {size} is not a multiple of 32; the next that fits is {fits}"):
        require_multiple(size, "--size")
    assert require_multiple(fits, "--size") == fits


def test_a_size_beyond_all_memory_is_refused() -> None:
    assert require_multiple(9984, "--size") == 9984
    with pytest.raises(UserError, match="--size: 3200000 is too large; the largest that fits is 9984"):
        require_multiple(3_200_000, "--size")
