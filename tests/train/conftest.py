from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from trainings import RECIPE, TWO

from cleanplate import train
from cleanplate.models.masknet import MaskNet


@pytest.fixture(scope="session")
def unbroken(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five epochs of a masknet in two phases, whose learning rate falls with the validation loss."""
    return Path(train(RECIPE, scenes, run=tmp_path_factory.mktemp("unbroken") / "run").run)


@pytest.fixture
def on_call(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Give a function that lets something happen within a given training or validation step."""
    with monkeypatch.context() as patches:

        def arrange(number: int, happen: Callable[[], Any], *, training: bool = True) -> None:
            calls, forward = 0, MaskNet.forward

            def watched(self: MaskNet, plate: torch.Tensor, frame: torch.Tensor) -> Any:
                nonlocal calls
                calls += self.training == training
                if calls == number and self.training == training:
                    calls += 1
                    changed = happen()
                    if changed is not None:
                        plate = plate * changed
                return forward(self, plate, frame)

            patches.setattr(MaskNet, "forward", watched)

        yield lambda *args, **options: (patches.undo(), arrange(*args, **options))[1]


@pytest.fixture
def memory_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that lets no more than so many items of a size fit in memory."""

    def limit(items: int, *, size: int) -> None:
        forward = MaskNet.forward

        def full(self: MaskNet, plate: torch.Tensor, frame: torch.Tensor) -> Any:
            if plate.shape[-1] == size and len(plate) > items:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: …")
            return forward(self, plate, frame)

        monkeypatch.setattr(MaskNet, "forward", full)

    return limit


@pytest.fixture(scope="session")
def pair(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of three epochs in two processes."""
    return Path(train(TWO, scenes, run=tmp_path_factory.mktemp("pair") / "run", devices=2).run)
