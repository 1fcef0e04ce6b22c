"""Files that are replaced whole or not at all, on a real disk."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nima.safe_io.files import AtomicFile, atomic_file, write_atomically

WRITES_HALF_AND_WAITS = """
import sys, time
from pathlib import Path
from nima.safe_io.files import atomic_file
with atomic_file(Path(sys.argv[1])) as file:
    file.write(b"half of the new")
    file.flush()
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    return path


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_the_old_file_is_there_until_the_new_one_is_complete(path: Path) -> None:
    with atomic_file(path) as file:
        file.write(b"n")
        file.flush()
        assert path.read_bytes() == b"old"
        file.write(b"ew")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(path: Path, error: type[BaseException]) -> None:
    def write() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_is_an_oserror_and_leaves_nothing(path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    program = (
        "import resource, signal, sys; from pathlib import Path; from nima.safe_io.files import write_atomically\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: write_atomically(Path(sys.argv[1]), bytes(20_000))\n"
        "except OSError as error: print(error.strerror)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file(path: Path) -> None:
    command = [sys.executable, "-c", WRITES_HALF_AND_WAITS, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    (left,) = (name for name in os.listdir(path.parent) if name != "file")
    assert left.startswith(".file.")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.usefixtures("umask")
def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new", b"")
    assert permissions(tmp_path / "new") == 0o640


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mode", [0o600, 0o444, 0o775])
def test_a_file_that_is_replaced_keeps_its_permissions(path: Path, mode: int) -> None:
    path.chmod(mode)
    write_atomically(path, b"new")
    assert permissions(path) == mode


@pytest.mark.usefixtures("umask")
def test_permissions_that_are_named_hold_from_the_beginning(path: Path) -> None:
    with atomic_file(path, mode=0o600):
        assert {permissions(file) for file in path.parent.iterdir() if file != path} == {0o600}
    assert permissions(path) == 0o600
    write_atomically(path, b"", mode=0o755)
    assert permissions(path) == 0o755


def test_a_symbolic_link_is_replaced_and_its_target_is_not_touched(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    write_atomically(link, b"new")
    assert not link.is_symlink()
    assert (link.read_bytes(), path.read_bytes()) == (b"new", b"old")


def test_a_folder_is_not_replaced_and_one_that_is_missing_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "folder", b"")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "file", b"")


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
def test_the_longest_name_is_not_too_long(tmp_path: Path, letter: str) -> None:
    path = tmp_path / (letter * (255 // len(letter.encode())))
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_file_is_kept_once_and_discarded_as_often_as_one_likes(path: Path) -> None:
    replacement = AtomicFile(path)
    replacement.file.write(b"new")
    replacement.keep()
    replacement.discard()
    replacement.discard()
    assert path.read_bytes() == b"new"


def test_two_writers_of_one_file_do_not_meet(path: Path) -> None:
    with atomic_file(path) as one:
        one.write(b"first to begin, last to end")
        write_atomically(path, b"in between")
    assert path.read_bytes() == b"first to begin, last to end"
    assert list(path.parent.iterdir()) == [path]
