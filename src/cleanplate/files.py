"""Files and folders that appear whole or not at all."""

import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from zipfile import ZipFile, is_zipfile

from cleanplate.errors import UserError

PARTIAL = ".partial"
MAX_BYTES = 2**30
"""No file is read that is larger: of those we read, none should be."""


def write_bytes(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file whole: under a temporary name, then renamed.

    Args:
        path: the file.
        content: all of it.
        durable: return only when it is on the disk, where even a loss of power leaves it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")  # no two processes write to one
    try:
        with partial.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
        if durable:
            _sync_folder(path.parent)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            error.filename = str(path)  # a full disk comes without the name, and nobody knows the partial one
        raise


def _sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    if os.name == "posix":
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_text(path: Path, content: str, *, durable: bool = False) -> None:
    """Write a text file whole, as UTF-8; `durable` as `write_bytes` has it."""
    write_bytes(path, content.encode(), durable=durable)


def remove_partial_files(folder: Path) -> None:
    """Remove what was being written when a process was killed."""
    for path in folder.rglob(f".*{PARTIAL}"):
        path.unlink()


def require_file(path: Path, missing: str, max_bytes: int = MAX_BYTES) -> Path:
    """Return `path`, or tell the user that it is `missing`, no file (a pipe would be waited for) or too large."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UserError(f"{path}: {missing}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: cannot be read (not a file); give a file")
    if status.st_size > max_bytes:
        size = f"{status.st_size:,} bytes, and at most {max_bytes:,} are read"
        raise UserError(f"{path}: takes {size}; give a smaller file")
    return path


def read_file(path: Path, missing: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a file.

    Raises:
        UserError: as `require_file`, or the file cannot be read.
    """
    try:
        return require_file(path, missing, max_bytes).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def is_compressed(path: Path) -> bool:
    """Tell a zip that unfolds when it is read, a megabyte to a gigabyte; what torch and numpy write does not."""
    return is_zipfile(path) and any(member.compress_type for member in ZipFile(path).infolist())


def require_folder(path: Path | str, what: str = "folder") -> Path:
    """Return `path` as a Path, or tell the user that there is no such folder."""
    path = Path(path) if isinstance(path, str) else path
    if not path.is_dir():
        found = "is a file, not a folder" if path.exists() else "does not exist"
        raise UserError(f"{path}: this {what} {found}; give the path of a folder that does")
    return path


def require_vacant(path: Path) -> None:
    """Refuse to write over a folder that holds something, or one that cannot be replaced."""
    if not path.name:
        raise UserError(f"{path}: the folder that one works in cannot be replaced; give the name of a new one")
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
    # In containers the next process may have the number of one that was killed.
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    partial.mkdir()
    try:
        yield partial
        partial.replace(path)
    except BaseException:  # Ctrl-C too: nothing half-made stays
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def alone_in(folder: Path, before_waiting: Callable[[], None]) -> Iterator[None]:
    """Keep other processes from working in a folder, where the file system can: they wait."""
    with (folder / ".lock").open("w") as file:
        with suppress(OSError):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                before_waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
