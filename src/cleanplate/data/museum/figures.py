"""Who a figure is: build, hair and dress, fixed by its number; and the solids of its body in a pose."""

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


class Figure(NamedTuple):
    """A person; lengths in metres, choices by name."""

    height: float
    bulk: float
    shoulders: float
    hips: float
    hair: str
    """bald, short, cap of hair, long, bun, tail, curls, hat, brimmed, scarf."""
    sleeves: str
    """none, short, long."""
    legs: str
    """trousers, shorts, skirt, gown, bare."""
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
    styles = ["short", "full", "long", "bob", "bun", "tail", "curls", "bald", "hat", "brimmed", "scarf"]
    shares = [4, 4, 22, 16, 12, 14, 10, 0, 6, 6, 6] if feminine else [34, 24, 4, 0, 0, 2, 8, 11, 11, 6, 0]
    hair = str(rng.choice(styles, p=np.array(shares) / 100))
    line = 3.0 if hair == "bald" else float(rng.uniform(-0.02, 0.2))
    face = Material(skin.base, mane.base, FACE, line, 0.02, 0.06)
    dress = rng.choice(
        ["trousers", "shorts", "skirt", "gown", "bare"],
        p=[0.5, 0.08, 0.2, 0.06, 0.16] if feminine else [0.86, 0.14, 0, 0, 0],
    )
    sleeves = str(rng.choice(["none", "short", "long"], p=[0.16, 0.36, 0.48] if feminine else [0.03, 0.4, 0.57]))
    top = _cloth(rng, STRONG + DARKS + WALLS[:3], 0.42)
    bottom = _cloth(
        rng,
        DARKS + DENIMS if dress in ("trousers", "shorts") else STRONG + DARKS,
        0.1 if dress == "trousers" else 0.3,
    )
    if dress in ("gown", "bare"):
        bottom = top
    coat = (
        float(rng.choice([0.0, 0.16, 0.35, 0.62], p=[0.52, 0.28, 0.12, 0.08]))
        if dress in ("trousers", "skirt")
        else 0.0
    )
    return Figure(
        height=float(np.clip(height, 1.0, 1.98)),
        bulk=float(np.clip(bulk, 0.8, 1.4)),
        shoulders=float(rng.normal(0.104 if feminine else 0.117, 0.004)) * (0.92 if child else 1),
        hips=float(rng.normal(0.1 if feminine else 0.09, 0.004)) * (0.92 if child else 1),
        hair=hair,
        sleeves=sleeves,
        legs=str(dress),
        coat=coat,
        bag=str(rng.choice(["none", "backpack", "shoulder"], p=[0.66, 0.17, 0.17])),
        bust=float(rng.uniform(0.034, 0.05)) if feminine and not child else 0.0,
        face=face,
        skin=skin,
        mane=mane,
        top=top,
        bottom=bottom,
        over=_cloth(rng, STRONG + CARPETS + DARKS, 0.2),
        shoes=Material(
            triple(pick(rng, [*DARKS, *WOODS[:4], (0.9, 0.9, 0.9), (0.7, 0.2, 0.2)])), grain=0.05, gloss=0.15
        ),
        headgear=_cloth(rng, STRONG + DARKS + WOODS, 0.15),
    )


class Pose(NamedTuple):
    """How a figure holds itself; angles in radians, arm directions in the trunk's axes (x outwards, y up, z ahead)."""

    swing: tuple[float, float]
    """Of the thighs, left and right, forwards."""
    bend: tuple[float, float]
    """Of the knees."""
    spread: float
    lean: float
    twist: float
    nod: float
    look: float
    arms: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    """Upper arm and forearm direction, left and right."""


ARMS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "hang": ((0.13, -1, 0.02), (0.06, -1, 0.16)),
    "akimbo": ((0.8, -0.75, -0.2), (-0.75, -0.55, 0.35)),
    "point": ((0.35, -0.12, 1), (0.2, 0.05, 1)),
    "aside": ((1, -0.1, 0.25), (1, 0.08, 0.3)),
    "raise": ((0.55, 0.8, 0.1), (0.05, 1, 0.12)),
    "phone": ((0.16, -1, 0.22), (-0.35, 0.5, 0.9)),
    "fold": ((0.18, -1, 0.28), (-0.95, 0.1, 0.5)),
    "behind": ((0.22, -1, -0.28), (-0.6, -0.75, -0.3)),
    "pocket": ((0.3, -1, -0.12), (-0.2, -1, 0.3)),
}


def _arm(rng: np.random.Generator, name: str) -> tuple[np.ndarray, np.ndarray]:
    upper, lower = (np.array(v) + rng.normal(0, 0.06, 3) for v in ARMS[name])
    return upper / np.linalg.norm(upper), lower / np.linalg.norm(lower)


NEUTRAL = Pose(
    (0, 0), (0, 0), 0.07, 0, 0, 0, 0, (_arm(np.random.default_rng(0), "hang"), _arm(np.random.default_rng(0), "hang"))
)


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose: standing, walking, pointing, waving, arms akimbo or folded, on the phone."""
    walks = rng.random() < 0.42
    if walks:
        stride = rng.uniform(0.18, 0.5) * rng.choice([-1, 1])
        swing = (stride, -stride * 0.85)
        bend = (0.1 if stride > 0 else abs(stride) * 1.1, 0.1 if stride < 0 else abs(stride) * 1.1)
    else:
        swing = (float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05)))
        easy = rng.uniform(0, 0.35)
        bend = (0.0, easy) if rng.random() < 0.5 else (easy, 0.0)
    if walks and rng.random() < 0.75:
        arms = (_arm(rng, "hang"), _arm(rng, "hang"))
        for (upper, lower), forward in zip(arms, swing, strict=True):
            upper[2] -= 0.9 * forward
            lower[2] += 0.25 - 0.9 * forward
    else:
        names = ["hang", "akimbo", "point", "aside", "raise", "phone", "fold", "behind", "pocket"]
        both = str(rng.choice(["akimbo", "fold", "behind", "pocket", ""], p=[0.14, 0.12, 0.12, 0.12, 0.5]))
        pair = (
            (both, both)
            if both
            else tuple(str(n) for n in rng.choice(names, 2, p=[0.4, 0.06, 0.1, 0.05, 0.09, 0.14, 0.04, 0.04, 0.08]))
        )
        arms = (_arm(rng, pair[0]), _arm(rng, pair[1]))
    return Pose(
        swing=swing,
        bend=bend,
        spread=float(rng.uniform(0.02, 0.06 if walks else 0.16)),
        lean=float(rng.normal(0.03, 0.04)),
        twist=float(rng.normal(0, 0.12)),
        nod=float(rng.normal(0.05, 0.15)),
        look=float(rng.normal(0, 0.4)),
        arms=arms,
    )
