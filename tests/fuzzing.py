"""Foreign files for the readers, mutated and made up, and the one check of all: an answer, or a UserError of one line.

`benchmarks/fuzz.py` feeds them by the thousands, `test_fuzz.py` by the hundreds.
"""

import io
import json
import os
import resource
import signal
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import hypothesis
import numpy as np
import yaml
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_files import integer_elsewhere, make_onnx

from cleanplate.data.card import ChannelStatistics, DepthMeaning, Normalisation, read_card, write_card
from cleanplate.data.check import check
from cleanplate.data.label_depth import read_description
from cleanplate.data.modest import FIELDS, ModestFolder
from cleanplate.data.pack import read_pack_card
from cleanplate.errors import UserError
from cleanplate.models import create_model
from cleanplate.pictures import read_bitmap, read_depth, read_mask, read_rgb, read_rgba, write_picture
from cleanplate.predict.clips import Clip, ClipFrame
from cleanplate.predict.predictor import Predictor
from cleanplate.recipe import Recipe
from cleanplate.recipes import load_recipe
from cleanplate.weights import WeightsCard, load_weights, save_weights
from cleanplate.zips import ZipPath

SECONDS = 10
"""A reader that takes longer hangs."""
MEGABYTES = 2000
"""A reader that takes more is no longer bounded: a picture of 100 million pixels takes some 1,200."""


class Finding(NamedTuple):
    """What a reader should not have done."""

    reader: str
    fault: str
    content: bytes


class Tally(NamedTuple):
    """What came of a reader's inputs."""

    reader: str
    inputs: int
    answered: int
    refused: int
    seconds: float
    findings: list[Finding]


class Reader(NamedTuple):
    """A reader under test: the input becomes `file` of a furnished folder, and `read` reads it there."""

    name: str
    file: str
    inputs: st.SearchStrategy[bytes]
    read: Callable[[Path], object]


def fuzz(reader: Reader, inputs: int, folder: Path, seed: int = 0) -> Tally:
    """Feed a reader with inputs that follow from the seed; `folder` is furnished and used for nothing else."""
    _furnish(folder)
    outcomes: list[str | Finding] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=inputs, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=HealthCheck
    )
    @hypothesis.given(reader.inputs)
    def feed(content: bytes) -> None:
        outcomes.append(_try(reader, folder / reader.file, content))

    _try(reader, folder / reader.file, b"")  # what is imported late is imported now
    start = time.perf_counter()
    feed()
    seconds = time.perf_counter() - start
    findings = [outcome for outcome in outcomes if isinstance(outcome, Finding)]
    return Tally(reader.name, len(outcomes), outcomes.count("answered"), outcomes.count("refused"), seconds, findings)


def _try(reader: Reader, path: Path, content: bytes) -> str | Finding:
    path.write_bytes(content)
    peak, start = _peak_megabytes(), time.perf_counter()
    outcome = "answered"
    with _watch(path.parent) as faults:
        try:
            reader.read(path)
        except UserError as error:
            outcome = "refused"
            message = str(error)
            if not message.isprintable():
                faults.append(f"a message of several lines: {message!r}")
            if path.name not in message and str(path.parent) not in message:
                faults.append(f"a message that names no file: {message}")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            faults.append(f"{type(error).__name__}: {error}")
    if time.perf_counter() - start > SECONDS:
        faults.append(f"took {time.perf_counter() - start:.0f} s")
    if _peak_megabytes() - peak > MEGABYTES:
        faults.append(f"took {_peak_megabytes() - peak:.0f} MB")
    return Finding(reader.name, "; ".join(faults), content) if faults else outcome


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _Hang(BaseException):
    """A reader has taken too long."""


_FORBIDDEN = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "pickle.find_class"}
_CHANGES = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate"}
_INSTALLED = tuple(
    str(Path(place).resolve()) for place in (sys.prefix, sys.base_prefix, Path(yaml.__file__).parent, "src", "/proc")
)
_watched: list[tuple[Path, list[str]]] = []


@contextmanager
def _watch(folder: Path) -> Iterator[list[str]]:
    """Yield a list that fills with what happens within: what leaves the folder, runs programs, or hangs."""

    def stop(*_: object) -> None:
        raise _Hang

    faults: list[str] = []
    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    _watched.append((folder.resolve(), faults))
    try:
        yield faults
    finally:
        _watched.pop()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _note(event: str, details: tuple) -> None:
    if not _watched:
        return
    folder, faults = _watched[-1]
    if event in _FORBIDDEN:
        faults.append(f"{event} {details}")
    elif (event == "open" or event in _CHANGES) and isinstance(details[0], str | bytes | os.PathLike):
        path = os.path.realpath(os.fsdecode(details[0]))
        reads = event == "open" and not details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not path.startswith((str(folder), *_INSTALLED) if reads else str(folder)):
            faults.append(f"{event} {path}")


sys.addaudithook(_note)


def _furnish(folder: Path) -> None:
    """Fill a folder with a data set of one item `a` and a recipe to extend."""
    for field in FIELDS:
        (folder / field).mkdir(parents=True)
        write_picture(folder / field / "a.png", np.full((8, 8, 3) if field in FIELDS[:2] else (8, 8), 99, np.uint8))
    (folder / "file_map.txt").write_bytes(FILE_MAP)
    (folder / "base.yaml").write_text(load_recipe("quick").to_yaml())


# --- inputs ---


def _spliced(content: bytes, words: Sequence[bytes], draw: st.DrawFn) -> bytes:
    """Put something else in place of a stretch: a word, some bytes, another stretch of the content, or nothing."""
    start = draw(st.integers(0, len(content)))
    stop = start + draw(st.sampled_from([0, 0, 0, 1, 1, 1, 2, 4, 8, len(content)]))
    own = st.integers(0, len(content)).map(lambda at: content[at : at + 40])
    piece = draw(st.binary(max_size=3) | st.sampled_from([b"", *words]) | own)
    return content[:start] + piece + content[stop:]


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """One of the seeds, changed in up to three places."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        content = _spliced(content, words, draw)
    return content


YAML_WORDS = [
    *(
        b": ",
        b"- ",
        b"\n  ",
        b"{",
        b"]",
        b"&a ",
        b"*a",
        b"<<: *a\n",
        b"? ",
        b"|\n",
        b"--- ",
        b"%YAML 9\n",
        b"\0",
        b"\xff",
    ),
    *(b"!!binary x", b"!!timestamp x", b"!!bool x", b"!!int _", b"!!float x", b"!!set {}", b"!!python/name:os.system"),
    *(b"!!python/object/apply:os.system [touch /tmp/sprung]\n", b"!!omap [a]", b"2001-99-99", b"0x", b"1:99", b"~"),
    *(b".inf", b"-.nan", b"1e999", b"9" * 5000, b"[" * 2000, b"{a: " * 2000, b"extends: base.yaml\n", b"\x1b[2J"),
    *(b"extends: ../base.yaml\n", b"extends: /etc/passwd\n", b"extends: .\n", b"extends: " + b"a" * 300 + b"\n"),
    b"bomb: "
    + b"["
    + b", ".join(b"&b%d [%s]" % (n, b"*b%d, " % (n - 1) * 9 if n else b"x") for n in range(30))
    + b"]\n",
    *(b"name: ../../x\n", b"size: 99999968\n", b"seed: -1\n", b"lr: 1_0.0\n", b"made_by: {a: !!binary gICA}\n"),
]
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_quick = load_recipe("quick").model_dump(mode="json")


def _tables(known: dict[str, object]) -> st.SearchStrategy[bytes]:
    """YAML of a table in which some keys hold anything."""
    keys = st.sampled_from([*known, "extends", "a"]) | st.text(max_size=3)
    changes = st.dictionaries(keys, _values, min_size=1, max_size=3)
    return changes.map(lambda changed: yaml.safe_dump(known | changed, allow_unicode=True).encode(errors="replace"))


def _encoded(suffix: str, shape: tuple[int, ...], kind: type = np.uint8, *options: int) -> bytes:
    picture = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape).astype(kind)
    return cv2.imencode(suffix, picture, options)[1].tobytes()


PNGS = [_encoded(".png", shape) for shape in ((9, 7), (9, 7, 3), (9, 7, 4))]
PNGS += [_encoded(".png", (9, 7), np.uint16), _encoded(".png", (9, 7, 4), np.uint16)]
JPEGS = [_encoded(".jpg", (24, 17)), _encoded(".jpg", (24, 17, 3))]
JPEGS += [_encoded(".jpg", (24, 17, 3), np.uint8, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)]
BITMAPS = [_encoded(".bmp", (9, 7)), _encoded(".bmp", (9, 7, 3))]
OTHERS = [_encoded(suffix, (9, 7, 3)) for suffix in (".bmp", ".webp", ".tiff", ".ppm", ".gif")]
PICTURE_WORDS = [
    *(
        b"\xff\xda",
        b"\xff\xd9",
        b"\xff\xd8",
        b"\xff\xc2\0\x0b\x08\xff\xdc\xff\xdc\x01\x01\x11\0",
        b"\xff\xff",
        b"\xff\xe1\xff\xff",
    ),
    *(b"\xff\xe1\0\x1aExif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06", b"\x7f\xff\xff\xff", b"\0" * 300),
]


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(header: bytes, *chunks: bytes) -> bytes:
    """A PNG of a header and some chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join([chunk(b"IHDR", header), *chunks, chunk(b"IEND", b"")])


def sealed(content: bytes) -> bytes:
    """The chunks of a PNG with the checksums that they should have: without them a decoder looks no further."""
    signature, rest, chunks = content[:8], content[8:], b""
    while len(rest) > 12:
        length = min(int.from_bytes(rest[:4]), len(rest) - 12)
        chunks += chunk(rest[4:8], rest[8 : 8 + length])
        rest = rest[12 + length :]
    return signature + chunks + rest


_sides = st.integers(0, 40) | st.sampled_from([10_000, 10_001, 50_000, 2**20 + 1, 2**31 - 1, 2**32 - 1])
_headers = st.builds(
    lambda width, height, rest: struct.pack(">II", width, height) + bytes(rest),
    *(_sides, _sides),
    st.tuples(st.sampled_from([1, 2, 4, 8, 16, 3]), st.sampled_from([0, 2, 3, 4, 6, 1]), *[st.integers(0, 1)] * 3),
)
_chunks = st.builds(
    chunk,
    st.sampled_from(
        [b"IDAT", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf", b"iCCP", b"zTXt", b"gAMA", b"sBIT"]
    ),
    st.binary(max_size=30) | st.integers(0, 20_000).map(lambda count: zlib.compress(bytes(count))),
)
_pngs = st.builds(lambda header, chunks: png(header, *chunks), _headers, st.lists(_chunks, max_size=5))

_plain = ChannelStatistics(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
CARD = WeightsCard(
    model="masknet", size=96, normalisation=Normalisation(plate=_plain, frame=_plain), depth=DepthMeaning()
)
WEIGHTS_WORDS = [
    *(b'"F64"', b'"BF16"', b'"I64"', b'"BOOL"', b'"F4"', b'"F8_E5M2"', b"[]", b"[0]", b"-1", b"1e9", b"NaN", b"null"),
    *(
        b"18446744073709551615",
        b"9" * 400,
        b"[" * 300,
        b"32000000",
        b"dsresnet",
        b'\\"size\\":100',
        b"\\u0000",
        b"\xff",
    ),
]


class Weights(NamedTuple):
    """The two parts of a weights file, to be changed each by itself."""

    header: bytes
    tensors: bytes

    @classmethod
    def make(cls, folder: Path) -> "Weights":
        """Take those of a new masknet apart."""
        save_weights(folder / "w.safetensors", create_model("masknet"), CARD)
        content = (folder / "w.safetensors").read_bytes()
        (folder / "w.safetensors").unlink()
        (length,) = struct.unpack_from("<Q", content)
        return cls(content[8 : 8 + length], content[8 + length :])


ONNX = [make_onnx(CARD.model_dump_json())]
ONNX_WORDS = [
    *(b"plate", b"mask", b"depth", b"Cast", b"Expand", b"Loop", b"ai.onnx.ml", b"location", b"\x70\x01", b"\x08\x00"),
    *(b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\xff" * 9 + b"\x01", b"\x1a\x00" * 500, b"NaN", b"[" * 300),
    integer_elsewhere("../../etc/passwd").SerializeToString(),
    TensorProto(name="channel", data_type=TensorProto.INT64, dims=[2**40], raw_data=b"").SerializeToString(),
]


FILE_MAP = b"a\ta\ta\ta\n"
FILE_MAP_WORDS = [
    *(
        b"a",
        b"\t",
        b"\n",
        b"\r\n",
        b"../",
        b"..",
        b"/etc/passwd",
        b"\\",
        b"\0",
        b"\x1b[2J",
        b"\xef\xbb\xbf",
        b"\xff",
        b".",
    ),
    *(
        b"a" * 300,
        b"\xf0\x9f\x98\x80" * 70,
        b"a\ta\ta\t\n",
        b"b\ta\ta\ta\n",
        b"../frame/a",
        b"CON",
        b"%s",
        b"\xe2\x80\xa8",
    ),
]
ITEMS = b"frame,plate,cutouts\na,a,ann ben\n"
ITEMS_WORDS = [b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"a", b"frame", b"x" * 140_000, b"a,a,\n", b"\x1b[2J", b'"\n"']
STATISTICS = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
CONTENT = {
    "name": "set",
    "made_by": {"command": "data museum"},
    "normalisation": {"plate": STATISTICS, "frame": STATISTICS},
    "depth": {"kind": "metric", "near": 1, "far": 8, "fov": 60},
}
NETWORK = {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3], "size": 518, "multiple": 14, "gives": "disparity"}


# --- readers ---


def _read_recipe(path: Path) -> None:
    recipe = load_recipe(path)
    assert Recipe.model_validate(yaml.safe_load(recipe.to_yaml())) == recipe


def _read_card(path: Path) -> None:
    write_card(path.parent, read_card(path.parent))
    read_card(path.parent)


def _read_depth_network(path: Path) -> None:
    assert read_description(path.with_suffix(".onnx")).gives in ("depth", "disparity")


def _read_file_map(path: Path) -> None:
    data = ModestFolder(path.parent)
    for index in range(min(len(data), 4)):
        for field in FIELDS:
            if data.name(index, field):
                assert data.find(index, field).resolve().parent == data.folders[field].resolve()


def _read_items(path: Path) -> None:
    assert all(fault.fault.isprintable() for fault in check(path.parent, workers=1).faults)
    assert len(ModestFolder(path.parent).cutouts()) == 1


def _read_pack_card(path: Path) -> None:
    assert read_pack_card(path.parent).format == 1


def _read_zip(path: Path) -> None:
    folder = ModestFolder(ZipPath.find_folder_of(path, "file_map.txt"))
    for index in range(min(len(folder), 4)):
        folder.read(index)


def _zipped(method: int) -> bytes:
    """A data set of one item `a` as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for field in FIELDS:
            grey = np.full((8, 8), 99, np.uint8)
            picture = cv2.imencode(".png", grey if field in FIELDS[2:] else np.dstack([grey] * 3))[1].tobytes()
            file.writestr(f"data/{field}/a.png", picture)
        file.writestr("data/file_map.txt", FILE_MAP)
    return buffer.getvalue()


ZIP_WORDS = [
    b"PK\x01\x02",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"PK\x06\x06",
    b"PK\x06\x07",
    b"\xff\xff\xff\xff",
    b"\xff" * 8,
]
PACK_WORDS = [b"null", b"-1", b"1e999", b"NaN", b"[", b"{}", b'"\\ud800"', b"9" * 30]
PACK_CARD = {
    "size": 32,
    "file_map": "0" * 64,
    "opencv": "5.0.0",
    "source": "museum",
    "folders": {"plate": 1},
    "chunks": [{"plate": 1, "frame": 2}, None],
    "faults": {"0": "frame/a.png: not a readable picture"},
    "whole": True,
}


def _read_picture(path: Path) -> None:
    rgb, mask, depth = read_rgb(path), read_mask(path), read_depth(path)
    assert rgb.shape == (*mask.shape, 3)
    assert mask.shape == depth.shape
    assert (rgb.dtype, mask.dtype, depth.dtype) == (np.uint8, np.uint8, np.uint16)


def _read_bitmap(path: Path) -> None:
    assert read_bitmap(path).dtype == np.uint8


def _read_cutout(path: Path) -> None:
    cutout = read_rgba(path)
    assert cutout.shape[2:] == (4,)
    assert cutout.dtype == np.uint8


def _read_video(path: Path) -> None:
    with Clip(path) as clip:
        assert clip.length >= 0
        frames = [part for part in clip.parts() if isinstance(part, ClipFrame)]
    assert {frame.pixels.shape for frame in frames} == {frames[0].pixels.shape}
    assert {frame.pixels.dtype for frame in frames} == {np.dtype(np.uint8)}
    assert all(before.pts < after.pts for before, after in pairwise(frames))


def _filmed(kind: str, codec: str, sound: str | None) -> bytes:
    """Return three frames as a video file of that kind."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", kind) as container:
        video = container.add_stream(codec, rate=25)
        video.height, video.width, video.pix_fmt = 32, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        heard = container.add_stream(sound, rate=48_000, layout="mono") if sound else None
        for number in range(3):
            pixels = np.full((32, 48, 3), 60 * number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(video.encode(None))
        if heard:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts, samples.time_base = 48_000, 0, Fraction(1, 48_000)
            container.mux(heard.encode(samples))
            container.mux(heard.encode(None))
    return buffer.getvalue()


VIDEO_WORDS = [
    *(b"moov", b"trak", b"stsz", b"stts", b"elst", b"dref", b"url ", b"avc1", b"hev1", b"\0\0\0\1", b"\0\0\1", b"\x67"),
    *(b"\x1a\x45\xdf\xa3", b"\x1f\x43\xb6\x75", b"\xa3", b"RIFF", b"movi", b"idx1", b"\x7f\xff\xff\xff", b"\xff" * 8),
    *(b"#EXTM3U\n#EXTINF:1,\n../secret\n", b"ffconcat version 1.0\nfile ../secret\n", b"\0" * 300),
]


def _read_network(path: Path) -> None:
    picture = np.zeros((32, 64, 3), np.uint8)
    assert Predictor.load(path).with_plate(picture)(picture).mask.shape == (32, 64)


def _networks() -> st.SearchStrategy[bytes]:
    """ONNX files whole in themselves, of which the card, a tensor or an operation may be anything."""
    numbers = st.integers(-3, 3) | st.sampled_from([2**31, 2**40, 2**63 - 1, -(2**63)])
    channels = st.builds(
        lambda kind, dims, content: TensorProto(name="channel", data_type=kind, dims=dims, raw_data=content),
        st.sampled_from([TensorProto.INT64] * 4 + [TensorProto.FLOAT, TensorProto.STRING, 99]),
        st.just([]) | st.lists(numbers, max_size=3),
        st.sampled_from([bytes(8)] * 4 + [b"", b"\xff" * 8, bytes(64)]),
    )
    kinds = ["Cast", "Reshape", "Expand", "Tile", "Resize", "MaxPool", "ConstantOfShape", "Conv", "Pad", "Loop", "If"]
    attributes = st.dictionaries(
        st.sampled_from(["to", "axis", "pads", "kernel_shape", "strides", "mode", "value", "body"]),
        numbers | st.lists(numbers, min_size=1, max_size=4) | st.sampled_from(["linear", "\0"]) | channels,
        max_size=3,
    )
    values = st.lists(st.sampled_from(["chosen", "channel", "frame", "mask", ""]), max_size=4)
    nodes = st.builds(
        lambda kind, takes, changes: helper.make_node(kind, takes, ["mask"], **changes),
        st.sampled_from(kinds),
        st.just(["chosen", "channel"]) | values,
        attributes,
    )
    known = json.loads(CARD.model_dump_json())
    cards = st.dictionaries(st.sampled_from(list(known)), _values, max_size=2).map(
        lambda changes: json.dumps(known | changes, default=str)
    )
    card = CARD.model_dump_json()
    return (
        cards.map(make_onnx)
        | channels.map(lambda channel: make_onnx(card, channel=channel))
        | nodes.map(lambda node: make_onnx(card, rest=[node]))
    )


def make_readers(folder: Path) -> dict[str, Reader]:
    """Return every reader by its name; `folder` is for making what they are fed with."""
    weights = Weights.make(folder)
    lengths = st.sampled_from([None] * 9 + [0, 1, 8, 100, 3000, 10**8, 10**8 + 1, 2**63, 2**64 - 1])
    weight_files = st.builds(
        lambda header, length, kept: (
            struct.pack("<Q", len(header) if length is None else length) + header + weights.tensors[:kept]
        ),
        mutated([weights.header], WEIGHTS_WORDS),
        lengths,
        st.sampled_from([None] * 9 + [0, 1, -1, 5000]),
    )
    recipes = [json.dumps(_quick).encode(), yaml.safe_dump(_quick).encode(), b"extends: base.yaml\nseed: 3\n"]
    cards = [yaml.safe_dump(json.loads(json.dumps(CONTENT))).encode()]
    networks = [yaml.safe_dump(NETWORK).encode()]
    damaged = mutated(PNGS, PICTURE_WORDS)
    pngs = damaged | damaged.map(sealed) | _pngs | mutated(OTHERS)
    cutouts = mutated(
        [
            picture
            for picture in PNGS
            if picture[25] == 6  # RGBA
        ],
        PICTURE_WORDS,
    )
    names = st.sampled_from(["a", "a", "a", "b", "", "..", "../a", "é"]) | st.text(max_size=4)
    lines = st.lists(st.lists(names, min_size=4, max_size=4).map("\t".join), max_size=3).map("\n".join)
    file_maps = mutated([FILE_MAP, b"a\ta\ta\t\n"], FILE_MAP_WORDS) | lines.map(
        lambda text: text.encode(errors="replace")
    )
    films = [_filmed("mp4", "libx264", "aac"), _filmed("webm", "libvpx-vp9", "libopus"), _filmed("avi", "mjpeg", None)]
    films += [_filmed("mpegts", "mpeg2video", "mp2")]
    readers = [
        Reader("recipe", "my.yaml", mutated(recipes, YAML_WORDS) | _tables(_quick), _read_recipe),
        Reader("card", "dataset.yaml", mutated(cards, YAML_WORDS) | _tables(CONTENT), _read_card),
        Reader("depth_network", "n.yaml", mutated(networks, YAML_WORDS) | _tables(NETWORK), _read_depth_network),
        Reader("file_map", "file_map.txt", file_maps, _read_file_map),
        Reader("items", "items.csv", mutated([ITEMS], ITEMS_WORDS), _read_items),
        Reader("png", "a.png", pngs, _read_picture),
        Reader("jpeg", "a.jpg", mutated(JPEGS, PICTURE_WORDS), _read_picture),
        Reader("bitmap", "a.bmp", mutated(BITMAPS, PICTURE_WORDS), _read_bitmap),
        Reader("cutout", "a.png", cutouts | cutouts.map(sealed), _read_cutout),
        Reader("pack", "pack.json", mutated([json.dumps(PACK_CARD).encode()], PACK_WORDS), _read_pack_card),
        Reader("zip", "a.zip", mutated([*map(_zipped, (0, zipfile.ZIP_DEFLATED))], ZIP_WORDS), _read_zip),
        Reader("video", "a.mp4", mutated(films, VIDEO_WORDS), _read_video),
        Reader("weights", "w.safetensors", weight_files, load_weights),
        Reader("onnx", "w.onnx", mutated(ONNX, ONNX_WORDS) | _networks(), _read_network),
    ]
    return {reader.name: reader for reader in readers}
