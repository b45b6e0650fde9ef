"""Commands that train networks and set trainings side by side."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cleanplate.cli.options import Cutouts, Data, Json, OptionalData, Plates, Settings, tell
from cleanplate.errors import UserError

if TYPE_CHECKING:
    from cleanplate.train.fit import Trained


Take = Literal["file", "state"]


def recipes(as_json: Json = False) -> None:
    """List the shipped recipes.

    Example: cleanplate recipes
    """
    from cleanplate.recipes import list_recipes

    found = list_recipes()
    tell(as_json, found, "\n".join(f"{name:<28}{description}" for name, description in found.items()))


def train(
    recipe: Annotated[str | None, typer.Argument(help="A shipped recipe's name, or a YAML file.")] = None,
    data: OptionalData = None,
    plates: Plates = None,
    cutouts: Cutouts = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Weights to start from: a run folder, a .safetensors file; general: the package's own."),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="The run folder to make.", show_default="runs/RECIPE-TIME")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run instead of starting one.")] = None,
    settings: Settings = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and write nothing.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Print the recipe in full and do nothing else.")] = False,
    seeds: Annotated[str | None, typer.Option(help="Train once with each, such as 1,2,3, into RUN-seed-1 …")] = None,
    stop_after: Annotated[str | None, typer.Option(metavar="TIME", help="Stop after a time such as 45m.")] = None,
    epochs_now: Annotated[int | None, typer.Option(help="Stop after so many epochs.")] = None,
    take: Annotated[
        Take | None, typer.Option(help="With --resume, when recipe.yaml has changed: which recipe to go on with.")
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(help="Processes to train in, a device each.", show_default="1, or as before"),
    ] = None,
    no_pack: Annotated[bool, typer.Option("--no-pack", help="Neither make nor read packs of the data set.")] = False,
    as_json: Json = False,
) -> None:
    """Train a network as a recipe says, or go on with a run.

    Example: cleanplate train quick --data museum --run runs/first --set phases.0.epochs=1
    """
    if resume is not None:
        if recipe or init or run or settings or show or seeds or dry_run:
            raise UserError(
                "--resume goes on with a run as it was begun; "
                "leave out RECIPE, --run, --set, --seeds, --init, --print and --dry-run"
            )
        from cleanplate.train.fit import resume as resume_run

        trained = resume_run(
            resume,
            data,
            plates=plates,
            cutouts=cutouts,
            stop_after=stop_after,
            epochs_now=epochs_now,
            take=take,
            devices=devices,
            pack=not no_pack,
        )
        _tell_trained(as_json, trained)
        return
    if take:
        raise UserError("--take goes with --resume: a new run has one recipe")
    if recipe is None:
        raise UserError("give a recipe (`cleanplate recipes` lists them), or --resume RUN")
    if show:
        from cleanplate.recipes import load_recipe

        shown = load_recipe(recipe, settings or ())
        tell(as_json, shown, shown.to_yaml().rstrip())
        return
    begun: dict[str, Any] = {
        "plates": plates,
        "cutouts": cutouts,
        "init": init,
        "run": run,
        "settings": settings or (),
        "pack": not no_pack,
    }
    if dry_run:
        if seeds or stop_after or epochs_now or devices:
            raise UserError(
                "--dry-run looks at a whole training in one process; "
                "leave out --seeds, --stop-after, --epochs-now and --devices"
            )
        from cleanplate.train.rehearsal import format_rehearsal, rehearse

        rehearsal = rehearse(recipe, data, **begun)
        tell(as_json, rehearsal, format_rehearsal(rehearsal))
        return
    numbers = None if seeds is None else _read_seeds(seeds)
    if numbers and (stop_after or epochs_now or devices):
        raise UserError("--seeds trains each run to its end; leave out --stop-after, --epochs-now and --devices")
    from cleanplate.train.fit import train as train_run
    from cleanplate.train.fit import train_seeds

    if numbers is None:
        trained = train_run(
            recipe,
            data,
            stop_after=stop_after,
            epochs_now=epochs_now,
            devices=1 if devices is None else devices,
            **begun,
        )
        _tell_trained(as_json, trained)
    else:
        all_trained = train_seeds(recipe, data, numbers, **begun)
        said = "\n".join(map(_say_trained, all_trained))
        runs = " ".join(one.run for one in all_trained)
        tell(
            as_json,
            {"runs": [one.model_dump(mode="json") for one in all_trained]},
            f"{said}\nmean and deviation: cleanplate compare {runs}",
        )


def _tell_trained(as_json: bool, trained: "Trained") -> None:
    from cleanplate.train.processes import is_first

    if is_first():
        tell(as_json, trained, _say_trained(trained))


def _say_trained(trained: "Trained") -> str:
    if trained.best is None:
        return f"no epoch has ended yet\nrun folder: {trained.run}"
    figures = "  ".join(
        f"{name} {trained.best['validation/' + name]:.4f}"
        for name in ("iou", "soft_iou", "rmse")
        if trained.best["validation/" + name] is not None
    )
    return f"best epoch {trained.best['epoch']} of {trained.epochs}: {figures}\nrun folder: {trained.run}"


def _read_seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: expected whole numbers, such as 1,2,3") from None


def lr_range(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    data: OptionalData = None,
    plates: Plates = None,
    cutouts: Cutouts = None,
    sweeps: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="START:END:ITERATIONS", help="Again and again.", show_default="1e-6:1:200"),
    ] = None,
    linear: Annotated[bool, typer.Option("--linear", help="Grow the rate by equal steps, not equal factors.")] = False,
    validation: Annotated[bool, typer.Option("--validation", help="Measure the loss on held-out items.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write into.", show_default="runs/lr-range-RECIPE-TIME")
    ] = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Find which learning rates a recipe can take: the range test.

    Example: cleanplate lr-range quick --data museum --sweep 1e-5:1:400 --sweep 1e-5:2:100
    """
    from cleanplate.recipes import load_recipe
    from cleanplate.train.lr_range import DEFAULT_SWEEPS, format_table
    from cleanplate.train.lr_range import lr_range as range_test

    answer = range_test(
        recipe,
        data,
        plates=plates,
        cutouts=cutouts,
        sweeps=sweeps or DEFAULT_SWEEPS,
        linear=linear,
        validation=validation,
        out=out,
        settings=settings or (),
    )
    rate = answer.suggestions.steepest or answer.suggestions.before_divergence
    lines = [format_table(answer), f"plot: {answer.out}/lr_range.png"]
    if rate:
        own_rate = load_recipe(recipe, settings or ()).phases[0].lr is not None  # which goes before the optimiser's
        changes = [*(settings or ()), f"{'phases.0.lr' if own_rate else 'optimizer.lr'}={rate:.2g}"]
        given = {"--data": data, "--plates": plates, "--cutouts": cutouts}
        options = [word for option, path in given.items() if path is not None for word in (option, str(path))]
        command = ["cleanplate", "train", recipe, *options]
        lines.append(f"next: {shlex.join([*command, *(word for change in changes for word in ('--set', change))])}")
    tell(as_json, answer, "\n".join(lines))


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("comparison"),
    data: Annotated[
        Path | None, typer.Option(help="Where the data set lies now.", show_default="where it lay in training")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare runs: figures, curves, predictions, recipes.

    Example: cleanplate compare runs/first runs/second --out comparison
    """
    from cleanplate.compare.report import compare as compare_runs
    from cleanplate.compare.report import format_text

    comparison = compare_runs(runs, out=out, data=data)
    tell(as_json, comparison, format_text(comparison))


def experiments(
    name: Annotated[str, typer.Argument(help="losses-mask, losses-depth or report.")],
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="The folder for runs and comparison.", show_default="experiments/NAME")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="How many items, of the report's 400,000; batches shrink too.", show_default="all there are"),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Such as 1,2,3.", show_default="the experiment's own")] = None,
    as_json: Json = False,
) -> None:
    """Run one of the report's experiments, or go on with it.

    Example: cleanplate experiments losses-depth --data museum --scale 0.01
    """
    from cleanplate.compare.report import format_text
    from cleanplate.experiments import run_experiment

    comparison = run_experiment(name, data, out=out, scale=scale, seeds=None if seeds is None else _read_seeds(seeds))
    tell(as_json, comparison, format_text(comparison))
