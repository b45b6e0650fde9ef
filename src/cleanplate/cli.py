"""The command table: each command is a plain function of the package, with its arguments read from the command line."""

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from cleanplate import __version__
from cleanplate.errors import UserError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from cleanplate.train.fit import Trained


class _Stopped(Exception):  # noqa: N818  (no error)
    """Ctrl-C, with what the user may do next."""


class _Commands(TyperGroup):
    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's own kind of context
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:  # typer would swallow what it says
            raise _Stopped(*stop.args) from None


app = typer.Typer(
    name="cleanplate",
    cls=_Commands,
    help="Foreground mask and depth from a frame and its clean plate.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Make, check and measure data sets.")
app.add_typer(data_app, name="data")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Data = Annotated[Path, typer.Option("--data", help="A data set folder.")]
Weights = Annotated[Path, typer.Option("--weights", help="A run folder or a .safetensors file.")]
Seed = Annotated[int, typer.Option(min=0, help="Everything drawn at random follows from it.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, again and again.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes to work with.", show_default="one a core")]


@data_app.command("museum")
def data_museum(
    out: Annotated[Path, typer.Argument(help="The data set folder to make.")],
    rooms: Annotated[int, typer.Option(help="How many rooms, each seen by one camera.")] = 600,
    figures: Annotated[int, typer.Option(help="How many people there are to draw from.")] = 200,
    frames: Annotated[int, typer.Option(help="Frames of each room.")] = 10,
    size: Annotated[int, typer.Option(help="Pixels a side, a multiple of 32.")] = 224,
    seed: Seed = 1,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Render the built-in sample set: rooms with people, exact masks and depths.

    Example: cleanplate data museum museum --rooms 100
    """
    from cleanplate.data.museum import make_museum

    made = make_museum(out, rooms=rooms, figures=figures, frames=frames, size=size, seed=seed, workers=workers)
    _tell(as_json, {"path": str(made), "items": rooms * frames}, f"{made}: {rooms * frames} frames of {rooms} rooms")


@data_app.command("compose")
def data_compose(
    out: Annotated[Path, typer.Argument(help="The data set folder to make.")],
    plates: Annotated[Path, typer.Option(help="Pictures of places; depth maps may lie in PLATES/depth.")],
    cutouts: Annotated[Path, typer.Option(help="Pictures of people with transparency (RGBA).")],
    size: Annotated[int, typer.Option(help="Pixels of a frame's longer side, a multiple of 32.")] = 224,
    places: Annotated[int, typer.Option(help="Frames of each pair; in half of them the cutout is mirrored.")] = 40,
    scale: Annotated[tuple[float, float], typer.Option(help="Least and greatest height, of the frame's.")] = (0.3, 0.9),
    people: Annotated[int, typer.Option(help="At most so many cutouts in a frame.")] = 1,
    seed: Seed = 1,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Compose photographs of places and cutouts of people into a data set.

    Example: cleanplate data compose --plates rooms --cutouts people composed --places 4
    """
    from cleanplate.data.compose import compose

    made = compose(
        plates, cutouts, out, size=size, places=places, scale=scale, people=people, seed=seed, workers=workers
    )
    for fault in made.skipped:
        _warn(f"skipped {fault}")
    _tell(as_json, made, f"{made.path}: {made.items} frames of {made.plates} plates and {made.cutouts} cutouts")


@data_app.command("check")
def data_check(
    data: Annotated[Path, typer.Argument(help="A data set folder.")],
    as_json: Json = False,
) -> None:
    """Find every fault of a data set; the exit code is 2 when there are any.

    Example: cleanplate data check museum
    """
    from cleanplate.data.check import check

    report = check(data)
    lines = [f"{fault.file}: {fault.fault}" for fault in report.faults]
    _tell(as_json, report, "\n".join([*lines, f"{data}: {report.items} items, {len(lines)} faults"]))
    if report.faults:
        raise typer.Exit(2)


@data_app.command("stats")
def data_stats(
    data: Annotated[Path, typer.Argument(help="A data set folder.")],
    sheet: Annotated[
        Path | None, typer.Option(help="Where to write the contact sheet.", show_default="DATA/contact_sheet.png")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a data set: means, deviations, foreground, depth; and draw a contact sheet.

    Example: cleanplate data stats museum
    """
    from cleanplate.data.statistics import stats

    statistics = stats(data, sheet=sheet)
    _tell(as_json, statistics, _as_yaml(statistics))


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(help="A shipped recipe's name, or a YAML file.")] = None,
    data: Annotated[Path | None, typer.Option(help="A data set folder.")] = None,
    run: Annotated[Path | None, typer.Option(help="The run folder to make.", show_default="runs/RECIPE-TIME")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run instead of starting one.")] = None,
    settings: Settings = None,
    show: Annotated[bool, typer.Option("--print", help="Print the recipe in full and do nothing else.")] = False,
    seeds: Annotated[str | None, typer.Option(help="Train once with each, such as 1,2,3, into RUN-seed-1 …")] = None,
    as_json: Json = False,
) -> None:
    """Train a network as a recipe says, or go on with a run.

    Example: cleanplate train quick --data museum --run runs/first --set phases.0.epochs=1
    """
    if resume is not None:
        if recipe or run or settings or show or seeds:
            raise UserError(
                "--resume goes on with a run as it was begun; leave out RECIPE, --run, --set, --seeds and --print"
            )
        from cleanplate.train.fit import resume as resume_run

        trained = resume_run(resume, data)
        _tell(as_json, trained, _say_trained(trained))
        return
    if recipe is None:
        raise UserError("give a recipe (`cleanplate recipes` lists them), or --resume RUN")
    if show:
        from cleanplate.recipe import load_recipe

        shown = load_recipe(recipe, settings or ())
        _tell(as_json, shown, shown.to_yaml().rstrip())
        return
    if data is None:
        raise UserError("--data is missing: give a data set folder (`cleanplate data museum OUT` makes one)")
    numbers = None if seeds is None else _read_seeds(seeds)
    from cleanplate.train.fit import train as train_run
    from cleanplate.train.fit import train_seeds

    if numbers is None:
        trained = train_run(recipe, data, run=run, settings=settings or ())
        _tell(as_json, trained, _say_trained(trained))
    else:
        all_trained = train_seeds(recipe, data, numbers, run=run, settings=settings or ())
        said = "\n".join(map(_say_trained, all_trained))
        runs = " ".join(one.run for one in all_trained)
        _tell(
            as_json,
            {"runs": [one.model_dump(mode="json") for one in all_trained]},
            f"{said}\nmean and deviation: cleanplate compare {runs}",
        )


def _say_trained(trained: "Trained") -> str:
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


@app.command("lr-range")
def lr_range(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    data: Data,
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
    """Find out which learning rates a recipe can take: the learning-rate range test.

    Example: cleanplate lr-range quick --data museum --sweep 1e-5:1:400 --sweep 1e-5:2:100
    """
    from cleanplate.train.lr_range import DEFAULT_SWEEPS, format_table
    from cleanplate.train.lr_range import lr_range as range_test

    answer = range_test(
        recipe,
        data,
        sweeps=sweeps or DEFAULT_SWEEPS,
        linear=linear,
        validation=validation,
        out=out,
        settings=settings or (),
    )
    rate = answer.suggestions.steepest or answer.suggestions.before_divergence
    again = " ".join(f"--set {setting}" for setting in settings or ())
    then = f"\nnext: cleanplate train {recipe} --data {data} {again} --set optimizer.lr={rate:.2g}" if rate else ""
    _tell(as_json, answer, f"{format_table(answer)}\nplot: {answer.out}/lr_range.png{then.replace('  ', ' ')}")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("comparison"),
    data: Annotated[
        Path | None, typer.Option(help="Where the data set lies now.", show_default="where it lay in training")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare runs: figures, curves, predictions and recipes, as a page, Markdown and pictures.

    Example: cleanplate compare runs/first runs/second --out comparison
    """
    from cleanplate.compare.report import compare as compare_runs
    from cleanplate.compare.report import format_text

    comparison = compare_runs(runs, out=out, data=data)
    _tell(as_json, comparison, format_text(comparison))


@app.command()
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
    """Run one of the report's experiments end to end, or go on with it where it was stopped.

    Example: cleanplate experiments losses-depth --data museum --scale 0.01
    """
    from cleanplate.compare.report import format_text
    from cleanplate.experiments import run_experiment

    comparison = run_experiment(name, data, out=out, scale=scale, seeds=_read_seeds(seeds) if seeds else ())
    _tell(as_json, comparison, format_text(comparison))


@app.command()
def evaluate(
    weights: Weights,
    data: Data,
    size: Annotated[int | None, typer.Option(help="Pixels a side.", show_default="the last phase's")] = None,
    native: Annotated[bool, typer.Option("--native", help="Score at the pictures' own size.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where the worst items' picture goes.", show_default="RUN/evaluation")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score a network on a data set, beside two references that learn nothing.

    Example: cleanplate evaluate --weights runs/first --data museum
    """
    from cleanplate.evaluate import evaluate as evaluate_weights
    from cleanplate.evaluate import format_table

    evaluation = evaluate_weights(weights, data, size=size, native=native, out=out)
    _tell(as_json, evaluation, format_table(evaluation))


@app.command()
def predict(
    frames: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    weights: Weights,
    plate: Annotated[Path, typer.Option(help="The same scene with nobody in it.")],
    out: Annotated[Path, typer.Option(help="The folder to write into.")] = Path("predictions"),
    size: Annotated[
        int | None, typer.Option(help="Pixels of the longer side that the network sees.", show_default="its training's")
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict mask and depth of pictures of one scene.

    Example: cleanplate predict --weights runs/first --plate plate.jpg frame.jpg
    """
    from cleanplate.predict.pictures import predict as predict_pictures

    predicted = predict_pictures(weights, plate, frames, out=out, size=size)
    _tell(as_json, predicted, f"{predicted.out}: {len(predicted.files)} pictures of {predicted.frames} frames")


@app.command()
def recipes(as_json: Json = False) -> None:
    """List the shipped recipes.

    Example: cleanplate recipes
    """
    from cleanplate.recipe import list_recipes

    found = list_recipes()
    _tell(as_json, found, "\n".join(f"{name:<28}{description}" for name, description in found.items()))


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    _help_without_command(context)


@data_app.callback(invoke_without_command=True)
def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a fault of the user's ends in one line and exit code 2."""
    sys.exit(_run(lambda: app(arguments, prog_name="cleanplate", standalone_mode=False)))


def _run(command: Callable[[], Any]) -> int:
    try:
        return command() or 0
    except typer.TyperException as error:
        _warn(error.format_message())
    except UserError as error:
        _warn(str(error))
    except OSError as error:
        if error.errno not in _MACHINE_FAULTS:
            raise
        _warn(f"{error.filename or 'writing'}: {error.strerror}; {_MACHINE_FAULTS[error.errno]}")
    except _Stopped as stop:
        _warn("; ".join(["stopped", *map(str, stop.args)]))
        return 130
    return 2


_MACHINE_FAULTS = {
    errno.ENOSPC: "make room and try again",
    errno.EDQUOT: "make room and try again",
    errno.EFBIG: "raise the limit on file sizes and try again",
    errno.EACCES: "make it writable or choose another place",
    errno.EPERM: "make it writable or choose another place",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOTDIR: "choose another place",
    errno.EISDIR: "choose another place",
    errno.EEXIST: "choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the path",
}


def _warn(message: str) -> None:
    print(f"cleanplate: {message}", file=sys.stderr)


def _tell(as_json: bool, result: "BaseModel | dict[str, Any]", text: str) -> None:
    if as_json:
        print(json.dumps(result if isinstance(result, dict) else result.model_dump(mode="json")))
    else:
        print(text)


def _as_yaml(result: "BaseModel") -> str:
    import yaml

    return yaml.safe_dump(result.model_dump(mode="json", exclude_none=True), sort_keys=False).rstrip()
