"""Plates and cutouts as a source: each item is composed when it is asked for, and nothing is stored.

**An item is who stands in which plate, for good; an epoch is how.** Which plate item 7 has, and which cutouts, follows
from the composition's own seed. Where they stand, how large, in what colours and with what shadows, and which part of
the plate the camera sees, is drawn anew for each (seed, epoch, item). So a split by plate and cutout is that of any
data set: what is held out is never trained on, however long the training. Validation asks for its items as of epoch 0,
and is judged by the same pictures throughout.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch

from cleanplate.data.card import Card
from cleanplate.data.clutter import cluttered
from cleanplate.data.compose import Placed, packed, paste, read_usable, trim, unpacked
from cleanplate.data.modest import Pictures
from cleanplate.data.museum.cutouts import museum_cutouts
from cleanplate.data.recolour import fitted, recoloured
from cleanplate.data.source import Batch
from cleanplate.files import read_file
from cleanplate.pictures import read_rgb, read_rgba, rescale
from cleanplate.recipe_pictures import CastShadow, Composition, ContactShadow

KEPT_SIDE = 448
KEPT_BYTES = 500_000_000
HORIZON = 0.35
"""Feet stand below so much of the frame's height."""
STREAM = 2
"""Of an item's random streams; augmentation and mismatch have others."""
POINT = 4
"""Bits behind the point of coordinates that OpenCV draws at."""


class LiveComposition:
    """Cutouts pasted into plates as they are needed: masks without depth, equal bytes for equal arguments.

    Args:
        plates: folder of pictures of any sizes; a square of each is seen.
        cutouts: folder of pictures with alpha; the museum's figures when None.
        settings: how items are composed.
        keep: pixels of a plate's shorter side and a cutout's longer side, at most, as they are held; twice the largest
            size to be asked for gives the best pictures.
        room: bytes for the plates, and for the cutouts, held in memory; the rest is read again when it is needed.

    Raises:
        UserError: a folder is missing or holds nothing that can be used.
    """

    def __init__(
        self,
        plates: Path | str,
        cutouts: Path | str | None,
        settings: Composition,
        *,
        keep: int = KEPT_SIDE,
        room: int = KEPT_BYTES,
    ) -> None:
        self.path, self.settings, self._keep = Path(plates), settings, keep
        self.skipped: list[str] = []
        """The files that cannot be used, each with its fault in a line."""
        read_plate, read_cutout = partial(_read_plate, keep=keep), partial(_read_cutout, keep=keep)
        self._plates = _Shelf(read_usable(plates, "plate", read_plate, self.skipped), read_plate, room)
        if cutouts is None:
            figures = enumerate(museum_cutouts(settings.figures))
            drawn = ((Path(f"fg{number + 1:03d}"), packed(trim(figure, keep))) for number, figure in figures)
            self._cutouts = _Shelf(drawn, read_cutout, None)
            self._files = self._plates.paths  # figures are no files, and follow from the settings
        else:
            self._cutouts = _Shelf(read_usable(cutouts, "cutout", read_cutout, self.skipped), read_cutout, room)
            self._files = self._plates.paths + self._cutouts.paths
        self._plate_of, self._cutouts_of = self._draw_items()
        made_by = {"command": "train", "plates": str(plates), "cutouts": str(cutouts or "museum")}
        self.card = Card(name=self.path.resolve().name, made_by=made_by | {"composition": settings.model_dump()})

    def __len__(self) -> int:
        """Return the number of items."""
        return self.settings.items

    def batch(self, indices: Sequence[int], size: int, seed: int, epoch: int) -> Batch:
        """Return items at `size` x `size`, as (seed, epoch) has them.

        Raises:
            UserError: a picture that is not kept in memory cannot be read any more.
        """
        items = [self._compose(index, size, np.random.default_rng([seed, epoch, index, STREAM])) for index in indices]
        plates, frames, masks = (torch.from_numpy(np.stack(pictures)) for pictures in zip(*items, strict=True))
        mask = masks[:, None] / 255
        return Batch(
            plate=plates.permute(0, 3, 1, 2),
            frame=frames.permute(0, 3, 1, 2),
            mask=mask,
            depth=torch.zeros_like(mask),
            has_depth=torch.zeros(len(items), dtype=torch.bool),
            valid=None,
            indices=torch.tensor(indices, dtype=torch.int64),
        )

    def read(self, index: int) -> Pictures:
        """Return one item, as (0, 0) has it, at half the size that plates are kept at."""
        plate, frame, mask = self._compose(index, self._keep // 2, np.random.default_rng([0, 0, index, STREAM]))
        return Pictures(plate, frame, mask, None)

    def name(self, index: int) -> str:
        """Return what an item is called: its plate, and who stands in it."""
        people = " and ".join(self.cutouts_of(index)) or "nobody"
        return f"{self._plates.paths[self._plate_of[index]].stem} with {people}"

    def plates(self) -> np.ndarray:
        """Return each item's plate, `(N,)`, as bytes: its name without extension, as a data set folder has it."""
        return np.array([path.stem.encode() for path in self._plates.paths])[self._plate_of]

    def cutouts(self) -> list[tuple[str, ...]]:
        """Return for each item the cutouts that stand in its frame, without extension, none for an empty frame."""
        return [self.cutouts_of(index) for index in range(len(self))]

    def cutouts_of(self, index: int) -> tuple[str, ...]:
        """Return the cutouts that stand in one item's frame."""
        return tuple(self._cutouts.paths[number].stem for number in self._cutouts_of[index])

    def labelled(self) -> np.ndarray:
        """Return which items have a depth label, `(N,)` bool: none."""
        return np.zeros(len(self), bool)

    def fingerprint(self) -> str:
        """Return what tells these items from others: the SHA-256 of all pictures, their names and the settings."""
        settings = self.settings.model_dump_json(exclude={"share"})  # which comes to a number of items
        total = hashlib.sha256(settings.encode())
        for path in self._files:
            total.update(path.name.encode() + b"\0" + hashlib.sha256(read_file(path, "no such picture")).digest())
        return total.hexdigest()

    def _draw_items(self) -> tuple[np.ndarray, list[tuple[int, ...]]]:
        settings, all_cutouts = self.settings, len(self._cutouts.paths)
        rng = np.random.default_rng(settings.seed)
        plate_of = rng.integers(len(self._plates.paths), size=len(self))
        people = rng.integers(1, min(settings.people, all_cutouts), size=len(self), endpoint=True)
        people[rng.random(len(self)) < settings.empty] = 0
        return plate_of, [tuple(rng.choice(all_cutouts, count, replace=False).tolist()) for count in people]

    def _compose(self, index: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return plate and frame `(size, size, 3)` and mask `(size, size)`, uint8.

        Everything is drawn as shares of the picture: at another size it is the same scene. It is composed no finer than
        the plate is, and then enlarged: otherwise sharp people in a soft room would tell by their sharpness.
        """
        plate = self._see(self._plates[self._plate_of[index]], size, rng)
        cutouts = [self._cutouts[number] for number in self._cutouts_of[index]]
        plate = cluttered(plate, cutouts, self.settings.clutter, rng.spawn(1)[0])
        light = np.ones(plate.shape[:2], np.float32)
        placed = []
        for kept in cutouts:
            cutout, x, y = self._place(kept, plate, rng)
            _cast_shadow(light, cutout, x, y, self.settings.cast_shadow, rng)
            _contact_shadow(light, cutout, x, y, self.settings.contact_shadow, rng)
            placed += _within(cutout, x, y, len(plate))
        frame, mask, _ = paste(plate * light[..., None], None, placed)
        if len(plate) < size:
            plate, frame, mask = (rescale(picture, size / len(picture)) for picture in (plate, frame, mask))
        return plate, frame, mask

    def _see(self, plate: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return a square of a plate, at most `size` a side, as one camera of many might see it."""
        share, across, down, mirror = rng.random(4).tolist()
        low, high = self.settings.crop
        side = max(1, round((low + share * (high - low)) * min(plate.shape[:2])))
        left, top = round(across * (plate.shape[1] - side)), round(down * (plate.shape[0] - side))
        seen = rescale(plate[top : top + side, left : left + side], min(1.0, size / side))
        return cv2.flip(seen, 1) if mirror < 0.5 else seen

    def _place(
        self, cutout: np.ndarray, plate: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, float, float]:
        """Return a cutout as `Placed` wants it, and where its corner lies, which may be outside the plate."""
        height, across, down, mirror, cut = rng.random(5).tolist()
        low, high = self.settings.height
        size, wanted = len(plate), low + height * (high - low)
        factor = min(wanted * size / cutout.shape[0], size / cutout.shape[1])
        cutout = rescale(cutout, factor)
        cutout = unpacked(cv2.flip(cutout, 1) if mirror < 0.5 else cutout)
        cutout = recoloured(cutout, self.settings.recolour, rng)
        cutout = fitted(cutout, plate, self.settings.fit, rng)
        outside = 0.5 if cut < self.settings.cut else 0.0
        tall, wide = cutout.shape[:2]
        left, right = -outside * wide, size - (1 - outside) * wide
        # who stands on the ground has the feet where a camera sees the ground
        top, bottom = max(-outside * tall, HORIZON * size - tall), size - (1 - outside) * tall
        return cutout, left + across * (right - left), top + down * (bottom - top)


class _Shelf:
    """Pictures by number: as many as there is room for are kept decoded, the others are read when they are wanted."""

    def __init__(
        self,
        found: Iterable[tuple[Path, np.ndarray]],
        read: Callable[[Path], np.ndarray],
        room: int | None,
    ) -> None:
        self.paths: list[Path] = []
        self._kept: list[np.ndarray | None] = []
        self._read, used = read, 0
        for path, picture in found:
            used += picture.nbytes
            self.paths.append(path)
            self._kept.append(picture if room is None or used <= room else None)

    def __getitem__(self, number: int) -> np.ndarray:
        kept = self._kept[number]
        return self._read(self.paths[number]) if kept is None else kept


def _read_plate(path: Path, keep: int) -> np.ndarray:
    plate = read_rgb(path)
    return rescale(plate, min(1.0, keep / min(plate.shape[:2])))


def _read_cutout(path: Path, keep: int) -> np.ndarray:
    return packed(trim(read_rgba(path), keep))


def _within(cutout: np.ndarray, x: float, y: float, size: int) -> list[Placed]:
    """Return what of a cutout lies within the frame, if anything."""
    left, top = round(x), round(y)
    seen = cutout[max(0, -top) : max(0, size - top), max(0, -left) : max(0, size - left)]
    return [Placed(seen, max(0, left), max(0, top))] if seen.size else []


def _cast_shadow(
    light: np.ndarray, cutout: np.ndarray, x: float, y: float, settings: CastShadow | None, rng: np.random.Generator
) -> None:
    """Darken `light` by the outline of a cutout, laid on the floor behind or before it, or on a wall."""
    if not settings or rng.random() >= settings.probability:
        return
    low, high = settings.darkness
    dark, length, slant, soft, kind = rng.random(5).tolist()
    height, width = cutout.shape[:2]
    slant = 2 * slant - 1
    if kind < 0.7:
        upright, lean, aside = (0.1 + 0.5 * length) * (1 if kind < 0.4 else -1), 1.3 * slant, 0.0
    else:
        upright, lean, aside = 0.85 + 0.2 * length, 0.1 * slant, 0.5 * slant * width
    # a row so high above the foot goes up by `upright`, and aside by `lean`, times its height
    matrix = np.array([[1, -lean, x + aside + lean * height], [0, upright, y + height * (1 - upright)]])
    shadow = cv2.warpAffine(cutout[..., 3], matrix, light.shape[::-1])
    shadow = cv2.GaussianBlur(shadow, (0, 0), 0.3 + (0.005 + 0.03 * soft) * height)
    light *= 1 - (low + dark * (high - low)) * shadow


def _contact_shadow(
    light: np.ndarray, cutout: np.ndarray, x: float, y: float, settings: ContactShadow | None, rng: np.random.Generator
) -> None:
    """Darken `light` around the foot of a cutout."""
    if not settings or rng.random() >= settings.probability:
        return
    low, high = settings.darkness
    dark, wide, flat = rng.random(3).tolist()
    height = cutout.shape[0]
    columns = np.flatnonzero(cutout[-max(1, height // 16) :, :, 3].max(0) > 0.3)
    if not len(columns):
        return
    left, right = float(columns[0]), float(columns[-1] + 1)
    reach = (0.5 + 0.4 * wide) * (right - left)
    centre, axes = (x + (left + right) / 2, y + height), (reach, (0.15 + 0.25 * flat) * reach)
    drawn = np.zeros_like(light)
    fixed = [tuple(round(value * (1 << POINT)) for value in pair) for pair in (centre, axes)]
    cv2.ellipse(drawn, fixed[0], fixed[1], 0, 0, 360, 1.0, -1, cv2.LINE_8, POINT)
    light *= 1 - (low + dark * (high - low)) * cv2.GaussianBlur(drawn, (0, 0), 0.3 + 0.35 * axes[1])
