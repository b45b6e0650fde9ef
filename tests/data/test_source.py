from pathlib import Path

import numpy as np
import pytest
import torch

from cleanplate.data.modest import ModestFolder
from cleanplate.data.source import Batch, BatchLoader, shuffled
from cleanplate.errors import UserError


def test_epochs_are_true_shuffles() -> None:
    indices = np.arange(100, 200)
    first, again, other = shuffled(indices, 1, 0), shuffled(indices, 1, 0), shuffled(indices, 1, 1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, indices)
    assert np.array_equal(np.sort(first), indices)


def test_batches_come_in_order_and_the_last_may_be_smaller(dataset: Path) -> None:
    order = np.array([5, 3, 9, 0, 7])
    loader = BatchLoader(ModestFolder(dataset), order, size=32, batch_size=2)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert [batch.indices.tolist() for batch in batches] == [[5, 3], [9, 0], [7]]
    assert all(isinstance(batch, Batch) for batch in batches)


def test_workers_change_nothing(dataset: Path) -> None:
    folder, order = ModestFolder(dataset), np.arange(0, 48, 5)
    alone, helped = (list(BatchLoader(folder, order, size=32, batch_size=4, workers=count)) for count in (0, 2))
    for one, other in zip(alone, helped, strict=True):
        assert isinstance(other, Batch)
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True) if a is not None)


@pytest.mark.parametrize("workers", [0, 1])
def test_fault_of_the_data_comes_as_it_is(own_dataset: Path, workers: int) -> None:
    (own_dataset / "bg_fg" / "bg001_fg001_01.jpg").write_text("text")
    with pytest.raises(UserError, match=r"bg001_fg001_01\.jpg: not a readable picture"):
        list(BatchLoader(ModestFolder(own_dataset), np.arange(4), size=32, batch_size=2, workers=workers))


def test_a_batch_gives_the_truth_for_losses_and_metrics(dataset: Path) -> None:
    batch = ModestFolder(dataset).batch([0, 47], 64, seed=0, epoch=0)
    target = batch.target
    assert target.mask is batch.mask
    assert target.depth is batch.depth
    assert target.has_depth is not None
    assert target.has_depth.tolist() == [True, False]
