from pathlib import Path

import pytest
from commands import Call

from cleanplate.cli import main


@pytest.fixture
def cleanplate(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process; returns exit code, standard output and standard error."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, out, err

    return call
