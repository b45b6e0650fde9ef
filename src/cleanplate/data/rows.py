"""Rows of `.npy` files, read and written by position.

numpy maps such files as well; but pages of a map count as the memory of the process, and a disk that fails would end it
without a word.
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cleanplate.errors import UserError

PACK_AGAIN = "pack again with `cleanplate data pack`"


class Rows:
    """The rows of a `.npy` file.

    Args:
        path: the file.
        dtype: of its values, little-endian.
        shape: of all its rows.
        create: make it, all zeros, or take the one that is there; else only read.

    Raises:
        UserError: the file is missing, or is not of this type and shape.
    """

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...], *, create: bool = False) -> None:
        self.path, self.dtype, self.shape = path, dtype, shape
        self.row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:]))
        description = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
        self.start = -(-(len(description) + 11) // 64) * 64  # as numpy has it
        header = b"\x93NUMPY\x01\x00" + struct.pack("<H", self.start - 10) + description.ljust(self.start - 11) + b"\n"
        try:
            if create and not path.exists():
                path.write_bytes(header)
                os.truncate(path, self.start + self.row_bytes * shape[0])
            self.file = path.open("r+b" if create else "rb", buffering=0)
            is_whole = path.stat().st_size == self.start + self.row_bytes * shape[0]
        except FileNotFoundError:
            raise UserError(f"{path}: missing; {PACK_AGAIN}") from None
        if not is_whole or os.pread(self.file.fileno(), self.start, 0) != header:
            raise self._damaged()

    def __reduce__(self) -> tuple:
        return Rows, (self.path, self.dtype, self.shape)

    def _damaged(self) -> UserError:
        return UserError(f"{self.path}: damaged, not of the size or kind that was packed; {PACK_AGAIN}")

    def take(self, rows: Sequence[int]) -> np.ndarray:
        """Return rows, `(len(rows), ...)`.

        Raises:
            UserError: they cannot be read.
        """
        taken = np.empty((len(rows), *self.shape[1:]), self.dtype)
        number = self.file.fileno()
        try:
            for place, row in enumerate(rows):
                if os.preadv(number, [taken[place]], self.start + row * self.row_bytes) != self.row_bytes:
                    raise self._damaged()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror}); {PACK_AGAIN}") from None
        return taken

    def put(self, row: int, values: np.ndarray) -> None:
        """Write a row."""
        content = np.ascontiguousarray(values, self.dtype).tobytes()
        at = self.start + row * self.row_bytes
        try:
            while content:  # a disk that fills up takes a part first
                written = os.pwrite(self.file.fileno(), content, at)
                content, at = content[written:], at + written
        except OSError as error:
            error.filename = str(self.path)
            raise
