"""The learning rate, as a function of the recipe and of what has happened so far.

Nothing here has a state: the rate of any step can be had again from the validation losses in metrics.csv, so a resumed
run cannot lose its place in the schedule.
"""

import math
from collections.abc import Sequence

from cleanplate.recipe import OneCycle, Plateau, Recipe, Step

THRESHOLD = 1e-4  # a loss has fallen when it is lower by this share, as in torch's ReduceLROnPlateau


def learning_rate(recipe: Recipe, losses: Sequence[float], progress: float) -> float:
    """Return the rate for the epoch after the finished ones.

    Args:
        recipe: the whole experiment.
        losses: the validation loss of each finished epoch.
        progress: the share of all the run's steps that are done, 0 to 1; `one-cycle` alone looks at it.
    """
    rate = recipe.optimizer.lr
    finished = list(losses)
    for phase in recipe.phases:
        rate = phase.lr or rate
        rate = _after(recipe.schedule, rate, finished[: phase.epochs])
        if len(finished) < phase.epochs:
            break
        finished = finished[phase.epochs :]
    return rate * _one_cycle(recipe.schedule, progress) if isinstance(recipe.schedule, OneCycle) else rate


def _after(schedule: object, rate: float, losses: list[float]) -> float:
    """Return the rate after a phase's finished epochs."""
    if isinstance(schedule, Step):
        return rate * schedule.factor ** (len(losses) // schedule.every)
    if isinstance(schedule, Plateau):
        best, waited = math.inf, 0
        for loss in losses:
            best, waited = (loss, 0) if loss < best * (1 - THRESHOLD) else (best, waited + 1)
            if waited > schedule.patience:
                rate, waited = max(rate * schedule.factor, min(rate, schedule.min_lr)), 0
    return rate


def _one_cycle(schedule: OneCycle, progress: float) -> float:
    """Return the share of the peak rate: from 0.1 up to 1, then down to 0."""
    if progress < schedule.warmup:
        return 0.1 + 0.9 * progress / schedule.warmup
    passed = (progress - schedule.warmup) / (1 - schedule.warmup)
    return 1 - passed if schedule.anneal == "linear" else 0.5 * (1 + math.cos(math.pi * passed))
