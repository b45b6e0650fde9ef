"""The commands that make, check and measure data sets."""

import json
import signal
from pathlib import Path

import pytest
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


def rendered_until(number: int, out: Path, *, alone: bool = False) -> tuple[int, str, str]:
    """Start to render rooms into `out`, send a signal once there are frames, and return how it ended."""
    return interrupt_when(
        ["data", "museum", out, "--rooms", "5000", "--workers", "2"],
        lambda: any(out.parent.glob(".museum.partial-*/bg_fg/*")),
        number,
        alone=alone,
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_while_rendering_leaves_nothing(number: int, code: int, tmp_path: Path) -> None:
    assert rendered_until(number, tmp_path / "museum") == (code, "", "cleanplate: stopped\n")
    assert list(tmp_path.iterdir()) == []


def test_sigterm_to_one_process_ends_all(tmp_path: Path) -> None:
    assert rendered_until(signal.SIGTERM, tmp_path / "museum", alone=True)[0] == 143
    assert list(tmp_path.iterdir()) == []


def test_nothing_goes_on_when_rendering_is_killed(tmp_path: Path) -> None:
    code, _, _ = rendered_until(signal.SIGKILL, tmp_path / "museum", alone=True)  # waits for all that could write
    assert code == -signal.SIGKILL
    assert not (tmp_path / "museum").exists()
