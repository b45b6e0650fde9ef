"""Files and folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cleanplate.errors import UserError

PARTIAL = ".partial"


def write_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file whole: under a temporary name, then renamed.

    Args:
        path: the file.
        content: all of it.
        durable: return only when it is on the disk, where even a loss of power leaves it.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            error.filename = str(path)  # a full disk comes without the name, and nobody knows the partial one
        raise


def write_text(path: Path, content: str) -> None:
    """Write a text file whole, as UTF-8."""
    write_bytes(path, content.encode())


def remove_partial_files(folder: Path) -> None:
    """Remove what was being written when a process was killed."""
    for path in folder.rglob(f".*{PARTIAL}"):
        path.unlink()


def require_folder(path: Path | str, what: str = "folder") -> Path:
    """Return `path` as a Path, or tell the user that there is no such folder."""
    path = Path(path)
    if not path.is_dir():
        found = "is a file, not a folder" if path.exists() else "does not exist"
        raise UserError(f"{path}: this {what} {found}; give the path of a folder that does")
    return path


def require_vacant(path: Path) -> None:
    """Refuse to write over a folder that holds something."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: exists already; choose another name or remove it first")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well, and is removed when it does not.

    Raises:
        UserError: `path` exists and is not an empty folder.
    """
    require_vacant(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.mkdir()
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
