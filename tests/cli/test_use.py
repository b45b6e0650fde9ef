"""The commands that score a network and put it to use."""

from pathlib import Path

from commands import FAST, Call, answer, fault
from shots import write_footage


def test_train_evaluate_and_predict_answer_in_json(scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    run = tmp_path / "run"
    trained = answer(cleanplate("train", "quick", "--data", scenes, "--run", run, *FAST, "--json"))
    assert {"run", "epochs", "best", "seconds", "items_per_second"} <= trained.keys()
    assert trained["run"] == str(run)
    assert trained["epochs"] == trained["best"]["epoch"] == 1

    again = answer(cleanplate("train", "--resume", run, "--json"))
    assert again["best"] == trained["best"]

    evaluation = answer(cleanplate("evaluate", "--weights", run, "--data", scenes, "--json"))
    assert {"items", "metrics", "parts", "references"} <= evaluation.keys()
    assert evaluation["metrics"].keys() >= {"iou", "soft_iou", "false_positive_share", "rmse", "abs_rel", "delta_1.25"}
    assert evaluation["metrics"]["rmse"] is None  # a masknet
    assert evaluation["references"].keys() == {"difference", "mean_depth"}

    plate = sorted((scenes / "bg").iterdir())[0]
    frame = sorted((scenes / "bg_fg").iterdir())[0]
    predicted = answer(
        cleanplate("predict", "--weights", run, "--plate", plate, frame, "--out", tmp_path / "out", "--json")
    )
    assert predicted["frames"] == 1
    assert all(Path(file).exists() for file in predicted["files"])


def test_prediction_into_what_is_a_file_is_one_line(run: Path, scenes: Path, tmp_path: Path, cleanplate: Call) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    plate = sorted((scenes / "bg").iterdir())[0]
    for out in (taken, taken / "below"):
        line = fault(cleanplate("predict", "--weights", run, "--plate", plate, plate, "--out", out))
        assert str(taken) in line
        assert "choose another place" in line


def test_footage_is_scored_alone_and_beside_a_data_set(
    run: Path, scenes: Path, tmp_path: Path, cleanplate: Call
) -> None:
    sequences = [write_footage(tmp_path / name) for name in ("lawn", "hall")]
    given = ["--footage", *sequences, "--out", tmp_path / "out"]
    alone = answer(cleanplate("evaluate", "--weights", run, *given, "--json"))
    assert alone["sequences"].keys() == {"lawn", "hall"}
    for row in alone["sequences"].values():
        assert {"iou", "f_measure", "precision", "recall"} <= row.keys()
    assert alone["references"].keys() == {"difference", "mog2", "knn"}
    assert all("iou" in rows[name] for rows in alone["references"].values() for name in ("lawn", "hall"))

    both = answer(cleanplate("evaluate", "--weights", run, "--data", scenes, *given, "--json"))
    assert both["sequences"] == alone["sequences"]
    assert both["metrics"]["ssim"] is not None
    assert both["references"]["difference"].keys() >= {"iou", "lawn", "hall"}
    assert both["references"].keys() == {"difference", "mean_depth", "mog2", "knn"}

    code, out, _ = cleanplate("evaluate", "--weights", run, "--data", scenes, *given)
    assert code == 0
    assert "(mean depth)" in out
    assert "hall" in out


def test_faults_of_data_and_footage_are_told_before_either_is_scored(
    run: Path, scenes: Path, tmp_path: Path, cleanplate: Call
) -> None:
    lawn, none = write_footage(tmp_path / "lawn", plate=False), tmp_path / "none"
    command = ("evaluate", "--weights", run, "--out", tmp_path / "out")
    for data, footage in ((none, lawn), (scenes, none)):
        assert str(none) in fault(cleanplate(*command, "--data", data, "--footage", footage))
    assert "--native: is for --data" in fault(cleanplate(*command, "--footage", lawn, "--native"))
    assert "size: 0 is not a multiple of 32" in fault(cleanplate(*command, "--footage", lawn, "--size", "0"))
    assert not (lawn / "plate.png").exists()
    assert not (tmp_path / "out").exists()


def test_evaluation_of_nothing_is_one_line(run: Path, cleanplate: Call) -> None:
    assert "give --data, a data set folder, or --footage" in fault(cleanplate("evaluate", "--weights", run))
    assert fault(cleanplate("evaluate", "--weights", run, "lawn")).startswith("lawn: what is it? give --footage before")
