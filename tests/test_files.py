import os
import subprocess
import sys
from pathlib import Path

import pytest

from cleanplate.errors import UserError
from cleanplate.files import MAX_BYTES, read_file, require_folder, require_vacant, whole_folder, write_bytes, write_text

FULL_DISK = """
import resource, sys
from pathlib import Path
from cleanplate.files import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path(sys.argv[1]), b"new" * 1000)
except OSError:
    sys.exit(7)
"""


def test_file_is_written_and_replaced(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a.bin", b"old")
    write_text(tmp_path / "a.bin", "grün")
    assert (tmp_path / "a.bin").read_text(encoding="utf-8") == "grün"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    assert subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], check=False).returncode == 7
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with whole_folder(out) as folder:
        (folder / "a.txt").write_text("a")
        assert not out.exists()
    assert (out / "a.txt").read_text() == "a"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_failure_leaves_no_folder_behind(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_folder(tmp_path / "out") as folder:
            (folder / "a.txt").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with whole_folder(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("a")
    assert (tmp_path / "out" / "a.txt").exists()


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text("kept"), lambda path: (path / "kept").mkdir(parents=True)]
)
def test_what_exists_is_refused(tmp_path: Path, make) -> None:
    make(tmp_path / "out")
    with pytest.raises(UserError, match="out: exists already"):
        require_vacant(tmp_path / "out")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    assert require_folder(str(tmp_path)) == tmp_path
    with pytest.raises(UserError, match="nowhere: this data set folder does not exist"):
        require_folder(tmp_path / "nowhere", "data set folder")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: this folder is a file, not a folder"):
        require_folder(tmp_path / "file")


def test_file_is_read_or_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert read_file(tmp_path / "a", "missing", 3) == b"abc"
    with pytest.raises(UserError, match="a: takes 3 bytes, and at most 2 are read; give a smaller file"):
        read_file(tmp_path / "a", "missing", 2)
    with pytest.raises(UserError, match="b: missing; make it"):
        read_file(tmp_path / "b", "missing; make it")
    with pytest.raises(UserError, match="a/b: cannot be read"):
        read_file(tmp_path / "a" / "b", "missing")
    with pytest.raises(UserError, match=r"cannot be read \(not a file\)"):
        read_file(tmp_path, "missing")


def test_file_too_large_for_memory_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UserError, match="a: takes 1,073,741,825 bytes"):
        read_file(tmp_path / "a", "missing")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(UserError, match=r"a: cannot be read \(not a file\); give a file"):
        read_file(tmp_path / "a", "missing")


def test_two_writers_do_not_share_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, here = tmp_path / "card.yaml", os.getpid()

    def another_writes(number: int) -> None:
        monkeypatch.setattr(os, "fsync", lambda number: None)
        monkeypatch.setattr(os, "getpid", lambda: here + 1)
        write_bytes(path, b"of another process")

    monkeypatch.setattr(os, "fsync", another_writes)
    write_bytes(path, b"whole", durable=True)
    assert path.read_bytes() == b"whole"
