"""The package's own weights: small, at hand without being named, and right in rooms they have never seen."""

from pathlib import Path

import pytest

from cleanplate import cli, evaluate
from cleanplate.data.museum import make_museum
from cleanplate.weights import GENERAL_FILE, load_weights


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms and people of another seed than those of the training."""
    folder = tmp_path_factory.mktemp("unseen") / "museum"
    return make_museum(folder, rooms=8, figures=20, frames=2, size=224, seed=1001, workers=1)


def test_they_are_small_and_say_what_they_are() -> None:
    assert GENERAL_FILE.stat().st_size < 24_000_000
    model, card = load_weights("general")
    assert (card.model, card.recipe) == ("platenet", "general")
    assert card.depth is not None
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_they_find_people_and_depth_in_rooms_never_seen(unseen: Path) -> None:
    evaluation = evaluate("general", unseen)
    assert evaluation.metrics["iou"] > 0.8
    assert evaluation.metrics["aligned_rmse"] < 0.1


def test_they_are_taken_where_no_weights_are_named(
    unseen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plate, frame = (min((unseen / folder).iterdir()) for folder in ("bg", "bg_fg"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict", "--plate", str(plate), str(frame), "--only", "mask"])
    assert ended.value.code == 0
    assert (tmp_path / "predictions" / f"{frame.stem}_mask.png").exists()
