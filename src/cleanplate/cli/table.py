"""The command table: each command is a plain function of the package, with its arguments read from the command line."""

import errno
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cleanplate import __version__
from cleanplate.cli.data import data_app
from cleanplate.cli.export import export
from cleanplate.cli.options import warn
from cleanplate.cli.serving import serve
from cleanplate.cli.training import compare, experiments, lr_range, recipes, train
from cleanplate.cli.use import evaluate, plate, predict
from cleanplate.errors import UserError
from cleanplate.signals import TERMINATED


class _Stopped(Exception):  # noqa: N818  (no error)
    """Ctrl-C or SIGTERM, with what the user may do next."""


class _Termination:
    """SIGTERM, which ends the work as Ctrl-C does: nothing is left half-written."""

    came = False

    def __call__(self, *_: object) -> None:
        self.came = True
        raise KeyboardInterrupt


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
app.add_typer(data_app, name="data")
app.command()(recipes)
app.command("lr-range")(lr_range)
app.command()(train)
app.command()(compare)
app.command()(experiments)
app.command()(evaluate)
app.command()(plate)
app.command()(predict)
app.command()(export)
app.command("app")(serve)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a fault of the user's ends in one line and exit code 2."""
    termination = _Termination()
    before = signal.signal(signal.SIGTERM, termination)
    try:
        code = _run(lambda: app(arguments, prog_name="cleanplate", standalone_mode=False))
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(TERMINATED if code == _INTERRUPTED and termination.came else code)


def _run(command: Callable[[], Any]) -> int:
    try:
        return command() or 0
    except typer.TyperException as error:
        warn(error.format_message())
    except UserError as error:
        warn(str(error))
    except OSError as error:
        if error.errno not in _MACHINE_FAULTS:
            raise
        warn(f"{error.filename or 'writing'}: {error.strerror}; {_MACHINE_FAULTS[error.errno]}")
    except _Stopped as stop:
        warn("; ".join(["stopped", *map(str, stop.args)]))
        return _INTERRUPTED
    return 2


_INTERRUPTED = 130
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
    errno.EIO: "see whether the disk or the terminal is still there",
}
