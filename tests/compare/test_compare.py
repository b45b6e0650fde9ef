"""Comparisons of runs: what is refused, what is ranked, and what the page shows."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from scenes import PLAIN, broken_file, write_scenes

from cleanplate import UserError, train
from cleanplate.compare.report import Comparison, compare, format_text
from cleanplate.compare.summary import Group, RunSummary, rank
from cleanplate.data.modest import ModestFolder
from cleanplate.data.split import split_items
from cleanplate.pictures import read_rgb
from cleanplate.recipe import AdamW, HeldOutSplit, Phase, Recipe
from cleanplate.recipe_pictures import Exposure, Mismatch
from cleanplate.train.fit import train_seeds
from cleanplate.train.previews import preview_items
from cleanplate.train.run import Run, best_row

SMALL = Recipe(
    name="small",
    model="masknet",
    loss="bce",
    optimizer=AdamW(name="adamw", lr=0.02),
    phases=(Phase(size=32, epochs=2, batch_size=8),),
    previews=0,
    compute=PLAIN,
)


@pytest.fixture(scope="module")
def runs(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of one recipe, and one run of another."""
    folder = tmp_path_factory.mktemp("runs")
    trained = train_seeds(SMALL, scenes, [1, 2], run=folder / "small")
    other = SMALL.model_copy(update={"name": "dice", "loss": "dice"})
    return [*(Path(one.run) for one in trained), Path(train(other, scenes, run=folder / "dice").run)]


@pytest.fixture(scope="module")
def comparison(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(runs, out=tmp_path_factory.mktemp("out") / "comparison", note="a note")


def group(label: str, values: list[float], metric: str = "iou", steps: int = 500) -> Group:
    """A group of one metric."""
    empty = {"seed": 1, "epochs": 1, "items_seen": 1, "size": 96, "last": {}, "seconds": 1, "items_per_second": 1}
    runs = [
        RunSummary(run=label, recipe=label, steps=steps, best={metric: value}, parameters=1, **empty)
        for value in values
    ]
    mean = sum(values) / len(values)
    spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5 if len(values) > 1 else None
    return Group(label=label, runs=runs, mean={metric: mean}, deviation={metric: spread})


def test_seeds_of_a_recipe_stand_together_with_mean_and_deviation(comparison: Comparison, runs: list[Path]) -> None:
    small, dice = comparison.groups
    assert [one.label for one in comparison.groups] == ["small", "dice"]
    ious = [best_row(Run.open(path).rows())["validation/iou"] for path in runs]
    assert small.mean["iou"] == pytest.approx((ious[0] + ious[1]) / 2)
    assert small.deviation["iou"] == pytest.approx(abs(ious[0] - ious[1]) / 2**0.5)
    assert dice.mean["iou"] == pytest.approx(ious[2])
    assert dice.deviation["iou"] is None


def test_a_run_is_summed_up(comparison: Comparison, runs: list[Path]) -> None:
    run, rows = comparison.groups[0].runs[0], Run.open(runs[0]).rows()
    assert (run.epochs, run.steps, run.items_seen, run.size) == (2, 6, 48, 32)
    assert run.last["loss"] == rows[-1]["validation/loss"]
    assert run.seconds == pytest.approx(sum(row["seconds"] for row in rows), abs=0.1)
    assert run.parameters == 59_745


def test_seeds_share_their_split_and_differ_in_their_weights(runs: list[Path]) -> None:
    first, second = (Run.open(path) for path in runs[:2])
    assert first.recipe().split == second.recipe().split
    assert first.recipe().seed != second.recipe().seed
    assert first.weights.read_bytes() != second.weights.read_bytes()


def test_short_runs_are_said_to_be_too_short_and_not_ranked(comparison: Comparison) -> None:
    assert comparison.rankings == []
    assert any("small is too short to rank: 6 steps of 300 needed" in note for note in comparison.notes)
    assert "too short to rank" in format_text(comparison)


class Links(HTMLParser):
    """The addresses that a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_holds_everything_it_shows(comparison: Comparison) -> None:
    page = (Path(comparison.out) / "compare.html").read_text()
    links = Links()
    links.feed(page)
    assert len(links.found) == 2
    assert all(link.startswith("data:image/png;base64,") for link in links.found)
    assert "url(" not in page
    for words in ("a note", "small", "dice", "too short to rank", "How the recipes differ", "59,745"):
        assert words in page


def test_markdown_shows_the_same_tables_and_names_pictures_that_are_there(comparison: Comparison) -> None:
    folder = Path(comparison.out)
    text = (folder / "compare.md").read_text()
    pictures = re.findall(r"!\[.*\]\((.*)\)", text)
    assert pictures == ["curves.png", "predictions.png"]
    for name in pictures:
        assert read_rgb(folder / name).std() > 5
    widths = [{line.count("|") for line in table.splitlines()} for table in re.findall(r"(?:^\|.*\n)+", text, re.M)]
    assert len(widths) == 4
    assert all(len(width) == 1 for width in widths)
    assert "| loss | bce | dice |" in text


def test_json_is_the_comparison(comparison: Comparison) -> None:
    assert Comparison.model_validate(json.loads((Path(comparison.out) / "compare.json").read_text())) == comparison


def test_a_difference_within_the_deviation_is_none() -> None:
    near, far = [0.80, 0.84], [0.81, 0.85]
    (ranking,) = rank([group("near", near), group("far", far)])
    assert ranking.order == ["far", "near"]
    assert ranking.statements[0].startswith("no difference between far and near: 0.0100 is within the deviation")


def test_a_difference_beyond_the_deviation_is_one() -> None:
    (ranking,) = rank([group("a", [0.80, 0.81]), group("b", [0.90, 0.91])])
    assert ranking.statements == ["b is better than a by 0.1000, deviation over seeds 0.0071"]


def test_of_errors_the_lower_is_better() -> None:
    (ranking,) = rank([group("a", [0.2], "rmse"), group("b", [0.1], "rmse")])
    assert ranking.order == ["b", "a"]
    assert "with one seed nobody knows" in ranking.statements[0]


def test_runs_that_are_too_short_are_left_out_of_the_ranking() -> None:
    groups = [group("a", [0.2]), group("b", [0.1]), group("short", [0.9], steps=299)]
    assert rank(groups)[0].order == ["a", "b"]


def test_runs_of_different_data_are_refused(runs: list[Path], tmp_path: Path) -> None:
    other = train(SMALL, write_scenes(tmp_path / "others", plates=7), run=tmp_path / "run").run
    with pytest.raises(UserError, match=r"were trained on different data .* cannot be ranked") as caught:
        compare([runs[0], other], out=tmp_path / "out")
    assert str(runs[0]) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_runs_of_different_splits_are_refused(runs: list[Path], scenes: Path, tmp_path: Path) -> None:
    recipe = SMALL.model_copy(update={"split": HeldOutSplit(seed=2)})
    other = train(recipe, scenes, run=tmp_path / "run").run
    with pytest.raises(UserError, match=r"were trained on different splits \(seed\)"):
        compare([runs[0], other], out=tmp_path / "out")


def test_runs_judged_by_pictures_of_other_mismatches_are_refused(
    runs: list[Path], scenes: Path, tmp_path: Path
) -> None:
    recipe = SMALL.model_copy(update={"mismatch": Mismatch(exposure=Exposure())})
    other = train(recipe, scenes, run=tmp_path / "run").run
    with pytest.raises(UserError, match=r"judged by pictures with different mismatches \(exposure"):
        compare([runs[0], other], out=tmp_path / "out")


def test_runs_from_other_weights_stand_apart_and_are_told_apart(runs: list[Path], scenes: Path, tmp_path: Path) -> None:
    other = train(SMALL.model_copy(update={"seed": 2}), scenes, run=tmp_path / "on", init=runs[0]).run
    groups = compare([runs[0], other], out=tmp_path / "out").groups
    assert [[run.run for run in group.runs] for group in groups] == [[str(runs[0])], [str(other)]]
    assert f"| --init |  | {runs[0] / 'weights.safetensors'} |" in (tmp_path / "out" / "compare.md").read_text()


def test_a_run_given_twice_is_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give each run once"):
        compare([runs[0], runs[0].parent / "." / runs[0].name], out=tmp_path / "out")


def test_a_second_run_of_a_seed_adds_nothing_to_the_deviation(runs: list[Path], tmp_path: Path) -> None:
    again = Path(shutil.copytree(runs[0], tmp_path / "again"))
    seeds, repeat = compare([runs[0], again, runs[1]], out=tmp_path / "out").groups
    assert [[run.run for run in group.runs] for group in (seeds, repeat)] == [
        [str(runs[0]), str(runs[1])],
        [str(again)],
    ]
    assert repeat.deviation["iou"] is None
    assert (seeds.label, repeat.label) == (f"small ({runs[0].name})", "small (again)")


def test_a_comparison_that_fails_leaves_nothing(runs: list[Path], tmp_path: Path) -> None:
    broken = Path(shutil.copytree(runs[0], tmp_path / "broken"))
    (broken / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"holds no weights\.safetensors"):
        compare([broken, runs[1]], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_its_data_set_a_comparison_has_no_predictions(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(runs, out=tmp_path / "out", data=tmp_path / "gone")
    assert "no predictions are drawn" in capsys.readouterr().err
    assert not (tmp_path / "out" / "predictions.png").exists()
    assert "Predictions" not in (tmp_path / "out" / "compare.md").read_text()


def test_an_item_that_a_training_left_out_is_not_drawn(tmp_path: Path) -> None:
    data = write_scenes(tmp_path / "data", plates=20)
    recipe = SMALL.model_copy(update={"on_bad_item": "skip"})
    folder = ModestFolder(data)
    bad = int(preview_items(split_items(folder, recipe.split), 1)[0])
    with broken_file(data / "bg_fg" / f"{folder.name(bad)}.png"):
        run = Path(train(recipe, data, run=tmp_path / "run").run)
        compare([run], out=tmp_path / "without")
    compare([run], out=tmp_path / "whole")
    without, whole = (read_rgb(tmp_path / name / "predictions.png") for name in ("without", "whole"))
    assert len(without) < len(whole)


def test_a_run_without_a_finished_epoch_is_named(runs: list[Path], tmp_path: Path) -> None:
    begun = shutil.copytree(runs[0], tmp_path / "begun")
    (begun / "metrics.csv").unlink()
    with pytest.raises(UserError, match="begun: no epoch has ended yet"):
        compare([begun], out=tmp_path / "out")


def test_networks_with_and_without_depth_stand_side_by_side(runs: list[Path], run: Path, tmp_path: Path) -> None:
    comparison = compare([run, runs[2]], out=tmp_path / "out")
    assert comparison.groups[1].mean["rmse"] is None
    assert any("scored at different sizes (32x32, 64x64)" in note for note in comparison.notes)


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_that_make_no_sense_are_refused(scenes: Path, tmp_path: Path, seeds: list[int]) -> None:
    with pytest.raises(UserError, match="give each seed once"):
        train_seeds(SMALL, scenes, seeds, run=tmp_path / "run")


def test_no_seed_is_trained_when_one_of_the_folders_is_taken(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "run-seed-2").mkdir()
    (tmp_path / "run-seed-2" / "precious").write_text("x")
    with pytest.raises(UserError, match="run-seed-2: exists already"):
        train_seeds(SMALL, scenes, [1, 2], run=tmp_path / "run")
    assert not (tmp_path / "run-seed-1").exists()
