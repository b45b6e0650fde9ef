"""Every reader of foreign files, with what it is fed with."""

import json
import struct
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import yaml
from fuzz_inputs import (
    BITMAPS,
    CONTENT,
    FILE_MAP,
    FILE_MAP_WORDS,
    ITEMS,
    ITEMS_WORDS,
    JPEGS,
    MONOCULARS,
    NETWORK,
    ONNX,
    ONNX_WORDS,
    OTHERS,
    PACK_CARD,
    PACK_WORDS,
    PICTURE_WORDS,
    PNGS,
    QUICK,
    VIDEO_WORDS,
    WEIGHTS_WORDS,
    YAML_WORDS,
    ZIP_WORDS,
    Weights,
    filmed,
    mutated,
    networks,
    pngs,
    sealed,
    tables,
    zipped,
)
from fuzzing import Reader
from hypothesis import strategies as st

from cleanplate.data.card import read_card, write_card
from cleanplate.data.check import check
from cleanplate.data.label_depth import DepthNetwork, Monocular, read_description
from cleanplate.data.modest import FIELDS, ModestFolder
from cleanplate.data.pack import read_pack_card
from cleanplate.pictures import read_bitmap, read_depth, read_mask, read_rgb, read_rgba
from cleanplate.predict.clips import Clip, ClipFrame
from cleanplate.predict.predictor import Predictor
from cleanplate.recipe import Recipe
from cleanplate.recipes import load_recipe
from cleanplate.weights import load_weights
from cleanplate.zips import ZipPath


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


def _read_network(path: Path) -> None:
    picture = np.zeros((32, 64, 3), np.uint8)
    assert Predictor.load(path).with_plate(picture)(picture).mask.shape == (32, 64)


def _read_monocular(path: Path) -> None:
    picture = np.arange(32 * 64 * 3, dtype=np.uint8).reshape(32, 64, 3)
    depth = Monocular(path, DepthNetwork.model_validate(NETWORK | {"size": 32}))(picture)
    assert depth is None or depth.shape == (32, 64)


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
    recipes = [json.dumps(QUICK).encode(), yaml.safe_dump(QUICK).encode(), b"extends: base.yaml\nseed: 3\n"]
    cards = [yaml.safe_dump(json.loads(json.dumps(CONTENT))).encode()]
    descriptions = [yaml.safe_dump(NETWORK).encode()]
    damaged = mutated(PNGS, PICTURE_WORDS)
    pictures = damaged | damaged.map(sealed) | pngs | mutated(OTHERS)
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
    films = [filmed("mp4", "libx264", "aac"), filmed("webm", "libvpx-vp9", "libopus"), filmed("avi", "mjpeg", None)]
    films += [filmed("mpegts", "mpeg2video", "mp2")]
    readers = [
        Reader("recipe", "my.yaml", mutated(recipes, YAML_WORDS) | tables(QUICK), _read_recipe),
        Reader("card", "dataset.yaml", mutated(cards, YAML_WORDS) | tables(CONTENT), _read_card),
        Reader("depth_network", "n.yaml", mutated(descriptions, YAML_WORDS) | tables(NETWORK), _read_depth_network),
        Reader("file_map", "file_map.txt", file_maps, _read_file_map),
        Reader("items", "items.csv", mutated([ITEMS], ITEMS_WORDS), _read_items),
        Reader("png", "a.png", pictures, _read_picture),
        Reader("jpeg", "a.jpg", mutated(JPEGS, PICTURE_WORDS), _read_picture),
        Reader("bitmap", "a.bmp", mutated(BITMAPS, PICTURE_WORDS), _read_bitmap),
        Reader("cutout", "a.png", cutouts | cutouts.map(sealed), _read_cutout),
        Reader("pack", "pack.json", mutated([json.dumps(PACK_CARD).encode()], PACK_WORDS), _read_pack_card),
        Reader("zip", "a.zip", mutated([*map(zipped, (0, zipfile.ZIP_DEFLATED))], ZIP_WORDS), _read_zip),
        Reader("video", "a.mp4", mutated(films, VIDEO_WORDS), _read_video),
        Reader("weights", "w.safetensors", weight_files, load_weights),
        Reader("onnx", "w.onnx", mutated(ONNX, ONNX_WORDS) | networks(), _read_network),
        Reader("monocular", "w.onnx", mutated(MONOCULARS, ONNX_WORDS), _read_monocular),
    ]
    return {reader.name: reader for reader in readers}
