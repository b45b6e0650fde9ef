"""Open what `--data` names."""

from pathlib import Path

from cleanplate.data.modest import ModestFolder
from cleanplate.data.source import DataSet


def open_data(path: Path | str) -> DataSet:
    """Open a data set.

    Raises:
        UserError: as `ModestFolder` does.
    """
    return ModestFolder(path)
