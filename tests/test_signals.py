"""Signals that wait until they do no harm."""

import os
import signal
from collections.abc import Iterator

import pytest

from cleanplate.signals import postponed_signals

HERE = os.getpid()


@pytest.fixture(autouse=True)
def raising() -> Iterator[None]:
    """Ctrl-C raises, as Python has it, whatever started the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_waits_until_it_is_answered() -> None:
    with postponed_signals() as answer:
        answer()
        os.kill(HERE, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            answer()
        answer()


def test_a_signal_is_answered_at_the_end_at_the_latest() -> None:
    with pytest.raises(KeyboardInterrupt), postponed_signals():
        os.kill(HERE, signal.SIGINT)


def test_a_second_signal_does_not_wait() -> None:
    with postponed_signals() as answer:
        os.kill(HERE, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(HERE, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            answer()


def test_signals_are_as_before_afterwards() -> None:
    with postponed_signals():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
