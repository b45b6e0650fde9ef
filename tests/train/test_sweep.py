"""Sweeps of the learning rate, on problems whose answer is known in closed form."""

import copy
import itertools
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cleanplate.errors import UserError
from cleanplate.train.sweep import Curve, Sweep, read_curve, smooth, suggest, sweep_rates


class Bowl(nn.Module):
    """The loss `curvature / 2 * w^2`, whose gradient descent at rate r multiplies w by `1 - r * curvature`."""

    def __init__(self, curvature: float, start: float = 1.0) -> None:
        super().__init__()
        self.curvature = curvature
        self.w = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def loss(self, batch: None) -> Tensor:
        return self.curvature / 2 * self.w**2


def swept(bowl: Bowl, rates: list[float], **settings) -> Curve:
    optimizer = torch.optim.SGD(bowl.parameters(), 1.0)
    return sweep_rates(bowl, optimizer, rates, itertools.repeat(None), bowl.loss, **settings)


# a step of 1 lands on the minimum, where rounding is all there is
@given(st.floats(0.01, 100), st.lists(st.floats(0.001, 0.9) | st.floats(1.1, 1.9), min_size=1, max_size=20))
def test_each_loss_is_that_of_the_step_at_its_rate(curvature: float, steps: list[float]) -> None:
    rates = [step / curvature for step in steps]
    curve = swept(Bowl(curvature), rates)
    expected = curvature / 2 * np.cumprod([(1 - step) ** 2 for step in steps])
    assert curve.rates == rates[: len(curve.rates)]
    assert curve.losses == pytest.approx(expected[: len(curve.losses)], rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("curvature", [0.1, 1.0, 40.0])
def test_single_steps_find_the_best_rate_of_a_quadratic(curvature: float) -> None:
    """One step from the same start is best at 1 / curvature."""
    rates = np.geomspace(0.01 / curvature, 1.9 / curvature, 300).tolist()
    losses = [swept(Bowl(curvature), [rate]).losses[0] for rate in rates]
    result = read_curve(Sweep(rates[0], rates[-1], len(rates)), Curve(rates, losses, None))
    assert result.lowest_loss_lr == pytest.approx(1 / curvature, rel=0.1)  # smoothing over the lopsided valley
    # d loss / d log r = -r c (1 - r c), steepest at half of the best rate
    assert result.steepest_lr == pytest.approx(0.5 / curvature, rel=0.1)


@pytest.mark.parametrize("curvature", [0.1, 1.0, 40.0])
def test_a_sweep_of_a_quadratic_turns_where_descent_turns_unstable(curvature: float) -> None:
    """The loss falls as long as the rate is below 2 / curvature, and grows above."""
    rates = np.geomspace(1e-3 / curvature, 100 / curvature, 400).tolist()
    curve = swept(Bowl(curvature), rates)
    fell = [later < sooner for sooner, later in itertools.pairwise(curve.losses)]
    turned = curve.rates[1:][fell.index(False)]
    below, above = (max(r for r in rates if r < 2 / curvature), min(r for r in rates if r > 2 / curvature))
    assert turned == above
    assert curve.diverged_at is not None
    assert curve.diverged_at > below
    assert read_curve(Sweep(rates[0], rates[-1], 400), curve).lowest_loss_lr <= curve.diverged_at


def test_a_sweep_leaves_weights_optimiser_and_random_state_bit_identical() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    model(torch.randn(16, 4)).square().mean().backward()
    optimizer.step()  # so that there is a momentum to be kept
    optimizer.zero_grad()
    model.eval()
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    random_states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()

    def loss(batch: None) -> Tensor:
        model.train()
        random.random()
        return model(torch.randn(16, 4)).square().mean() + np.random.rand()

    curve = sweep_rates(model, optimizer, [0.1, 0.2, 0.3], itertools.repeat(None), loss)

    assert len(curve.losses) == 3
    assert not model.training
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    after = optimizer.state_dict()
    assert after["param_groups"] == state["param_groups"]
    for number, entry in state["state"].items():
        assert torch.equal(after["state"][number]["momentum_buffer"], entry["momentum_buffer"])
    assert torch.equal(torch.get_rng_state(), random_states[0])
    assert np.array_equal(np.random.get_state()[1], random_states[1])
    assert random.getstate() == random_states[2]


def test_a_sweep_that_fails_leaves_everything_as_it_was_too() -> None:
    bowl = Bowl(1.0)

    def loss(batch: int) -> Tensor:
        if batch == 2:
            raise RuntimeError("out of memory")
        return bowl.loss(None)

    optimizer = torch.optim.SGD(bowl.parameters(), 1.0)
    with pytest.raises(RuntimeError):
        sweep_rates(bowl, optimizer, [0.1, 0.2, 0.3], itertools.count(), loss)
    assert bowl.w.item() == 1.0
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_a_sweep_stops_at_a_loss_that_is_no_number() -> None:
    losses = iter([2.0, 1.0, math.nan, 1.0])
    model = nn.Linear(1, 1)
    curve = sweep_rates(
        model,
        torch.optim.SGD(model.parameters(), 1.0),
        [0.1, 0.2, 0.3],
        itertools.repeat(None),
        lambda _: model.weight.sum() * 0 + next(losses),
    )
    assert curve == Curve([0.1], [1.0], 0.2)


def test_a_sweep_may_go_by_a_validation_loss() -> None:
    bowl = Bowl(1.0)
    curve = swept(bowl, [0.5, 0.5], validate=lambda: 10 * bowl.w.item())
    assert curve.losses == [5.0, 2.5]


def test_rates_grow_by_equal_factors_or_by_equal_steps() -> None:
    assert Sweep(0.001, 10, 5).rates() == pytest.approx([0.001, 0.01, 0.1, 1, 10])
    assert Sweep(1, 3, 5, linear=True).rates() == pytest.approx([1, 1.5, 2, 2.5, 3])


def test_a_sweep_is_read_from_its_text() -> None:
    assert Sweep.parse("1e-7:5:400", 10) == Sweep(1e-7, 5, 400)
    assert Sweep.parse("1e-5:1:2epochs", 10, linear=True) == Sweep(1e-5, 1, 20, linear=True)
    assert Sweep.parse("1e-5:1:0.5epochs", 10).iterations == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1:0.1:10", "the start must be above 0 and below the end"),
        ("1:1:10", "the start must be above 0 and below the end"),
        ("0:1:10", "the start must be above 0 and below the end"),
        ("1e-3:inf:10", "the start must be above 0 and below the end"),
        ("nan:1:10", "the start must be above 0 and below the end"),
        ("1e-5:1:0", "needs one iteration at least"),
        ("1e-5:1:-3", "needs one iteration at least"),
        ("1e-5:1:0epochs", "needs one iteration at least"),
        ("1e-5:1", "expected START:END:ITERATIONS"),
        ("a:b:c", "expected START:END:ITERATIONS"),
        ("1e-5:1:infepochs", "expected START:END:ITERATIONS"),
    ],
)
def test_a_faulty_sweep_is_named(text: str, words: str) -> None:
    with pytest.raises(UserError, match=f"--sweep {text}: {words}"):
        Sweep.parse(text, 10)


@given(st.floats(-100, 100), st.integers(1, 300))
def test_smoothing_keeps_a_level_and_a_slope(level: float, length: int) -> None:
    assert smooth([level] * length) == pytest.approx([level] * length)
    slope = np.arange(400.0)
    assert smooth(slope)[40:-40] == pytest.approx(slope[40:-40])


def test_suggestions_are_medians_with_their_span() -> None:
    def result(lowest: float, diverged: float | None):
        curve = Curve([lowest / 10, lowest / 5, lowest], [3.0, 2.0, 0.0], diverged)
        return read_curve(Sweep(lowest / 10, lowest * 10, 9), curve)

    suggestions, agreement = suggest([result(0.1, None), result(0.2, 2.0), result(0.4, 8.0)])
    assert suggestions.lowest_loss == pytest.approx(0.2)
    assert agreement["lowest_loss"] == (0.1, 0.4)
    assert suggestions.before_divergence == pytest.approx(0.4)
    assert agreement["before_divergence"] == pytest.approx((0.2, 0.8))


def test_a_sweep_that_diverges_at_once_suggests_nothing() -> None:
    result = read_curve(Sweep(1, 10, 5), Curve([], [], 1.0))
    suggestions, agreement = suggest([result])
    assert (result.lowest_loss, suggestions.lowest_loss, suggestions.steepest) == (None, None, None)
    assert suggestions.before_divergence == pytest.approx(0.1)
    assert agreement["steepest"] is None
