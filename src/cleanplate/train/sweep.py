"""Sweeps of the learning rate: train for some steps while the rate grows, and read off what the loss does.

After L. N. Smith, "Cyclical learning rates for training neural networks", WACV 2017.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from pydantic import BaseModel
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor, nn

from cleanplate.errors import UserError

T = TypeVar("T")

DIVERGED = 5.0
"""A sweep ends when the running mean of its loss is so many times its lowest."""
RUNNING_MEAN = 0.9
MOST_ITERATIONS = 1_000_000
SMOOTHING = 1 / 40
"""Deviation of the Gaussian that smooths a curve, as a share of its length."""


class Sweep(NamedTuple):
    """The rates of one range test."""

    start: float
    end: float
    iterations: int
    linear: bool = False

    @classmethod
    def parse(cls, text: str, steps_per_epoch: int, linear: bool = False) -> "Sweep":
        """Read `START:END:ITERATIONS`, such as `1e-5:1:400`; `2epochs` in place of iterations.

        Raises:
            UserError: it is none, starts at or above its end, or has none or too many iterations.
        """
        try:
            start, end, length = text.split(":")
            epochs = length.removesuffix("epochs").removesuffix("epoch")
            iterations = int(length) if epochs == length else round(float(epochs) * steps_per_epoch)
            sweep = cls(float(start), float(end), iterations, linear)
        except (ValueError, OverflowError):
            raise UserError(
                f"--sweep {text}: expected START:END:ITERATIONS, such as 1e-5:1:400 or 1e-5:1:2epochs"
            ) from None
        if not 0 < sweep.start < sweep.end < math.inf:
            raise UserError(f"--sweep {text}: the start must be above 0 and below the end")
        if sweep.iterations < 1:
            raise UserError(f"--sweep {text}: needs one iteration at least")
        if sweep.iterations > MOST_ITERATIONS:
            raise UserError(f"--sweep {text}: takes at most {MOST_ITERATIONS:,} iterations")
        return sweep

    def rates(self) -> list[float]:
        """Return the rate of each iteration."""
        space = np.linspace if self.linear else np.geomspace
        return space(self.start, self.end, self.iterations).tolist()


class Curve(NamedTuple):
    """What a sweep has measured: each loss beside the rate of the step that led to it."""

    rates: list[float]
    losses: list[float]
    diverged_at: float | None


class SweepResult(BaseModel):
    """A sweep and what it says."""

    start: float
    end: float
    iterations: int
    """As asked for; `rates` has as many as there were before the loss diverged."""
    lowest_loss: float | None
    """Of the smoothed curve; None, as all that follows, where the very first step diverged."""
    lowest_loss_lr: float | None
    steepest_lr: float | None
    """Where the smoothed loss falls fastest over the logarithm of the rate, before its lowest point."""
    diverged_at: float | None
    """None where the sweep came to its end."""
    rates: list[float]
    losses: list[float]
    smoothed: list[float]


class Suggestions(BaseModel):
    """Three rates, medians over the sweeps; None where no sweep shows one."""

    steepest: float | None
    lowest_loss: float | None
    before_divergence: float | None
    """A tenth of the rate at which the loss diverged."""


def sweep_rates(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    rates: Iterable[float],
    batches: Iterable[T],
    loss_of: Callable[[T], Tensor],
    validate: Callable[[], float] | None = None,
) -> Curve:
    """Take a training step at each rate, and leave model, optimiser and random state as they were.

    The loss beside a rate is the one *after* the step at that rate, on the batch that comes next, which that step has
    not seen. The sweep ends early where the loss diverges or is no number.

    Args:
        model: what is trained.
        optimizer: of its parameters.
        rates: one for each step.
        batches: at least one more than there are rates.
        loss_of: the training loss of a batch.
        validate: measures the loss in place of the next batch's training loss.
    """
    curve = Curve([], [], None)
    mean, lowest = 0.0, math.inf
    upcoming = iter(batches)
    with _untouched(model, optimizer):
        loss = loss_of(next(upcoming))
        for number, rate in enumerate(rates, 1):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss = loss_of(next(upcoming))
            value = validate() if validate else float(loss.detach())
            mean = RUNNING_MEAN * mean + (1 - RUNNING_MEAN) * value
            unbiased = mean / (1 - RUNNING_MEAN**number)
            if not math.isfinite(unbiased) or unbiased > DIVERGED * lowest:
                return curve._replace(diverged_at=rate)
            lowest = min(lowest, unbiased)
            curve.rates.append(rate)
            curve.losses.append(value)
    return curve


@contextmanager
def _untouched(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    weights, state, training = deepcopy(model.state_dict()), deepcopy(optimizer.state_dict()), model.training
    try:
        with isolate_rng():
            yield
    finally:
        optimizer.zero_grad()
        model.load_state_dict(weights)
        model.train(training)
        optimizer.load_state_dict(state)


def smooth(losses: Sequence[float]) -> np.ndarray:
    """Return the losses smoothed by a Gaussian that looks both ways, so that nothing is shifted."""
    values = np.asarray(losses, float)
    deviation = max(1.0, SMOOTHING * len(values))
    reach = np.arange(-math.ceil(3 * deviation), math.ceil(3 * deviation) + 1)
    window = np.exp(-0.5 * (reach / deviation) ** 2)
    weighted, weight = (
        np.convolve(x, window)[len(reach) // 2 :][: len(values)] for x in (values, np.ones(len(values)))
    )
    return weighted / weight


def read_curve(sweep: Sweep, curve: Curve) -> SweepResult:
    """Say what a curve shows: its lowest point, its steepest descent, and where it diverged."""
    smoothed = smooth(curve.losses) if curve.losses else np.zeros(0)
    lowest = int(smoothed.argmin()) if len(smoothed) else None
    steepest = None
    if lowest:
        slope = np.gradient(smoothed, np.log(curve.rates))[: lowest + 1]
        steepest = curve.rates[int(slope.argmin())]
    return SweepResult(
        start=sweep.start,
        end=sweep.end,
        iterations=sweep.iterations,
        lowest_loss=None if lowest is None else float(smoothed[lowest]),
        lowest_loss_lr=None if lowest is None else curve.rates[lowest],
        steepest_lr=steepest,
        diverged_at=curve.diverged_at,
        rates=curve.rates,
        losses=curve.losses,
        smoothed=smoothed.tolist(),
    )


def suggest(sweeps: Sequence[SweepResult]) -> tuple[Suggestions, dict[str, tuple[float, float] | None]]:
    """Return the suggestions over several sweeps, and the span of each."""
    found = {
        "steepest": [sweep.steepest_lr for sweep in sweeps if sweep.steepest_lr],
        "lowest_loss": [sweep.lowest_loss_lr for sweep in sweeps if sweep.lowest_loss_lr],
        "before_divergence": [sweep.diverged_at / 10 for sweep in sweeps if sweep.diverged_at],
    }
    middle = {name: float(np.exp(np.median(np.log(rates)))) if rates else None for name, rates in found.items()}
    return Suggestions(**middle), {name: (min(rates), max(rates)) if rates else None for name, rates in found.items()}
