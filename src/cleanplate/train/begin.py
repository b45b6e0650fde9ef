"""Begin a run: look at the data, choose how to compute, make the run folder."""

from pathlib import Path

import torch

from cleanplate.data.live import LiveComposition
from cleanplate.data.opening import Given
from cleanplate.data.source import Skipped
from cleanplate.data.split import Split, split_items
from cleanplate.data.statistics import normalisation_of
from cleanplate.errors import UserError
from cleanplate.progress import say
from cleanplate.recipe import Recipe
from cleanplate.recipe_pictures import Composition
from cleanplate.references import fit_references
from cleanplate.train.compute import choose_compute, keep_freed_memory, pick_device
from cleanplate.train.packs import make_packs, require_readable
from cleanplate.train.run import Run, describe_environment
from cleanplate.weights import find_weights, load_weights


def begin_run(
    new_run: Run, recipe: Recipe, given: Given, *, processes: int = 1, pack: bool = True, init: Path | str | None = None
) -> Run:
    """Make the folder of a run, which can then be trained, or gone on with, from it alone.

    Args:
        new_run: as `Run.plan` gives it.
        recipe: what to train.
        given: what to train on.
        processes: how many will train.
        pack: make and read packs, where they are worth it and there is room.
        init: weights to start from, a run folder or a `.safetensors` file; drawn at random when None.

    Raises:
        UserError: the data will not do, or the weights are of another network.
    """
    keep_freed_memory()  # before the trial of precision and layout, which is to measure what will be
    start = None if init is None else load_weights(init)
    if start and start[1].model != recipe.model:
        network = start[1].model
        raise UserError(
            f"{init}: is a {network}, and {recipe.name} trains a {recipe.model}; give others, or set model={network}"
        )
    folder = given.open(recipe, packed=pack)
    if isinstance(folder, LiveComposition):
        for fault in folder.skipped:
            say(f"note: left out: {fault}")
    split = split_items(folder, recipe.split)
    make_packs(folder, recipe, split)
    if recipe.on_bad_item == "fail":
        require_readable(folder, split)
    labelled = folder.labelled()[split.train].any()
    if not labelled and recipe.model == "dsresnet":
        say(f"note: {folder.path} has no depth labels: the network will answer with masks alone")
    if given.plates is None and recipe.composition != Composition():
        say(f"note: composition is ignored: the frames of {folder.path} have been composed already")
    skipped = Skipped(len(folder)) if recipe.on_bad_item == "skip" else None
    normalisation = start[1].normalisation if start else normalisation_of(folder, skipped)
    say(
        f"{recipe.name}: {len(split.train)} items to train on, "
        + ", ".join(f"{len(items)} {part}" for part, items in split.parts.items())
        + f" to validate by; run folder {new_run.path}"
    )
    if processes > 1:
        _say_batches(recipe, split, processes)
    references = fit_references(folder, split.train, recipe.phases[-1].size, recipe.seed, skipped)
    device = pick_device()
    environment = describe_environment() | {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "devices": processes,
        "seed": recipe.seed,
        **given.record(),
        "data_fingerprint": folder.fingerprint(),
        "init": None if init is None else str(find_weights(init).resolve()),
        "normalisation": normalisation.model_dump(),
        "depth": folder.card.depth.model_dump() if labelled else None,
        **choose_compute(recipe, device),
    }
    new_run.begin(recipe, environment, references, start)
    return new_run


def _say_batches(recipe: Recipe, split: Split, processes: int) -> None:
    """Say what a step takes in, and what is left over.

    Raises:
        UserError: there are fewer items than processes.
    """
    items = len(split.train)
    if items < processes:
        raise UserError(f"{items} training items are too few for {processes} processes; use fewer")
    for number, phase in enumerate(recipe.phases, 1):
        batch = phase.batch_size * processes
        left = items % batch if items >= batch else 0
        say(
            f"phase {number}: {processes} processes with batches of {phase.batch_size}, {batch} items a step; "
            f"{left} of {items} training items are left out of each epoch, others each time"
        )
