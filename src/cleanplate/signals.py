"""Signals: what a process that they end says, how they wait for a good moment, and who ends with whom."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from types import FrameType

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a command that SIGTERM has ended."""


def end_with_parent() -> None:
    """Let this process end when its parent does: one that is killed tells nobody, and its workers would go on."""

    def wait_and_end() -> None:
        parent = parent_process()
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()


@contextmanager
def postponed_signals() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C and SIGTERM wait until the function that this gives is called, which does what they would have done.

    Their handlers raise. Raised while a queue takes a lock, that lock stays taken, and whoever closes the queue waits
    for ever. A second signal does not wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    given = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in given.items() if callable(handler)}
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)
        restore()

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def answer() -> None:
        if came:
            number = came.pop()
            handlers[signal.Signals(number)](number, None)

    for number in handlers:
        signal.signal(number, note)
    try:
        yield answer
    finally:
        restore()
    answer()
