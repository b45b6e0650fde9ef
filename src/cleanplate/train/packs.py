"""The packs of a training: made where they are worth it and there is room."""

import shutil
from collections import Counter

import numpy as np

from cleanplate.data.mixed import share_out
from cleanplate.data.pack import PackedFolder
from cleanplate.data.packing import Packing
from cleanplate.data.source import DataSet
from cleanplate.data.split import Split
from cleanplate.errors import UserError
from cleanplate.progress import say
from cleanplate.recipe import Recipe

SHARE_OF_FREE = 0.5
"""Of the free disk, what the packs of a training may take without being asked for."""
WORTH = 0.5
"""A pack is made where the training reads at least so many times the items that packing would."""


def used_items(split: Split) -> np.ndarray:
    """Return the items that a training reads."""
    return np.concatenate([split.train, *split.parts.values()])


def _packed(data: DataSet, split: Split) -> tuple[PackedFolder | None, np.ndarray]:
    """Return the data set folder that can have packs, if there is one in `data`, and its items that are read."""
    for source, items in share_out(data, used_items(split)):
        if isinstance(source, PackedFolder):
            return source, items
    return None, used_items(split)[:0]


def require_readable(data: DataSet, split: Split) -> None:
    """Refuse a training of which an item could not be read when it was packed.

    Raises:
        UserError: names its file.
    """
    folder, items = _packed(data, split)
    if folder is not None:
        folder.require_readable(items)


def packs_to_make(data: DataSet, recipe: Recipe, split: Split) -> list[Packing]:
    """Return the packs that a training lacks and that are worth it, as long as they fit the disk."""
    folder, items = _packed(data, split)
    if folder is None or folder.is_bare:
        return []
    reads: Counter[int] = Counter()
    for phase in recipe.phases:
        reads[phase.size] += phase.epochs * len(items)
    lacking = [size for size, count in reads.items() if size not in folder.packs and count >= WORTH * len(folder)]
    room = shutil.disk_usage(folder.path).free * SHARE_OF_FREE
    packing = []
    for size in lacking:
        one = Packing(folder, folder.path, size)
        room -= one.missing_bytes()
        if room < 0:
            gigabytes = f"{one.bytes / 1e9:.1f} GB are more than half of what is free at {folder.path}"
            say(f"note: not packed at {size}x{size}: {gigabytes}; pictures are read one by one")
            break
        packing.append(one)
    return packing


def make_packs(data: DataSet, recipe: Recipe, split: Split) -> None:
    """Make the packs that a training lacks, and say what it reads from; what cannot be packed is read from pictures."""
    folder, _ = _packed(data, split)
    if folder is None:
        return
    lacking = packs_to_make(data, recipe, split)
    for one in lacking:
        if one.size in folder.unusable:
            say(f"note: {folder.unusable[one.size].rpartition('; ')[0]}; it is packed anew")
        try:
            one.run()
        except (UserError, OSError) as error:
            shutil.rmtree(one.place, ignore_errors=True)  # half of a pack may be what has filled the disk
            say(f"note: not packed at {one.size}x{one.size} ({error}); pictures are read one by one")
    if lacking:
        folder.load_packs()
    sizes = [f"{size}x{size}" for size in dict.fromkeys(phase.size for phase in recipe.phases) if size in folder.packs]
    if sizes:
        say(f"{folder.path / 'packs'}: read from packs of {', '.join(sizes)}; --no-pack reads the pictures instead")
