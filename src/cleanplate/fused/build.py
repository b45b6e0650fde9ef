"""Compile the kernels for this processor, once, with the machine's own C compiler."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SOURCES = ("kernels.c", "kernels.inc", "winograd.inc")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-Wno-psabi")
SECONDS = 120
"""A compiler that takes longer is given up; it takes two to six."""


@cache
def load_kernels() -> ctypes.CDLL | None:
    """Return the compiled kernels, or None where there is no compiler that can make them.

    They are kept in the user's cache folder, under a name that follows from source, compiler and processor.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if not compiler or not sys.platform.startswith("linux"):
        return None
    import torch  # noqa: F401  (its OpenMP is to be loaded first: with one of their own the threads would be in the way)

    folder = Path(__file__).parent
    try:
        path = _cache() / f"kernels-{_key(compiler, folder)}.so"
        if not path.exists():
            _compile(compiler, folder / SOURCES[0], path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None


def _key(compiler: str, folder: Path) -> str:
    """Return what changes with source, flags, compiler and processor."""
    asked = (compiler, *FLAGS[:2], "-dM", "-E", "-x", "c", os.devnull)  # all that the compiler defines by itself
    defined = subprocess.run(asked, capture_output=True, check=True, timeout=SECONDS).stdout
    sources = b"".join((folder / name).read_bytes() for name in SOURCES)
    return hashlib.sha256(b"\0".join([defined, sources, " ".join(FLAGS).encode()])).hexdigest()[:16]


def _compile(compiler: str, source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        command = (compiler, *FLAGS, str(source), "-o", str(made), "-lm")
        subprocess.run(command, capture_output=True, check=True, timeout=SECONDS)
        made.replace(path)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cleanplate"
