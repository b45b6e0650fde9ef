"""Disks with little room, and such as fill up."""

import errno
import os
from collections import namedtuple

import pytest

Usage = namedtuple("Usage", "free")


def fill_up(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the disk be full after so many rows, the last of them written by half."""
    written = []

    def pwrite(number: int, content: bytes, at: int) -> int:
        written.append(1)
        if len(written) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os_pwrite(number, content[: len(content) // 2] if len(written) == after else content, at)

    os_pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", pwrite)
