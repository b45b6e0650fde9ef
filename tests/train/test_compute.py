"""How a training computes: what may be set, and what is chosen where nothing is."""

from itertools import count

import pytest
import torch
from scenes import PLAIN
from trainings import FUSED, small_recipe

from cleanplate.device import pick_device
from cleanplate.errors import UserError
from cleanplate.fused.build import load_kernels
from cleanplate.models import create_model
from cleanplate.recipe import Compute
from cleanplate.train import compute
from cleanplate.train.compute import arrange, choose_compute


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, nothing_known: None) -> list[Compute]:
    """What is tried, in place of a trial."""
    tried = list[Compute]()

    def time_step(network: object, pictures: object, candidate: Compute) -> float:
        tried.append(candidate)
        return 0.1

    monkeypatch.setattr(compute, "_time_step", time_step)
    return tried


@pytest.mark.parametrize(("found", "picked"), [(None, "cpu"), ("mps", "cpu"), ("cuda", "cuda")])
def test_an_accelerator_is_taken_where_it_can_do_all_that_is_asked(
    monkeypatch: pytest.MonkeyPatch, found: str | None, picked: str
) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: found and torch.device(found))
    assert pick_device() == torch.device(picked)


@pytest.mark.parametrize("faster", [True, False])
def test_bfloat16_is_tried_where_a_convolution_is_faster_in_it(
    monkeypatch: pytest.MonkeyPatch, tried: list[Compute], faster: bool
) -> None:
    monkeypatch.setattr(compute, "bfloat16_is_faster", lambda device: faster)
    choose_compute(small_recipe(compute={}), torch.device("cpu"))
    assert {candidate.precision for candidate in tried} == ({"float32", "bfloat16"} if faster else {"float32"})


def test_one_trial_serves_all_trainings_of_a_network(tried: list[Compute]) -> None:
    one = choose_compute(small_recipe(compute={}, seed=1), torch.device("cpu"))
    number = len(tried)
    assert choose_compute(small_recipe(compute={}, seed=2, loss="dice"), torch.device("cpu")) == one
    assert len(tried) == number
    choose_compute(small_recipe(compute={}, model="platenet", loss="rmse-bce-dice"), torch.device("cpu"))
    assert len(tried) > number


@pytest.mark.usefixtures("nothing_known")
@pytest.mark.parametrize("slow", [range(3), range(1, 6), range(1, 12, 2)])  # in the last, the fastest one's alone
def test_the_fastest_is_chosen_though_other_work_slows_some_steps(slow: range, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "CANDIDATES", [PLAIN, PLAIN.model_copy(update={"layout": "channels_last"})])
    steps = count()

    def time_step(network: object, pictures: object, candidate: Compute) -> float:
        return (1.0 if candidate.layout == "channels_last" else 1.2) * (1.5 if next(steps) in slow else 1)

    monkeypatch.setattr(compute, "_time_step", time_step)
    assert choose_compute(small_recipe(compute={}), torch.device("cpu"))["layout"] == "channels_last"


def test_bfloat16_can_be_set_on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "bfloat16_is_faster", lambda device: False)
    wanted = PLAIN.model_copy(update={"precision": "bfloat16"})
    assert choose_compute(small_recipe(compute=wanted), torch.device("cpu"))["precision"] == "bfloat16"


@pytest.mark.usefixtures("nothing_known")
def test_the_trial_leaves_random_numbers_as_they_were() -> None:
    before = torch.get_rng_state()
    choose_compute(small_recipe(compute={}), torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("nothing_known")
def test_without_a_compiler_training_goes_by_torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert load_kernels() is None
    chosen = choose_compute(small_recipe(compute=PLAIN.model_copy(update={"kernels": "auto"})), torch.device("cpu"))
    assert chosen["kernels"] == "plain"
    with pytest.raises(UserError, match=r"compute\.kernels: fused is for .* C compiler"):
        choose_compute(small_recipe(compute=FUSED), torch.device("cpu"))


@pytest.mark.parametrize("kernels", ["fused", "tiled"])
def test_kernels_of_ours_with_another_layout_are_refused(kernels: str) -> None:
    wanted = PLAIN.model_copy(update={"kernels": kernels})
    with pytest.raises(UserError, match=rf"compute\.kernels: {kernels} is for channels_last"):
        choose_compute(small_recipe(compute=wanted), torch.device("cpu"))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_network_computes_in_its_layout_whichever_its_pictures_have(layout: str) -> None:
    model, formats = arrange(create_model("masknet"), PLAIN.model_dump() | {"layout": layout}), set[bool]()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, given: formats.add(given[0].is_contiguous()))
    for pictures in (torch.rand(2, 3, 64, 64), torch.rand(2, 64, 64, 3).permute(0, 3, 1, 2)):
        model(pictures, pictures)
    assert formats == {layout == "contiguous"}
