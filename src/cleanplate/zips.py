"""Files within a zip, read where they lie: nothing is unpacked, and the index of a million takes some 20 MB.

Python's own `zipfile` keeps an object for each member, a gigabyte for a million of them.
"""

import io
import mmap
import os
import stat
import struct
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from cleanplate.errors import UserError

MAX_MEMBERS = 10_000_000
MAX_MEMBER_BYTES = 2**28
"""No file within a zip is read that is larger: of those we read, none should be."""
LONGEST_NAME = 1000

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_MEMBER = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8


class _Member(NamedTuple):
    """What the zip's directory says of a member."""

    name: bytes
    mode: int
    flags: int
    method: int
    crc: int
    packed_size: int
    size: int
    at: int
    """Where it begins."""


class _Archive:
    """A zip with the places of its members: a hash of each name, sorted, and where the directory speaks of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("rb")
        self.bytes = os.fstat(self.file.fileno()).st_size
        self.folders: set[bytes] = set()
        hashes, places = array("q"), array("q")
        start, end, count = self._find_directory()
        with mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for _ in range(count):
                fields = _MEMBER.unpack_from(content, start) if start + _MEMBER.size <= end else (b"",)
                if fields[0] != b"PK\x01\x02":
                    raise self._damaged()
                name_length, extra_length, comment_length = fields[10:13]
                name = content[start + _MEMBER.size : start + _MEMBER.size + name_length]
                if name_length <= LONGEST_NAME:
                    hashes.append(hash(name))
                    places.append(start)
                    self.folders.add(name.rpartition(b"/")[0])
                start += _MEMBER.size + name_length + extra_length + comment_length
        order = np.argsort(np.frombuffer(hashes, np.int64), kind="stable")
        self.hashes, self.places = (np.frombuffer(x, np.int64)[order] for x in (hashes, places))

    def _damaged(self) -> UserError:
        return UserError(f"{self.path}: not a whole zip (truncated or damaged); copy or download it again")

    def _pread(self, count: int, at: int) -> bytes:
        if not 0 <= at <= at + count <= self.bytes:
            raise self._damaged()
        content = os.pread(self.file.fileno(), count, at)
        if len(content) != count:
            raise self._damaged()
        return content

    def _find_directory(self) -> tuple[int, int, int]:
        """Return where the directory begins and ends, and how many members it lists."""
        tail_at = max(0, self.bytes - _END.size - 0xFFFF)
        tail = self._pread(self.bytes - tail_at, tail_at)
        found = tail.rfind(b"PK\x05\x06")
        if found < 0 or found + _END.size > len(tail):
            raise self._damaged()
        *_, count, size, start, _ = _END.unpack_from(tail, found)
        if count == 0xFFFF or 0xFFFFFFFF in (size, start):
            locator_at = tail_at + found - _LOCATOR64.size
            signature, _, at, _ = _LOCATOR64.unpack(self._pread(_LOCATOR64.size, locator_at))
            if signature == b"PK\x06\x07":
                *_, count, size, start = _END64.unpack(self._pread(_END64.size, at))
        if start + size > self.bytes or count > min(MAX_MEMBERS, size // _MEMBER.size):
            raise self._damaged()
        return start, start + size, count

    def find(self, name: bytes) -> _Member | None:
        """Return the member of a name; the last where there are several, as other programs do."""
        low, high = np.searchsorted(self.hashes, hash(name), "left"), np.searchsorted(self.hashes, hash(name), "right")
        for place in self.places[low:high][::-1].tolist():
            member = self._read_member(place)
            if member.name == name:
                return member
        return None

    def _read_member(self, place: int) -> _Member:
        fields = _MEMBER.unpack(self._pread(_MEMBER.size, place))
        _, _, _, flags, method, _, _, crc, packed_size, size = fields[:10]
        name_length, extra_length, *_, attributes, at = fields[10:]
        variable = self._pread(name_length + extra_length, place + _MEMBER.size)
        large = _zip64_values(variable[name_length:])
        size, packed_size, at = (next(large, 0) if value == 0xFFFFFFFF else value for value in (size, packed_size, at))
        mode = attributes >> 16
        if not stat.S_IFMT(mode):  # as programs for Windows leave it
            mode |= stat.S_IFREG
        return _Member(variable[:name_length], mode, flags, method, crc, packed_size, size, at)

    def read(self, member: _Member) -> bytes:
        """Return what a member holds.

        Raises:
            UserError: it is too large, encrypted, packed in a way we do not know, or damaged.
        """
        path = f"{self.path}/{member.name.decode(errors='replace')}"
        if member.size > MAX_MEMBER_BYTES or member.packed_size > MAX_MEMBER_BYTES:
            raise UserError(f"{path}: takes {member.size:,} bytes, and at most {MAX_MEMBER_BYTES:,} are read")
        if member.flags & 1 or member.method not in (_STORED, _DEFLATED):
            raise UserError(f"{path}: is encrypted or compressed in an unusual way; make the zip anew, without")
        signature, *_, name_length, extra_length = _LOCAL.unpack(self._pread(_LOCAL.size, member.at))
        packed = self._pread(member.packed_size, member.at + _LOCAL.size + name_length + extra_length)
        try:
            content = packed if member.method == _STORED else _inflate(packed, member.size)
        except zlib.error:
            content = b""
        if signature != b"PK\x03\x04" or len(content) != member.size or zlib.crc32(content) != member.crc:
            raise UserError(f"{path}: is damaged within the zip; copy or download the zip again")
        return content


def _zip64_values(extra: bytes) -> Iterator[int]:
    """Yield the sizes and places that are too large for their own fields."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            yield from (value for (value,) in struct.iter_unpack("<Q", extra[at + 4 : at + 4 + length // 8 * 8]))
        at += 4 + length


def _inflate(packed: bytes, size: int) -> bytes:
    """Return what deflated bytes hold, of which no more is unfolded than they should hold."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)


class ZipPath:
    """A file or folder within a zip, with as much of `pathlib.Path` as reading takes.

    Names are looked up and never become paths on the disk, so none can leave the zip; a member that is a link is no
    file.
    """

    def __init__(self, archive: _Archive, inner: str) -> None:
        self._archive, self._inner = archive, inner

    @classmethod
    def find_folder_of(cls, path: Path, name: str) -> Path:
        """Return the folder of a zip that holds a file, the one of fewest names in its path; it reads as a Path.

        Raises:
            UserError: it is no whole zip, or no folder of it holds such a file.
        """
        archive = _Archive(path)
        folders = sorted(archive.folders, key=lambda folder: (len(folder) > 0, folder.count(b"/"), folder))
        for folder in folders:
            top = cls(archive, folder.decode(errors="replace"))
            if (top / name).exists():
                return cast(Path, top)
        raise UserError(f"{path}: holds no {name}; give the zip of a data set folder")

    def __str__(self) -> str:
        return f"{self._archive.path}/{self._inner}".rstrip("/")

    def __hash__(self) -> int:
        return hash((self._archive.path, self._inner))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZipPath) and (self._archive, self._inner) == (other._archive, other._inner)

    def __truediv__(self, name: str) -> "ZipPath":
        return ZipPath(self._archive, f"{self._inner}/{name}".lstrip("/"))

    @property
    def name(self) -> str:
        """The last part of it; the zip's own name, without extension, at the top."""
        return self._inner.rpartition("/")[2] or self._archive.path.stem

    def resolve(self) -> "ZipPath":
        """Return it as it is."""
        return self

    def _member(self) -> _Member:
        if member := self._archive.find(self._inner.encode()):
            return member
        raise FileNotFoundError(2, "No such file in the zip", str(self))

    def exists(self) -> bool:
        """Tell whether there is such a file."""
        return self._archive.find(self._inner.encode()) is not None

    def is_dir(self) -> bool:
        """Tell whether files lie right in it."""
        return self._inner.encode() in self._archive.folders

    def stat(self) -> os.stat_result:
        """Return its size and its kind."""
        if self.is_dir():
            return os.stat_result((stat.S_IFDIR, *[0] * 9))
        member = self._member()
        return os.stat_result((member.mode, 0, 0, 1, 0, 0, member.size, 0, 0, 0))

    def read_bytes(self) -> bytes:
        """Return what it holds."""
        return self._archive.read(self._member())

    def open(self, mode: str = "r", *, encoding: str | None = None, newline: str | None = None) -> IO:
        """Return what it holds as an open file."""
        content = io.BytesIO(self.read_bytes())
        return content if "b" in mode else io.TextIOWrapper(content, encoding, newline=newline)
