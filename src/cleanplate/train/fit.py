"""Train a network: start a run, or go on with one."""

import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lightning_fabric.plugins.environments import ClusterEnvironment
from pydantic import BaseModel, ValidationError

from cleanplate.data.card import explain
from cleanplate.data.opening import Given
from cleanplate.data.split import split_items
from cleanplate.errors import UserError
from cleanplate.files import remove_partial_files
from cleanplate.progress import say
from cleanplate.recipe import Recipe, differing_keys, require_seeds
from cleanplate.recipes import load_recipe
from cleanplate.signals import TERMINATED
from cleanplate.train.begin import begin_run, require_enough
from cleanplate.train.engine import train_run
from cleanplate.train.keeper import Stopped
from cleanplate.train.packs import make_packs
from cleanplate.train.processes import Place, by_the_first, find_cluster, joined, require_alone, run_in_processes
from cleanplate.train.run import Run, best_row
from cleanplate.train.state import State, newest_state


class Stretch(NamedTuple):
    """How much of a run is to be trained now."""

    stop_at: float | None
    """By `time.monotonic()`."""
    epochs_now: int | None

    @classmethod
    def begin(cls, stop_after: str | None, epochs_now: int | None) -> "Stretch":
        """Read a time such as `45m` or `1h30m`, which begins to run, and a number of epochs.

        Raises:
            UserError: one of them is none.
        """
        if epochs_now is not None and epochs_now < 1:
            raise UserError(f"--epochs-now {epochs_now}: give 1 or more")
        if stop_after is None:
            return cls(None, epochs_now)
        parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", stop_after)
        if not parts or not any(parts.groups()):
            raise UserError(f"--stop-after {stop_after}: expected a time such as 45m, 1h30m or 90s")
        seconds = sum(int(part or 0) * unit for part, unit in zip(parts.groups(), (3600, 60, 1), strict=True))
        return cls(time.monotonic() + seconds, epochs_now)


class Trained(BaseModel):
    """What a training has come to."""

    run: str
    epochs: int
    best: dict[str, Any] | None
    """The best epoch's row of metrics.csv and times.csv; None before the first epoch has ended."""
    seconds: float
    """Of this call."""
    items_per_second: float | None
    """Median over the epochs, of the training part alone."""


def train(
    recipe: Recipe | str | Path,
    data: Path | str | None = None,
    *,
    plates: Path | str | None = None,
    cutouts: Path | str | None = None,
    init: Path | str | None = None,
    run: Path | str | None = None,
    settings: Sequence[str] = (),
    stop_after: str | None = None,
    epochs_now: int | None = None,
    devices: int = 1,
    pack: bool = True,
) -> Trained:
    """Train a network as a recipe says, into a new run folder.

    Where torchrun or SLURM has started this process beside others, they train together.

    Args:
        recipe: a recipe, the name of a shipped one, or a YAML file.
        data: a data set folder.
        plates: a folder of pictures without people, on which items are composed as they are needed: all of them, or
            beside those of `data` the share that the recipe's composition says.
        cutouts: a folder of pictures with alpha to compose with; the museum's figures when None.
        init: weights to start from, a run folder or a `.safetensors` file of the recipe's network, or `general`, the
            package's own; their normalisation is taken over.
        run: the run folder to make; `runs/RECIPE-TIME` when None.
        settings: `key=value` changes to the recipe.
        stop_after: stop after so much time, such as `45m` or `1h30m`; `resume` goes on.
        epochs_now: stop after so many epochs; `resume` goes on.
        devices: how many processes to start on this machine; each has batches of the recipe's size.
        pack: make and read packs of the data set, where they are worth it and there is room; the answers are the same.

    Raises:
        UserError: recipe, data, weights or run folder are at fault.
        KeyboardInterrupt: after Ctrl-C, the state written.
        SystemExit: after SIGTERM or SIGUSR1, the state written; the code is 143.
    """
    stretch = Stretch.begin(stop_after, epochs_now)
    recipe = load_recipe(recipe, settings)
    given = Given.of(data, plates, cutouts)

    def begin() -> Run:
        planned, processes = Run.plan(run, recipe), _count(cluster, devices)
        return begin_run(planned, recipe, given, processes=processes, pack=pack, init=init)

    cluster = find_cluster()
    with joined(cluster) as place:
        new_run = by_the_first(place, begin)
        return _train(place, new_run, given, None, stretch, devices, pack)


def train_seeds(
    recipe: Recipe | str | Path,
    data: Path | str | None,
    seeds: Sequence[int],
    *,
    plates: Path | str | None = None,
    cutouts: Path | str | None = None,
    init: Path | str | None = None,
    run: Path | str | None = None,
    settings: Sequence[str] = (),
    pack: bool = True,
) -> list[Trained]:
    """Train the same recipe once with each seed, into RUN-seed-1 and so on; the split is the same for all.

    Args:
        recipe: as `train` takes it.
        data, plates, cutouts, init: as `train` takes them.
        seeds: of weights, order and augmentation; they replace the recipe's.
        run: what the names of the run folders begin with; `runs/RECIPE-TIME` when None.
        settings: `key=value` changes to the recipe.
        pack: as `train` takes it.

    Raises:
        UserError: as `train` does, before the first training begins; the seeds will not do; or torchrun or SLURM has
            started several processes.
    """
    seeds = require_seeds(seeds)
    require_alone("--seeds")
    recipe = load_recipe(recipe, settings)
    base = Run.plan(run, recipe).path
    paths = [base.with_name(f"{base.name}-seed-{seed}") for seed in seeds]
    for path in paths:
        Run.plan(path, recipe)
    seeded = [recipe.model_copy(update={"seed": seed}) for seed in seeds]
    return [
        train(one, data, plates=plates, cutouts=cutouts, init=init, run=path, pack=pack)
        for one, path in zip(seeded, paths, strict=True)
    ]


def resume(
    run: Path | str,
    data: Path | str | None = None,
    *,
    plates: Path | str | None = None,
    cutouts: Path | str | None = None,
    stop_after: str | None = None,
    epochs_now: int | None = None,
    take: Literal["file", "state"] | None = None,
    devices: int | None = None,
    pack: bool = True,
) -> Trained:
    """Go on with a run from its newest good state, or from the start if it has none yet.

    Args:
        run: a run folder.
        data, plates, cutouts: where they lie now; where they lay when None.
        stop_after: as `train` takes it.
        epochs_now: as `train` takes it.
        take: when recipe.yaml is no longer what the run was trained with so far: go on with the `file` as it is now,
            or with the recipe of the `state`, which is written back into the file. Refused when None.
        devices: as `train` takes it; when None as many as before, or those that torchrun or SLURM has started.
        pack: as `train` takes it.

    Raises:
        UserError: it is no run folder, the data set is not the one it was begun with, or the recipe has changed.
        KeyboardInterrupt, SystemExit: as `train` does.
    """
    stretch = Stretch.begin(stop_after, epochs_now)
    begun = Run.open(run)
    given = Given.recorded(begun.environment()).moved(Given.named(data, plates, cutouts))
    cluster = find_cluster()
    with joined(cluster) as place:
        found = by_the_first(place, lambda: _find_state(begun, given, take, cluster, devices, pack))
        if found.done:
            return _summary(begun, 0)
        return _train(place, begun, given, found.state, stretch, found.processes, pack)


def _count(cluster: ClusterEnvironment | None, devices: int) -> int:
    """Return the number of processes that are to train.

    Raises:
        UserError: they are to be started twice.
    """
    if devices < 1:
        raise UserError(f"--devices {devices}: give 1 or more")
    if cluster is None:
        return devices
    if devices > 1:
        raise UserError(
            f"--devices {devices}: torchrun or SLURM has started the processes already, "
            f"{cluster.world_size()} of them; leave it out"
        )
    return cluster.world_size()


class _Found(NamedTuple):
    """Where a run is to be gone on with."""

    state: Path | None
    """The newest good state."""
    processes: int
    done: bool = False
    """Whether nothing is left to train."""


def _find_state(
    run: Run, given: Given, take: str | None, cluster: ClusterEnvironment | None, devices: int | None, pack: bool
) -> _Found:
    """Find the place to go on from, in as many processes as it had last where nobody says."""
    begun_as = run.environment()
    path, state = newest_state(run.checkpoints) or (None, None)
    if devices is None:
        last = state["processes"] if state else begun_as["devices"]
        devices = 1 if cluster else last
    processes = _count(cluster, devices)
    if state is not None:
        _settle_recipe(run, state, take)
    recipe = run.recipe()
    folder = given.open(recipe, packed=pack)
    if folder.fingerprint() != begun_as["data_fingerprint"]:
        could = [given.data and "its file_map.txt", given.plates and "a picture or the recipe's composition"]
        differing = ", ".join(one for one in could if one)
        raise UserError(f"{given}: is not the data set that {run.path} was begun with ({differing} differs)")
    remove_partial_files(run.path)
    if state and len(state["finished_losses"]) >= recipe.epochs:
        say(f"{run.path}: all {recipe.epochs} epochs are done; nothing is left to train")
        return _Found(path, processes, done=True)
    split = split_items(folder, recipe.split)
    require_enough(split, processes)
    if state and state["processes"] != processes:
        say(f"note: going on with {processes} processes after {state['processes']}: not what the latter would give")
    make_packs(folder, recipe, split)
    return _Found(path, processes)


def _train(
    place: Place, run: Run, given: Given, state: Path | None, stretch: Stretch, processes: int, pack: bool
) -> Trained:
    """Train in this process, or in several that are started here."""
    started = time.perf_counter()
    arguments = (run.path, given, state, stretch.stop_at, stretch.epochs_now, pack)
    try:
        if processes > place.processes:
            run_in_processes(processes, train_run, arguments)
        else:
            train_run(place, *arguments)
    except Stopped as stop:
        over = len(run.rows()) >= run.recipe().epochs
        go_on = "all epochs are done" if over else f"go on with `cleanplate train --resume {run.path}`"
        if stop.signal_number == signal.SIGINT:
            raise KeyboardInterrupt(go_on) from None
        if place.rank == 0:
            say(f"{stop}; {go_on}")
        if stop.signal_number is not None:
            raise SystemExit(TERMINATED) from None
    return _summary(run, time.perf_counter() - started)


def _settle_recipe(run: Run, state: State, take: str | None) -> None:
    """Make recipe.yaml and the recipe of the state one again.

    Raises:
        UserError: they differ, and nobody has said which to take; or in what no run can change. Or that of the state
            makes no sense here.
    """
    try:
        before, now = Recipe.model_validate(state["recipe"]), run.recipe()
    except ValidationError as error:
        raise UserError(f"{run.path}: its state is of another version of cleanplate ({explain(error)})") from None
    differing = differing_keys([before, now])
    if not differing:
        return
    said = ", ".join(f"{key} was {old} and is {new}" for key, (old, new) in differing.items())
    if take is None:
        raise UserError(
            f"{run.recipe_file}: has changed since the run was trained with it ({said}); "
            "give --take file to go on with it as it is now, or --take state to go on as before"
        )
    if take == "state":
        run.write_recipe(before)
        return
    parts = {key if key == "optimizer.name" else key.partition(".")[0] for key in differing}
    fixed = sorted(parts & {"model", "loss", "depth_weight", "optimizer.name", "composition", "mismatch", "split"})
    if fixed:
        raise UserError(f"{run.recipe_file}: {' and '.join(fixed)} cannot change within a run; give --take state")
    say(f"{run.path}: going on with another recipe: {said}")


def _summary(run: Run, seconds: float) -> Trained:
    rows = run.rows()
    paces = sorted(row["items_per_second"] for row in rows)
    return Trained(
        run=str(run.path),
        epochs=len(rows),
        best=best_row(rows) if rows else None,
        seconds=round(seconds, 1),
        items_per_second=paces[len(paces) // 2] if paces else None,
    )
