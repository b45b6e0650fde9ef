import re
from pathlib import Path

import numpy as np
import pytest

from cleanplate.data import statistics
from cleanplate.data.card import read_card
from cleanplate.data.modest import ModestFolder
from cleanplate.data.source import Skipped
from cleanplate.data.statistics import measure, normalisation_of, stats
from cleanplate.errors import UserError
from cleanplate.pictures import read_rgb, write_picture


def test_figures_are_those_of_plain_numpy(own_dataset: Path) -> None:
    found = stats(own_dataset)
    folder = ModestFolder(own_dataset)
    items = [folder.read(index) for index in range(len(folder))]
    for field in ("plate", "frame"):
        values = np.stack([getattr(item, field) for item in items]).reshape(-1, 3) / 255
        channels = getattr(found.normalisation, field)
        assert channels.mean == pytest.approx(values.mean(0), abs=1e-5)
        assert channels.std == pytest.approx(values.std(0), abs=1e-5)
    masks = np.stack([item.mask for item in items])
    depths = np.stack([item.depth for item in items if item.depth is not None]) / 65535
    shares = (masks >= 128).mean((1, 2))
    assert found.mask.model_dump() == pytest.approx(
        {"mean": (masks / 255).mean(), "std": (masks / 255).std()}, abs=1e-5
    )
    assert found.depth is not None
    assert found.depth.model_dump() == pytest.approx({"mean": depths.mean(), "std": depths.std()}, abs=1e-5)
    assert found.foreground_share == pytest.approx(
        {"mean": shares.mean(), "least": shares.min(), "most": shares.max(), "empty": 0}
    )
    histogram = np.histogram(depths, 20, (0, 1))[0] / depths.size
    assert found.depth_histogram == pytest.approx(histogram.tolist(), abs=1e-4)
    assert (found.items, found.sampled, found.plates, found.items_with_depth) == (48, 48, 6, 24)


def test_contact_sheet_is_drawn(own_dataset: Path, tmp_path: Path) -> None:
    assert stats(own_dataset).contact_sheet == str(own_dataset / "contact_sheet.png")
    found = stats(own_dataset, sheet=tmp_path / "sheet.png")
    assert found.contact_sheet == str(tmp_path / "sheet.png")
    assert min(read_rgb(tmp_path / "sheet.png").shape[:2]) > 200


def test_normalisation_is_computed_once_and_kept(own_dataset: Path) -> None:
    first = normalisation_of(ModestFolder(own_dataset))
    assert read_card(own_dataset).normalisation == first
    assert read_card(own_dataset).made_by is not None  # what else the card says stays
    for path in (own_dataset / "bg_fg").iterdir():
        path.unlink()
    assert normalisation_of(ModestFolder(own_dataset)) == first


def test_a_set_without_depth_has_no_figures_of_it(own_dataset: Path) -> None:
    text = re.sub(r"\t\w+_depth_map$", "\t", (own_dataset / "file_map.txt").read_text(), flags=re.MULTILINE)
    (own_dataset / "file_map.txt").write_text(text)
    found = stats(own_dataset)
    assert (found.depth, found.depth_histogram, found.items_with_depth) == (None, None, 0)


def test_unreadable_picture_is_named(own_dataset: Path) -> None:
    (own_dataset / "bg_fg" / "bg001_fg001_01.jpg").write_text("text")
    with pytest.raises(UserError, match=r"bg001_fg001_01\.jpg: not a readable picture"):
        stats(own_dataset)


def test_pictures_of_one_colour_can_be_normalised(tmp_path: Path) -> None:
    for field in ("plate", "frame", "mask"):
        (tmp_path / field).mkdir()
        write_picture(tmp_path / field / "a.png", np.full((8, 8, 3) if field != "mask" else (8, 8), 99, np.uint8))
    (tmp_path / "file_map.txt").write_text("a\ta\ta\t\n")
    normalisation = normalisation_of(ModestFolder(tmp_path))
    assert normalisation.frame.std == (1e-5, 1e-5, 1e-5)
    assert read_card(tmp_path).normalisation == normalisation


def test_a_set_of_which_nothing_looked_at_can_be_read_is_refused(
    own_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "SAMPLE", 2)
    for path in (own_dataset / "bg_fg").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="none of 2 items looked at can be read"):
        measure(ModestFolder(own_dataset), Skipped(1000))
