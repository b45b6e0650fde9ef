"""Open what `--data` names."""

from pathlib import Path

from cleanplate.data.modest import ModestFolder
from cleanplate.data.pack import PackedFolder
from cleanplate.data.source import DataSet
from cleanplate.errors import UserError


def open_data(path: Path | str, *, packed: bool = True) -> DataSet:
    """Open a data set folder.

    Args:
        path: the folder.
        packed: read batches from its packs, where it has them.

    Raises:
        UserError: as `PackedFolder` does; or it is a zip, which is to be packed first.
    """
    if Path(path).suffix == ".zip" and Path(path).is_file():
        raise UserError(f"{path}: is a zip; `cleanplate data pack {path} OUT` makes of it a folder to train on")
    return PackedFolder(path) if packed else ModestFolder(path)
