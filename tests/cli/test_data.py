"""The commands that make, check and measure data sets."""

import json
from pathlib import Path

from commands import Call, answer, fault, interrupt_when, process


def test_data_commands_answer_in_json(plates: Path, cutouts: Path, tmp_path: Path, cleanplate: Call) -> None:
    out = tmp_path / "composed"
    made = answer(
        cleanplate(
            *("data", "compose", "--plates", plates, "--cutouts", cutouts, out),
            *("--places", "1", "--size", "32", "--workers", "1", "--json"),
        )
    )
    assert made["items"] == 24
    checked = answer(cleanplate("data", "check", out, "--json"))
    assert checked["items"] == 24
    assert checked["faults"] == []
    answer(cleanplate("data", "stats", out, "--json"))


def test_check_with_faults_names_them_and_exits_with_2(own_dataset: Path, cleanplate: Call) -> None:
    broken = sorted((own_dataset / "bg_fg").iterdir())[0]
    broken.write_bytes(b"text")
    code, out, _ = cleanplate("data", "check", own_dataset, "--json")
    assert code == 2
    assert [fault["file"].endswith(broken.name) for fault in json.loads(out)["faults"]] == [True]


def test_full_disk_while_making_data_is_one_line_and_leaves_nothing(
    plates: Path, cutouts: Path, tmp_path: Path
) -> None:
    composing = process(
        *("data", "compose", "--plates", plates, "--cutouts", cutouts, tmp_path / "composed"),
        *("--places", "1", "--workers", "1"),
        limit=2_000,
    )
    assert "File too large; raise the limit on file sizes" in fault(composing)
    rendering = process("data", "museum", tmp_path / "museum", "--rooms", "2", "--size", "64", limit=1_000)
    assert "File too large" in fault(rendering)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_rendering_leaves_nothing(tmp_path: Path) -> None:
    ending = interrupt_when(
        ["data", "museum", tmp_path / "museum", "--rooms", "500", "--workers", "2"],
        lambda: any(tmp_path.glob(".museum.partial-*/bg_fg/*")),
    )
    assert ending == (130, "", "cleanplate: stopped\n")
    assert list(tmp_path.iterdir()) == []
