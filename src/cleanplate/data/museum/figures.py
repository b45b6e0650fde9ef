"""Who a figure is: build, hair and dress."""

from typing import NamedTuple

import numpy as np

from cleanplate.data.museum.material import BANDS, CHECK, DOTS, FACE, PINSTRIPES, PLAIN, Material
from cleanplate.data.museum.palettes import (
    CARPETS,
    DARKS,
    DENIMS,
    HAIRS,
    SKINS,
    STRONG,
    WALLS,
    WOODS,
    Colour,
    pick,
    triple,
)

HAIR_STYLES = ["short", "full", "long", "bob", "bun", "tail", "curls", "bald", "hat", "brimmed", "scarf"]


class Figure(NamedTuple):
    """A person; lengths in metres, choices by name."""

    height: float
    bulk: float
    shoulders: float
    hips: float
    hair: str
    """One of HAIR_STYLES."""
    sleeves: str
    """none, short, long."""
    legs: str
    """trousers, shorts, skirt, gown, frock."""
    coat: float
    """How far a coat or long top reaches down, as a share of the leg; 0 without."""
    bag: str
    """none, backpack, shoulder."""
    bust: float
    face: Material
    skin: Material
    mane: Material
    top: Material
    bottom: Material
    over: Material
    shoes: Material
    headgear: Material


def _cloth(rng: np.random.Generator, colours: list[Colour], patterned: float) -> Material:
    # A third wear what rooms are painted in, so that they stand out little from the wall behind them.
    base = pick(rng, WALLS + WOODS if rng.random() < 0.33 else colours)
    pattern, scale = PLAIN, 0.1
    if rng.random() < patterned:
        pattern = int(rng.choice([BANDS, PINSTRIPES, CHECK, DOTS]))
        scale = float(rng.uniform(0.05, 0.13))
    second = pick(rng, [*STRONG, *WALLS[:3]])
    return Material(triple(base), triple(second), pattern, scale, float(rng.uniform(0.08, 0.17)))


def draw_figure(rng: np.random.Generator) -> Figure:
    """Draw a person; one generator state is one person."""
    child, feminine = rng.random() < 0.16, rng.random() < 0.5
    if child:
        height, bulk = rng.uniform(1.02, 1.5), rng.uniform(0.9, 1.1)
    else:
        height, bulk = rng.normal(1.66 if feminine else 1.78, 0.07), float(np.exp(rng.normal(0.02, 0.14)))
    skin_colour = pick(rng, SKINS, 0.02)
    hair_colour = pick(rng, HAIRS if child or rng.random() < 0.8 else HAIRS[5:], 0.02)
    skin = Material(triple(skin_colour), grain=0.02, gloss=0.06)
    mane = Material(triple(hair_colour), grain=0.2, gloss=0.1)
    percent = [4, 4, 22, 16, 12, 14, 10, 0, 6, 6, 6] if feminine else [34, 24, 4, 0, 0, 2, 8, 11, 11, 6, 0]
    hair = str(rng.choice(HAIR_STYLES, p=np.array(percent) / 100))
    line = 3.0 if hair == "bald" else float(rng.uniform(-0.02, 0.2))
    face = Material(skin.base, mane.base, FACE, line, 0.02, 0.06)
    shares = [0.5, 0.08, 0.2, 0.06, 0.16] if feminine else [0.86, 0.14, 0, 0, 0]
    legs = str(rng.choice(["trousers", "shorts", "skirt", "gown", "frock"], p=shares))
    sleeves = str(rng.choice(["none", "short", "long"], p=[0.16, 0.36, 0.48] if feminine else [0.03, 0.4, 0.57]))
    top = _cloth(rng, STRONG + DARKS + WALLS[:3], 0.42)
    if legs in ("gown", "frock"):
        bottom = top
    elif legs == "skirt":
        bottom = _cloth(rng, STRONG + DARKS, 0.3)
    else:
        bottom = _cloth(rng, DARKS + DENIMS, 0.1)
    coat = float(rng.choice([0.0, 0.16, 0.35, 0.62], p=[0.52, 0.28, 0.12, 0.08]))
    leather = pick(rng, [*DARKS, *WOODS[:4], (0.9, 0.9, 0.9), (0.7, 0.2, 0.2)])
    return Figure(
        height=float(np.clip(height, 1.0, 1.98)),
        bulk=float(np.clip(bulk, 0.8, 1.4)),
        shoulders=float(rng.normal(0.104 if feminine else 0.117, 0.004)) * (0.92 if child else 1),
        hips=float(rng.normal(0.1 if feminine else 0.09, 0.004)) * (0.92 if child else 1),
        hair=hair,
        sleeves=sleeves,
        legs=legs,
        coat=coat if legs in ("trousers", "skirt") else 0.0,
        bag=str(rng.choice(["none", "backpack", "shoulder"], p=[0.66, 0.17, 0.17])),
        bust=float(rng.uniform(0.034, 0.05)) if feminine and not child else 0.0,
        face=face,
        skin=skin,
        mane=mane,
        top=top,
        bottom=bottom,
        over=_cloth(rng, STRONG + CARPETS + DARKS, 0.2),
        shoes=Material(triple(leather), grain=0.05, gloss=0.15),
        headgear=_cloth(rng, STRONG + DARKS + WOODS, 0.15),
    )
