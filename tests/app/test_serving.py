"""`cleanplate app` as a command: what it prints, and how it ends."""

import json
import signal
import socket
from pathlib import Path

import httpx2 as httpx
import pytest
from app_process import Served

from cleanplate.cli import main


def fault(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return the one line of a command that ends with a fault of the user's."""
    with pytest.raises(SystemExit) as stop:
        main(["app", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1), err
    return err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_address_is_told_and_a_signal_ends_it_cleanly(number: int, code: int, run: Path) -> None:
    app = Served("--weights", run, "--port", "0", "--json")
    told = json.loads(app.told)
    assert told["url"].startswith("http://127.0.0.1:")
    assert httpx.get(f"{told['url']}/healthz").json() == {"status": "ok"}
    assert httpx.get(told["api"]).json()["info"]["title"] == "cleanplate"
    assert app.stop(number) == (code, "cleanplate: stopped\n")


def test_port_in_use_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = fault(capsys, "--weights", run, "--port", str(port))
    assert line == f"cleanplate: --port {port}: in use already; give another, or 0 for a free one\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--port", "65536"], "--port 65536: give 1 to 65535, or 0"),
        (["--host", "no such host"], "--host no such host: no such address"),
        (["--host", "192.0.2.1", "--port", "0"], "--host 192.0.2.1: no address of this machine"),
        (["--port", "0", "--size", "33"], "size: 33 is not a multiple of 32"),
    ],
)
def test_faulty_setting_is_one_line(
    arguments: list[str], text: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert text in fault(capsys, "--weights", run, *arguments)


def test_missing_weights_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such weights" in fault(capsys, "--weights", tmp_path / "nowhere", "--port", "0")
