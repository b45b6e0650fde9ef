"""The commands that score a network and put it to use."""

from pathlib import Path

from commands import FAST, Call, answer, fault


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
