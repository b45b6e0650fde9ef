"""The museum's figures as cutouts, each in a pose and a light of its own."""

import numpy as np

from cleanplate.data.museum.bodies import build_body
from cleanplate.data.museum.camera import look
from cleanplate.data.museum.light import Lamp, Light
from cleanplate.data.museum.poses import draw_low_pose, draw_pose
from cleanplate.data.museum.render import cut_out
from cleanplate.data.museum.scene import figure_of
from cleanplate.progress import track

CUTOUT_KIND = 2
"""Beside the kinds of scene.py: keeps these draws apart from those of rooms and figures."""

STANDING = 0.6
"""The share that stands or walks; the others sit, kneel, crouch, bend or leap."""
LYING = 0.12
"""The share that a camera sees lying."""


def museum_cutouts(count: int, seed: int = 1, *, size: int = 192) -> list[np.ndarray]:
    """Render figures as cutouts: `count` people, the museum's own of this seed, seen from all sides.

    Args:
        count: number of people.
        seed: of who they are, and of pose, camera and light.
        size: pixels a side of the picture that each is cut from; a figure fills most of its height.

    Returns:
        For each `(h, w, 4)` uint8 RGBA, cropped to what can be seen.
    """
    return list(track((_cutout(seed, number, size) for number in range(count)), count, "rendering people"))


def _cutout(seed: int, number: int, size: int) -> np.ndarray:
    rng = np.random.default_rng([seed, CUTOUT_KIND, number])
    figure = figure_of(seed, number)
    stands = rng.random() < STANDING
    pose = draw_pose(rng) if stands else draw_low_pose(rng)
    solids = build_body(figure, pose, (0.0, 0.0), float(rng.uniform(0, 2 * np.pi)))
    middle, far = 0.6 * figure.height if stands else 0.4 * figure.height, float(rng.uniform(3, 6))
    eye = np.array([0.0, float(rng.uniform(1, 2.8)), -far])
    fov = 2 * np.degrees(np.arctan(0.76 * figure.height / far))
    lies = rng.random() < LYING
    roll = float(rng.normal(90 * rng.choice([-1, 1]), 20) if lies else rng.normal(0, 6))
    camera = look(eye, np.array([0.0, middle, 0.0]), roll, float(fov), size)
    picture = cut_out(solids, camera, _draw_light(rng))
    rows, columns = np.flatnonzero(picture[..., 3].any(1)), np.flatnonzero(picture[..., 3].any(0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _draw_light(rng: np.random.Generator) -> Light:
    """Draw a lamp on the camera's side, from soft light of no direction to a hard one, warm or cold."""
    soft = float(rng.uniform(0.25, 1))
    warm = np.array([1 + 0.15 * (tint := float(rng.uniform(-1, 1))), 1, 1 - 0.2 * tint])
    place = np.array([rng.uniform(-3, 3), rng.uniform(1.6, 3.4), rng.uniform(-3.5, -0.5)])
    lamp = Lamp(place, (1.3 - soft) * rng.uniform(3, 7) * warm)
    above = soft * rng.uniform(0.6, 1.6) * warm
    return Light((lamp,), above, above * rng.uniform(0.4, 0.9))
