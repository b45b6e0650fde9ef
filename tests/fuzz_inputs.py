"""Foreign files, mutated and made up: seeds of every kind, and words to put into them."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np
import yaml
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx_files import integer_elsewhere, make_monocular, make_onnx

from cleanplate.data.card import ChannelStatistics, DepthMeaning, Normalisation
from cleanplate.data.modest import FIELDS
from cleanplate.models import create_model
from cleanplate.recipes import load_recipe
from cleanplate.weights import WeightsCard, save_weights


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
QUICK = load_recipe("quick").model_dump(mode="json")


def tables(known: dict[str, object]) -> st.SearchStrategy[bytes]:
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
pngs = st.builds(lambda header, chunks: png(header, *chunks), _headers, st.lists(_chunks, max_size=5))

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
MONOCULARS = [make_monocular(), make_monocular((32, 64))]
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


def zipped(method: int) -> bytes:
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


def filmed(kind: str, codec: str, sound: str | None) -> bytes:
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


def networks() -> st.SearchStrategy[bytes]:
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
