"""Pictures in and out, and the canvas that a network sees: numpy and OpenCV only.

Arrays are `(H, W, 3)` uint8 RGB, `(H, W)` uint8 mask (255 foreground) and `(H, W)` uint16 depth (0 nearest,
65535 farthest).
"""

import re
import struct
from collections.abc import Iterator
from math import isqrt
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from cleanplate.errors import UserError
from cleanplate.files import read_file, write_bytes

# Faults come as UserError, in one line, and not from the codecs' own log as well.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

PICTURE_SUFFIXES = (".jpeg", ".jpg", ".png")
MULTIPLE = 32  # the network halves five times
MAX_PIXELS = 100_000_000
"""A picture of more pixels is refused before it is decoded: a few bytes can say that they are 50,000 by 50,000."""
MAX_SIZE = isqrt(MAX_PIXELS) // MULTIPLE * MULTIPLE
"""The largest canvas."""
MAX_SCANS = 100
"""A JPEG of more scans is refused: each goes over the whole picture, and takes but a few bytes; ten are usual."""

_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # the same of every PNG; its sides follow
_JPEG_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")  # of those with something behind them
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


class _Header(NamedTuple):
    """What a picture file says of itself."""

    width: int
    height: int
    scans: int
    is_whole: bool
    """Its end is there: without it decoders fill the rest with grey and say nothing."""


class PictureFormatError(UserError):
    """Its content is neither JPEG nor PNG, whatever its name says."""


class PictureTooLargeError(UserError):
    """It says that it has more pixels, or takes more work, than we read."""


def decode(path: Path, flags: int) -> np.ndarray:
    """Decode a picture file.

    Raises:
        UserError: the file is missing, or as `decode_bytes`.
    """
    return decode_bytes(read_file(path, "no such picture"), flags, path)


def decode_bytes(content: bytes, flags: int, name: Path | str, max_pixels: int | None = None) -> np.ndarray:
    """Decode the content of a picture file.

    Args:
        content: all of it.
        flags: OpenCV's, such as `cv2.IMREAD_COLOR`.
        name: what faults are told of.
        max_pixels: a picture of more is refused before it is decoded; `MAX_PIXELS` when None.

    Raises:
        PictureFormatError: it is neither JPEG nor PNG.
        PictureTooLargeError: it has more pixels than that, or more scans than `MAX_SCANS`.
        UserError: it ends before the picture does, or is damaged.
    """
    return _decode_bounded(name, content, _read_header(content), flags, "JPEG or PNG", max_pixels or MAX_PIXELS)


def read_bitmap(path: Path) -> np.ndarray:
    """Read a Windows bitmap, `.bmp`, as `(H, W)` uint8 grey.

    Raises:
        UserError: as `decode`.
    """
    content = read_file(path, "no such picture")
    header = _read_bitmap_header(content)
    return _decode_bounded(path, content, header, cv2.IMREAD_GRAYSCALE, "BMP", MAX_PIXELS)


def _decode_bounded(
    name: Path | str, content: bytes, header: _Header | None, flags: int, kind: str, max_pixels: int
) -> np.ndarray:
    if header is None:
        raise PictureFormatError(f"{name}: not a readable picture; replace it with a valid {kind}")
    if not header.is_whole:
        raise UserError(f"{name}: the picture ends early (truncated file); copy or download it again")
    if header.width * header.height > max_pixels:
        size = f"{header.width}x{header.height}, and at most {max_pixels:,} pixels are read"
        raise PictureTooLargeError(f"{name}: is {size}; save it smaller")
    if header.scans > MAX_SCANS:
        scans = f"{header.scans} scans, and at most {MAX_SCANS} are read"
        raise PictureTooLargeError(f"{name}: is a JPEG of {scans}; save it anew")
    picture = _decode(content, flags)
    if picture is None:
        raise UserError(f"{name}: not a readable picture; replace it with a valid {kind}")
    return picture


def _decode(content: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:  # such as a side of more than a million pixels
        return None


def _read_header(content: bytes) -> _Header | None:
    """Read what a JPEG or PNG says of itself; None of anything else, also where OpenCV could decode it."""
    if content.startswith(b"\xff\xd8"):
        return _read_jpeg_header(content)
    if content.startswith(_PNG_START):
        return _read_png_header(content)
    return None


def _read_png_header(content: bytes) -> _Header:
    """Go from chunk to chunk: one that says it is longer than the file would have memory taken for all it says."""
    width, height = struct.unpack(">II", content[16:24].ljust(8, b"\0"))
    kind, at = b"", 8
    while kind != b"IEND" and at < len(content):  # some programs add more after the end
        kind = content[at + 4 : at + 8]
        at += 12 + int.from_bytes(content[at : at + 4])
    return _Header(width, height, scans=1, is_whole=kind == b"IEND" and at <= len(content))


def _read_bitmap_header(content: bytes) -> _Header | None:
    if not content.startswith(b"BM") or len(content) < 26:
        return None
    length, width, height = struct.unpack_from("<2xI12xii", content)  # a negative height is one from the top down
    return _Header(abs(width), abs(height), scans=1, is_whole=len(content) >= length)


def _read_jpeg_header(content: bytes) -> _Header:
    width, height, scans, at = 0, 0, 0, 2
    while (found := _JPEG_MARKER.search(content, at)) and found[1][0] != _END_OF_IMAGE:
        marker, at = found[1][0], found.end()
        segment = content[at : at + 7]
        if marker in _START_OF_FRAME and not height and len(segment) == 7:
            height, width = struct.unpack_from(">HH", segment, 3)
        scans += marker == _START_OF_SCAN
        at += int.from_bytes(segment[:2])
    return _Header(width, height, scans, is_whole=found is not None)


def read_rgb(path: Path) -> np.ndarray:
    """Read a picture as `(H, W, 3)` uint8 RGB; grey becomes RGB, alpha is dropped."""
    return decode_rgb(read_file(path, "no such picture"), path)


def decode_rgb(content: bytes, name: Path | str, max_pixels: int | None = None) -> np.ndarray:
    """Decode the content of a picture file as `read_rgb` does, with the bounds and errors of `decode_bytes`."""
    return cv2.cvtColor(decode_bytes(content, cv2.IMREAD_COLOR, name, max_pixels), cv2.COLOR_BGR2RGB)


def read_rgba(path: Path) -> np.ndarray:
    """Read a cutout as `(H, W, 4)` uint8 RGBA, palette pictures included.

    Raises:
        UserError: the picture has no alpha channel, or nothing in it is opaque.
    """
    picture = decode(path, cv2.IMREAD_UNCHANGED)
    if picture.ndim != 3 or picture.shape[2] != 4:
        raise UserError(f"{path}: a cutout needs an alpha channel; save it as a PNG with transparency")
    if picture.dtype == np.uint16:
        picture = (picture // 257).astype(np.uint8)
    if picture[..., 3].max() < 128:
        raise UserError(f"{path}: this cutout is transparent everywhere; replace or remove it")
    return cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)


def read_mask(path: Path) -> np.ndarray:
    """Read a mask as `(H, W)` uint8, 255 where foreground."""
    return decode(path, cv2.IMREAD_GRAYSCALE)


def read_depth(path: Path) -> np.ndarray:
    """Read a depth map as `(H, W)` uint16, 0 nearest; 8-bit values are widened to the full range."""
    depth = decode(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    return depth if depth.dtype == np.uint16 else depth.astype(np.uint16) * 257


def require_picture_name(path: Path, option: str) -> None:
    """Tell the user of an option whose picture has a name of no picture."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"{option} {path}: is no name of a picture; end it in .png")


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a grey, RGB or RGBA array as a whole file; the suffix says the format (JPEG at quality 95)."""
    write_bytes(path, encode(picture, path.suffix))


def encode(picture: np.ndarray, suffix: str = ".png", compression: int = 3) -> bytes:
    """Return the content of a file of a grey, RGB or RGBA array: JPEG at quality 95, or PNG, compressed 0 to 9."""
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    options = {".png": [cv2.IMWRITE_PNG_COMPRESSION, compression], ".tiff": []}
    return cv2.imencode(suffix, picture, options.get(suffix, [cv2.IMWRITE_JPEG_QUALITY, 95]))[1].tobytes()


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files right in `folder`, sorted by name.

    Raises:
        UserError: there are none.
    """
    pictures = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    if not pictures:
        raise UserError(f"{folder}: holds no pictures; put {', '.join(PICTURE_SUFFIXES)} files there")
    return pictures


def pictures_called(folder: Path, name: str) -> Iterator[Path]:
    """Yield the pictures in `folder` called `name`: suffixes in small letters first, since few have capitals."""
    small = [folder / f"{name}{suffix}" for suffix in PICTURE_SUFFIXES]
    yield from (path for path in small if path.exists())
    for path, suffix in zip(small, PICTURE_SUFFIXES, strict=True):
        capital = folder / f"{name}{suffix.upper()}"
        if capital.exists() and not (path.exists() and path.samefile(capital)):  # one file where case does not count
            yield capital


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a copy of `picture`, `(h, w)` or `(h, w, C)`, at a size: by areas to fewer pixels, linearly to more."""
    shrinks = height * width < picture.shape[0] * picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def rescale(picture: np.ndarray, factor: float) -> np.ndarray:
    """Return a copy of `picture`, `(h, w)` or `(h, w, C)`, so many times as large, at least a pixel a side."""
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return resize(picture, height, width)


class Canvas(NamedTuple):
    """Where a picture lies on the canvas that the network sees: top left, the rest repeats its last row and column."""

    height: int
    width: int
    """Size of the canvas, multiples of 32."""
    inner_height: int
    inner_width: int
    """Size of the picture on it; its longer side is the size asked for."""

    @classmethod
    def square(cls, picture_shape: tuple[int, ...], size: int) -> "Canvas":
        """Return a canvas of `size` x `size`, on which pictures of any shape make one batch."""
        return cls(size, size, *_scaled(picture_shape, size))

    @classmethod
    def tight(cls, picture_shape: tuple[int, ...], size: int) -> "Canvas":
        """Return the smallest canvas that holds the picture at `size`, for one picture at a time."""
        inner = _scaled(picture_shape, size)
        height, width = (-(-side // MULTIPLE) * MULTIPLE for side in inner)
        return cls(height, width, *inner)

    def resize(self, picture: np.ndarray) -> np.ndarray:
        """Return `picture`, `(h, w)` or `(h, w, C)`, at its size on the canvas."""
        inner = self.inner_height, self.inner_width
        return picture if picture.shape[:2] == inner else resize(picture, *inner)

    def place(self, picture: np.ndarray) -> np.ndarray:
        """Return `picture`, `(h, w)` or `(h, w, C)`, resized onto the canvas, whose rest is padding."""
        picture = self.resize(picture)
        bottom, right = self.height - self.inner_height, self.width - self.inner_width
        if bottom or right:
            picture = cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        return picture

    def take_back(self, answer: np.ndarray, picture_shape: tuple[int, ...]) -> np.ndarray:
        """Return an answer `(height, width)` float32 at the picture's own size, the padding cut away."""
        inner = answer[: self.inner_height, : self.inner_width]
        if inner.shape == picture_shape[:2]:
            return inner
        return cv2.resize(inner, picture_shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _scaled(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    longer = max(shape[:2])
    return max(1, round(shape[0] * size / longer)), max(1, round(shape[1] * size / longer))


def require_multiple(size: int, what: str) -> int:
    """Return `size`, or name the next one that the network can take, or the largest."""
    if size < MULTIPLE or size % MULTIPLE:
        fits = max(1, -(-size // MULTIPLE)) * MULTIPLE
        raise UserError(f"{what}: {size} is not a multiple of {MULTIPLE}; the next that fits is {fits}")
    if size > MAX_SIZE:
        raise UserError(f"{what}: {size} is too large; the largest that fits is {MAX_SIZE}")
    return size
