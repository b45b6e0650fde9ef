"""Which items a network trains on, and which it is judged by."""

from typing import NamedTuple

import numpy as np

from cleanplate.data.source import DataSet
from cleanplate.errors import UserError
from cleanplate.recipe import HeldOutSplit, RandomSplit


class Split(NamedTuple):
    """Item numbers: those to train on, and the parts of the validation."""

    train: np.ndarray
    parts: dict[str, np.ndarray]
    """Item numbers of each part: `seen`, and with a held-out split `new_plate`, `new_cutout`, `new_both`."""


def split_items(folder: DataSet, settings: RandomSplit | HeldOutSplit) -> Split:
    """Split a data set.

    `random` knows `seen` alone: its plates and cutouts occur in training too. `held-out` keeps a share of the plates
    and of the cutouts from training; an item is new by cutout when everybody in it is, and is left out altogether
    when some are and some are not.

    Raises:
        UserError: nothing is left to train on or to validate by, or nobody knows which cutouts are in which frame.
    """
    rng = np.random.default_rng([settings.seed, len(folder)])
    split = _random(folder, settings, rng) if isinstance(settings, RandomSplit) else _held_out(folder, settings, rng)
    if not len(split.train) or not split.parts:
        raise UserError(f"{folder.path}: its {len(folder)} items are too few for the split `{settings.kind}`")
    limit = settings.items_per_part
    return Split(split.train[: settings.train_items], {name: part[:limit] for name, part in split.parts.items()})


def _random(folder: DataSet, settings: RandomSplit, rng: np.random.Generator) -> Split:
    order = rng.permutation(len(folder))
    count = int(len(order) * settings.train)
    return Split(order[:count], {"seen": order[count:]} if count < len(order) else {})


def _held_out(folder: DataSet, settings: HeldOutSplit, rng: np.random.Generator) -> Split:
    cutouts = folder.cutouts()
    new_cutouts = _draw(sorted({name for names in cutouts for name in names}), settings.share, rng)
    plates, plate_of_item = np.unique(folder.plates(), return_inverse=True)
    if len(plates) < 2:
        raise UserError(f"{folder.path}: has one plate only, so none can be held out; set split={{kind: random}}")
    new_plates = _draw(list(range(len(plates))), settings.share, rng)

    new_plate = np.isin(plate_of_item, list(new_plates))
    known = np.array([new_cutouts.isdisjoint(names) for names in cutouts])
    new_cutout = np.array([bool(names) and new_cutouts.issuperset(names) for names in cutouts])

    both_known = rng.permutation(np.flatnonzero(~new_plate & known))
    seen_count = max(1, round(len(both_known) * settings.seen))
    seen, train = both_known[:seen_count], both_known[seen_count:]
    # of a small set, `seen` may take all items of a plate, which then is neither new nor trained on
    trained = np.isin(plate_of_item, plate_of_item[train])
    parts = {
        "seen": seen[trained[seen]],
        "new_plate": rng.permutation(np.flatnonzero(new_plate & known)),
        "new_cutout": rng.permutation(np.flatnonzero(trained & new_cutout)),
        "new_both": rng.permutation(np.flatnonzero(new_plate & new_cutout)),
    }
    return Split(train, {name: part for name, part in parts.items() if len(part)})


def _draw(names: list, share: float, rng: np.random.Generator) -> set:
    if not names:
        return set()
    return set(rng.permutation(names)[: max(1, round(len(names) * share))].tolist())
