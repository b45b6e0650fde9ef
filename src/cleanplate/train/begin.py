"""Begin a run: look at the data, choose how to compute, make the run folder."""

from pathlib import Path

import torch

from cleanplate.data.live import LiveComposition
from cleanplate.data.mixed import Mixed
from cleanplate.data.opening import Given
from cleanplate.data.source import DataSet, skipped_by
from cleanplate.data.split import Split, split_items
from cleanplate.data.statistics import normalisation_of
from cleanplate.device import pick_device
from cleanplate.errors import UserError
from cleanplate.losses import loss_needs_depth
from cleanplate.models import Network
from cleanplate.progress import say
from cleanplate.recipe import Recipe
from cleanplate.recipe_pictures import Composition
from cleanplate.references import fit_references
from cleanplate.train.compute import choose_compute, keep_freed_memory
from cleanplate.train.packs import make_packs, require_readable
from cleanplate.train.run import Run, describe_environment
from cleanplate.weights import WeightsCard, find_weights, load_weights


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
    start = load_initial(init, recipe)
    folder = given.open(recipe, packed=pack)
    _say_composition(recipe.composition, given, folder)
    split = split_items(folder, recipe.split)
    require_enough(split, processes)
    make_packs(folder, recipe, split)
    if recipe.on_bad_item == "fail":
        require_readable(folder, split)
    labelled = folder.labelled()[split.train].any()
    learns_depth = labelled and loss_needs_depth(recipe.loss)
    if recipe.model != "masknet" and not learns_depth:
        why = f"loss {recipe.loss} looks at no depth" if labelled else f"{given} has no depth labels"
        say(f"note: {why}: the network will answer with masks alone")
    skipped = skipped_by(recipe, folder)
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
        "depth": folder.card.depth.model_dump() if learns_depth else None,
        **choose_compute(recipe, device),
    }
    new_run.begin(recipe, environment, references, start)
    return new_run


def require_enough(split: Split, processes: int) -> None:
    """Refuse to train in more processes than there are items for.

    Raises:
        UserError: there are fewer items than processes.
    """
    for items, kind in ((len(split.train), "training"), (sum(map(len, split.parts.values())), "validation")):
        if items < processes:
            raise UserError(f"{items} {kind} items are too few for {processes} processes; use fewer")


def load_initial(init: Path | str | None, recipe: Recipe) -> tuple[Network, WeightsCard] | None:
    """Return the weights that a training starts from; None where it starts from none.

    Raises:
        UserError: there are no such weights, or they are of another network.
    """
    if init is None:
        return None
    model, card = load_weights(init)
    if card.model != recipe.model:
        raise UserError(
            f"{init}: is a {card.model}, and {recipe.name} trains a {recipe.model}; "
            f"give others, or set model={card.model}"
        )
    return model, card


def _say_composition(settings: Composition, given: Given, folder: DataSet) -> None:
    """Say how much is composed, what of the recipe does not count then, and which pictures are left out."""
    if given.plates is None and settings != Composition():
        say("note: composition is ignored: it is for --plates")
    if given.data is None and settings.share != Composition().share:
        say("note: composition.share is ignored: there is no data set beside the plates; composition.items counts")
    for source in folder.sources if isinstance(folder, Mixed) else [folder]:
        if isinstance(source, LiveComposition):
            for fault in source.skipped:
                say(f"note: left out: {fault}")
            if given.data is not None:
                say(
                    f"{len(source)} items are composed beside {len(folder) - len(source)} of {given.data}: "
                    f"composition.share is {settings.share:g}; composition.items counts for plates alone"
                )


def _say_batches(recipe: Recipe, split: Split, processes: int) -> None:
    """Say what a step takes in, and what is left over."""
    items = len(split.train)
    for number, phase in enumerate(recipe.phases, 1):
        batch = phase.batch_size * processes
        left = items % batch if items >= batch else 0
        say(
            f"phase {number}: {processes} processes with batches of {phase.batch_size}, {batch} items a step; "
            f"{left} of {items} training items are left out of each epoch, others each time"
        )
