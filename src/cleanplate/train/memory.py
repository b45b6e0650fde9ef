"""When a batch does not fit in memory: saying so, and which one does."""

from collections.abc import Callable

import torch

from cleanplate.recipe import Phase

LEAST = 2
"""The norms of the deepest layer have no deviation of a single item of 32x32."""


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether a step failed for want of memory; on a CPU torch says so in words alone."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def describe_misfit(phase: Phase, number: int, step: Callable[[int], object] | None) -> str:
    """Return what to say of a phase whose batch did not fit.

    Call it when the error is gone, since its traceback keeps hold of what the step had allocated.

    Args:
        phase: the phase.
        number: its place in the recipe, from 0.
        step: takes a training step of so many items: half of the batch is tried, a quarter, and so on.
            None: nothing can be tried any more.
    """
    fault = f"phases.{number}: a batch of {phase.batch_size} at {phase.size}x{phase.size} does not fit in memory"
    if step is None or phase.batch_size <= LEAST:
        return fault
    items = phase.batch_size
    while items > LEAST:
        items = max(LEAST, items // 2)
        if _fits(step, items):
            return f"{fault}, one of {items} does"
    return f"{fault}, nor does one of {LEAST}"


def _fits(step: Callable[[int], object], items: int) -> bool:
    try:
        step(items)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
