"""The full states of a training, as files that are whole, verified and never run code.

A file is a line that names its kind, the SHA-256 of the rest, and the rest: a dictionary of tensors and plain values
as torch.save writes it. Files are named by the number of steps, so that their names sort by age.
"""

import io
import pickle
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO

from cleanplate.errors import UserError
from cleanplate.files import write_bytes
from cleanplate.progress import say

State = dict[str, Any]

HEAD = b"cleanplate state 1\n"
DIGEST = sha256().digest_size
PATTERN = "step-*.ckpt"


def state_file(folder: Path, steps: int) -> Path:
    """Return where the state after so many steps lies."""
    return folder / f"step-{steps:09d}.ckpt"


def write_state(path: Path, state: State) -> None:
    """Write a state: the file is there whole, and on the disk, when this returns."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_bytes(path, b"".join([HEAD, sha256(content).digest(), content]), durable=True)


def read_state(path: Path) -> State:
    """Read a state, its tensors on the CPU.

    Raises:
        UserError: the file is not what was written, to the last bit.
    """
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    start = len(HEAD) + DIGEST
    if content[: len(HEAD)] != HEAD or content[len(HEAD) : start] != sha256(content[start:]).digest():
        raise UserError(f"{path}: damaged, not the state that was written; remove it to go on from the one before")
    try:
        return torch.load(io.BytesIO(content[start:]), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(f"{path}: holds more than tensors and plain values, so it is not read") from None


def newest_state(folder: Path) -> tuple[Path, State] | None:
    """Return the newest good state, or None; a damaged one is set aside, with a note, and the one before is taken."""
    for path in sorted(folder.glob(PATTERN), reverse=True):
        try:
            return path, read_state(path)
        except UserError:
            aside = path.with_name(f"{path.name}.damaged")
            path.replace(aside)
            say(f"note: {path} is damaged, and set aside as {aside.name}; the state before it is taken")
    return None


def drop_old_states(folder: Path, *, keep: int, best: Path | None) -> None:
    """Keep the newest states, `keep` of them, and the file `best`, if there is one."""
    for path in sorted(folder.glob(PATTERN))[:-keep]:
        if path != best:
            path.unlink()


class StateFiles(CheckpointIO):
    """How Lightning reads and writes states."""

    def save_checkpoint(self, checkpoint: State, path: Any, storage_options: Any = None) -> None:
        """Write a state."""
        write_state(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> State:
        """Read a state; no code in it is ever run, whatever is asked for."""
        return read_state(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a state."""
        Path(path).unlink(missing_ok=True)
