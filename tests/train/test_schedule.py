"""The learning rate of each epoch, against torch's schedulers and by its shape."""

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau, StepLR

from cleanplate.recipe import Constant, OneCycle, Phase, Plateau, Recipe, Sgd, Step
from cleanplate.train.schedule import learning_rate

LR = 0.1
# with falls above and below the share that counts as one
losses_of_a_phase = st.lists(st.sampled_from([2.0, 1.0, 0.99995, 0.9998, 0.5, 0.1]), max_size=12)
anyhow = settings(deadline=None)


def recipe(schedule: Constant | Plateau | Step | OneCycle, *phases: tuple[int, float | None]) -> Recipe:
    """Return a recipe with a phase for each pair of epochs and learning rate."""
    return Recipe(
        optimizer=Sgd(lr=LR),
        schedule=schedule,
        phases=tuple(Phase(size=32, epochs=epochs, batch_size=2, lr=lr) for epochs, lr in phases),
    )


def torch_optimizer(lr: float = LR) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)


def rate_after(scheduler: LRScheduler | ReduceLROnPlateau, losses: list[float]) -> float:
    for loss in losses:
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(loss)
        else:
            scheduler.optimizer.step()
            scheduler.step()
    return scheduler.optimizer.param_groups[0]["lr"]


@anyhow
@given(losses_of_a_phase, st.integers(0, 3), st.sampled_from([0.0, 1e-3, 0.05]))
def test_plateau_is_that_of_torch(losses: list[float], patience: int, min_lr: float) -> None:
    plateau = Plateau(factor=0.5, patience=patience, min_lr=min_lr)
    reference = ReduceLROnPlateau(torch_optimizer(), factor=0.5, patience=patience, min_lr=min_lr, eps=0)
    assert learning_rate(recipe(plateau, (20, None)), losses, 0) == pytest.approx(rate_after(reference, losses))


@anyhow
@given(losses_of_a_phase, losses_of_a_phase.filter(bool))
def test_plateau_starts_anew_in_each_phase_from_the_rate_reached(first: list[float], second: list[float]) -> None:
    first = first or [1.0]
    plateau = Plateau(factor=0.5, patience=1, min_lr=0)
    reached = rate_after(ReduceLROnPlateau(torch_optimizer(), factor=0.5, patience=1, eps=0), first)
    reference = ReduceLROnPlateau(torch_optimizer(reached), factor=0.5, patience=1, eps=0)
    rate = learning_rate(recipe(plateau, (len(first), None), (20, None)), first + second, 0)
    assert rate == pytest.approx(rate_after(reference, second))


def test_a_rise_of_the_loss_at_a_new_resolution_is_not_held_against_it() -> None:
    plateau = Plateau(factor=0.5, patience=0)
    assert learning_rate(recipe(plateau, (1, None), (2, None)), [0.1, 5.0], 0) == LR


def test_plateau_does_not_raise_a_rate_that_is_below_its_least() -> None:
    plateau = Plateau(factor=0.5, patience=0, min_lr=1.0)
    assert learning_rate(recipe(plateau, (9, None)), [1, 1, 1], 0) == LR


@anyhow
@given(st.integers(0, 12), st.integers(1, 5))
def test_step_is_that_of_torch(epochs: int, every: int) -> None:
    reference = rate_after(StepLR(torch_optimizer(), every, gamma=0.3), [1.0] * epochs)
    rate = learning_rate(recipe(Step(name="step", every=every, factor=0.3), (20, None)), [1.0] * epochs, 0)
    assert rate == pytest.approx(reference)


def test_step_counts_the_epochs_of_each_phase_by_itself() -> None:
    step = recipe(Step(name="step", every=2, factor=0.1), (3, None), (3, None))
    rates = [learning_rate(step, [1.0] * epoch, 0) for epoch in range(6)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.01, 0.001])


def test_a_phase_sets_its_own_rate_and_the_next_goes_on_from_there() -> None:
    phased = recipe(Constant(name="constant"), (1, None), (1, 0.03), (1, None), (1, 0.2))
    assert [learning_rate(phased, [1.0] * epoch, 0) for epoch in range(4)] == [LR, 0.03, 0.03, 0.2]


@pytest.mark.parametrize(("anneal", "after_a_third"), [("cosine", 0.75), ("linear", 2 / 3)])
def test_one_cycle_rises_to_the_rate_and_falls_to_nothing(
    anneal: Literal["cosine", "linear"], after_a_third: float
) -> None:
    cycle = recipe(OneCycle(name="one-cycle", warmup=0.25, anneal=anneal), (4, None))
    rates = [learning_rate(cycle, [], step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(LR / 10)
    assert rates[25] == pytest.approx(LR)
    assert rates[50] == pytest.approx(LR * after_a_third)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)


def test_one_cycle_without_warmup_starts_at_the_rate() -> None:
    assert learning_rate(recipe(OneCycle(name="one-cycle", warmup=0), (1, None)), [], 0) == LR
