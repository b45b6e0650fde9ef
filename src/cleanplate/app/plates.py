"""Plates that clients have posted, kept for the frames that follow."""

import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cleanplate.app.limits import Limits
from cleanplate.predict.match import PlateWarning
from cleanplate.predict.predictor import Answer


class KeptPlate(NamedTuple):
    """A plate, ready for frames."""

    width: int
    height: int
    answer: Callable[[np.ndarray], Answer]
    """Answers frames of its scene."""
    warnings: Callable[[np.ndarray], list[PlateWarning]]
    """Tells how it suits a frame."""


class Plates:
    """The plates used last, by names that cannot be guessed; older ones make room, and all go when unused for long.

    Args:
        limits: how many, how many pixels, how long.
        clock: seconds that only grow.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._plates: dict[str, tuple[float, KeptPlate]] = {}  # the one used last stands last

    def keep(self, plate: KeptPlate) -> str:
        """Keep a plate and return its name."""
        self._forget_unused()
        name = secrets.token_urlsafe(12)
        self._plates[name] = (self._clock(), plate)
        while len(self._plates) > self._limits.plates or self._pixels() > self._limits.plate_pixels:
            del self._plates[next(iter(self._plates))]
        return name

    def find(self, name: str) -> KeptPlate | None:
        """Return the plate of that name, if it is still here."""
        self._forget_unused()
        if name not in self._plates:
            return None
        _, plate = self._plates.pop(name)
        self._plates[name] = (self._clock(), plate)
        return plate

    def _forget_unused(self) -> None:
        oldest = self._clock() - self._limits.plate_seconds
        self._plates = {name: kept for name, kept in self._plates.items() if kept[0] > oldest}

    def _pixels(self) -> int:
        return sum(plate.width * plate.height for _, plate in self._plates.values())
