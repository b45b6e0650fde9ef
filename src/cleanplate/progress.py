"""Progress bars, on standard error so that standard output stays clean."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

T = TypeVar("T")

console = Console(stderr=True)


def progress_bar(*extra: ProgressColumn) -> Progress:
    """Return a bar with description, count, time left and whatever columns come in `extra`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *extra,
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    """Pass on `items` while a bar shows how many of `total` have come."""
    with progress_bar() as progress:
        yield from progress.track(items, total=total, description=description)
