"""A recipe's mismatch: in training and validation batches of any data set, and the same after a resume."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from trainings import RECIPE, assert_same, equal_weights, read_rows, send, small_recipe

from cleanplate import resume, train
from cleanplate.data.mismatch import Mismatched
from cleanplate.data.modest import ModestFolder
from cleanplate.data.module import PhasedData
from cleanplate.data.split import split_items
from cleanplate.recipe import Phase, Recipe
from cleanplate.recipe_pictures import Exposure, Mismatch

MISMATCHED = Mismatch(exposure=Exposure(probability=1))


def changed(recipe: Recipe, mismatch: Mismatch = MISMATCHED) -> Recipe:
    return recipe.model_copy(update={"mismatch": mismatch})


@pytest.mark.parametrize("pack", [True, False])
def test_a_mismatch_is_trained_with(pack: bool, scenes: Path, tmp_path: Path) -> None:
    recipe = small_recipe()
    train(recipe, scenes, run=tmp_path / "without")
    train(changed(recipe), scenes, run=tmp_path / "with", pack=pack)
    assert not equal_weights(tmp_path / "without", tmp_path / "with")


def test_training_and_validation_have_the_mismatch_and_validation_always_that_of_epoch_0(
    scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, recipe = (
        ModestFolder(scenes),
        changed(small_recipe(seed=5, phases=(Phase(size=32, epochs=2, batch_size=6),))),
    )
    mismatched = Mismatched(folder, MISMATCHED)
    data = PhasedData(folder, split_items(folder, recipe.split), recipe)
    for epoch in (0, 1):
        monkeypatch.setattr(PhasedData, "epoch", epoch)
        trained, held_out = next(iter(data.train_dataloader())), next(iter(data.val_dataloader()[0]))
        read = data.read(held_out.indices.tolist())
        for batch, seed, of_epoch in (
            (trained, 5, epoch),
            (held_out, recipe.split.seed, 0),
            (read, recipe.split.seed, 0),
        ):
            items = batch.indices.tolist()
            assert batch.frame.equal(mismatched.batch(items, 32, seed, of_epoch).frame)
            plain = folder.batch(items, 32, seed, of_epoch)
            assert not batch.frame.equal(plain.frame)
            assert batch.mask.equal(plain.mask)


def test_a_run_with_every_mismatch_goes_on_to_the_same_bits(
    scenes: Path, tmp_path: Path, on_call: Callable[..., None]
) -> None:
    recipe = changed(RECIPE, Mismatch.everything())
    train(recipe, scenes, run=tmp_path / "unbroken")
    for step in (3, 18):  # in either phase
        run = tmp_path / f"stopped in step {step}"
        on_call(step, lambda: send(signal.SIGTERM))
        with pytest.raises(SystemExit):
            train(recipe, scenes, run=run)
        resume(run)
        assert_same(run, tmp_path / "unbroken")
        assert len(read_rows(run)) == recipe.epochs
