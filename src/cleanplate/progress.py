"""Progress bars and notes, on standard error so that standard output stays clean."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

T = TypeVar("T")

_console = Console(stderr=True)


def say(message: str) -> None:
    """Print a line for the user, past any bar that is showing."""
    _console.print(message, highlight=False, markup=False, soft_wrap=True)


def progress_bar(*extra: ProgressColumn) -> Progress:
    """Return a bar with description, count, time left and whatever columns come in `extra`; none in a log file."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *extra,
        TimeRemainingColumn(),
        console=_console,
        transient=True,
        disable=not _console.is_terminal,
    )


def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    """Pass on `items` while a bar shows how many of `total` have come."""
    with progress_bar() as progress:
        yield from progress.track(items, total=total, description=description)
