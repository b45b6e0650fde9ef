"""How a figure holds itself."""

from typing import NamedTuple

import numpy as np


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


MIXED = {"hang": 0.4, "akimbo": 0.06, "point": 0.1, "aside": 0.05, "raise": 0.09, "phone": 0.14, "pocket": 0.16}
"""How often an arm does what, where the two do not do the same."""
BOTH = ["akimbo", "fold", "behind", "pocket"]


def _arm(rng: np.random.Generator, name: str, swing: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return upper arm and forearm; `swing` is that of the leg on the same side, which the arm goes against."""
    upper, lower = (np.array(v) + rng.normal(0, 0.06, 3) for v in ARMS[name])
    upper[2] -= 0.9 * swing
    lower[2] -= 0.9 * swing - 0.7 * abs(swing)
    return upper / np.linalg.norm(upper), lower / np.linalg.norm(lower)


def neutral_pose() -> Pose:
    """Return the pose of the figures' own pictures: upright, arms down."""
    rng = np.random.default_rng(0)
    return Pose((0, 0), (0, 0), 0.07, 0, 0, 0, 0, (_arm(rng, "hang"), _arm(rng, "hang")))


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose: standing, walking, pointing, waving, arms akimbo or folded, on the phone."""
    walks = rng.random() < 0.42
    if walks:
        stride = float(rng.uniform(0.18, 0.5) * rng.choice([-1, 1]))
        swing = (stride, -stride * 0.85)
        bend = (0.1 if stride > 0 else -stride * 1.1, 0.1 if stride < 0 else stride * 1.1)
    else:
        swing = (float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05)))
        easy = float(rng.uniform(0, 0.35))
        bend = (0.0, easy) if rng.random() < 0.5 else (easy, 0.0)
    if walks and rng.random() < 0.75:
        arms = (_arm(rng, "hang", swing[0]), _arm(rng, "hang", swing[1]))
    elif rng.random() < 0.5:
        both = BOTH[rng.integers(len(BOTH))]
        arms = (_arm(rng, both), _arm(rng, both))
    else:
        left, right = rng.choice(list(MIXED), 2, p=list(MIXED.values()))
        arms = (_arm(rng, left), _arm(rng, right))
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


def draw_low_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose of somebody who does not stand upright: sitting, kneeling, crouching, bending, or at full stretch."""
    kind = rng.choice(["sit", "kneel", "crouch", "bend", "leap"], p=[0.4, 0.15, 0.15, 0.2, 0.1])
    if kind == "sit":
        swing, bend, lean = rng.uniform(1.2, 1.7, 2), rng.uniform(0.9, 1.9, 2), rng.normal(0, 0.2)
    elif kind == "kneel":
        swing, bend, lean = rng.uniform(-0.1, 0.2, 2), rng.uniform(1.5, 2.0, 2), rng.normal(0.1, 0.2)
        if rng.random() < 0.5:  # on one knee
            swing[0], bend[0] = rng.uniform(1.2, 1.6), rng.uniform(1.3, 1.7)
    elif kind == "crouch":
        swing, bend, lean = rng.uniform(1.7, 2.2, 2), rng.uniform(2.1, 2.5, 2), rng.uniform(0.2, 0.7)
    elif kind == "bend":
        swing, bend, lean = rng.uniform(-0.1, 0.4, 2), rng.uniform(0, 0.5, 2), rng.uniform(0.5, 1.5)
    else:
        swing, bend, lean = rng.uniform(-0.9, 1.1, 2), rng.uniform(0, 1.4, 2), rng.normal(0.1, 0.3)
    left, right = rng.choice(list(ARMS), 2)
    return draw_pose(rng)._replace(
        swing=(float(swing[0]), float(swing[1])),
        bend=(float(bend[0]), float(bend[1])),
        spread=float(rng.uniform(0.02, 0.35)),
        lean=float(lean),
        arms=(_arm(rng, left), _arm(rng, right)),
    )
