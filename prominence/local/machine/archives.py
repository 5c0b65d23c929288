"""Unpacking what a job names as its artifacts, which may be anybody's work.

An archive is refused as a whole when something in it is meant to lie elsewhere, or is neither a file, a
directory nor a link that stays inside; and when it takes more than the room that the job asked for.
"""

from __future__ import annotations

import bz2
import gzip
import os
import stat
import tarfile
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from prominence.copying import copied

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TARS: Final = (".tar", ".tgz", ".tar.gz", ".tar.bz2")
_BLOCK_BYTES: Final = 4096  # what a directory or an empty file takes on a disk, about
_PIECE_BYTES: Final = 256 * 1024


class RefusedArchive(Exception):
    """An archive that is not unpacked; the text says why."""


class NoRoom(Exception):
    """More is to be stored than the job asked for as its disk."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _go_on() -> None:
    """Nothing keeps an unpacking from going on, unless somebody says so."""


class Room:
    """What is left of a job's disk, in bytes.

    ``check`` is called whenever some of it is taken, and may raise to end a long download or unpacking.
    """

    def __init__(self, size: int, check: Callable[[], None] = _go_on) -> None:
        self._size = size
        self._left = size
        self._check = check

    def take(self, size: int) -> None:
        self._check()
        self._left -= size
        if self._left < 0:
            raise NoRoom(f"it takes more than the {self._size / 10**9:g} GB of disk that the job asked for")

    def take_entry(self, size: int) -> None:
        """Make room for a file of ``size`` bytes, or for something that has no size but is stored."""
        self.take(-(-max(size, 1) // _BLOCK_BYTES) * _BLOCK_BYTES)

    def copy(self, source: Readable, target: Path) -> None:
        """Write a new file with all that ``source`` gives, as long as there is room."""
        with target.open("xb") as file:
            while piece := source.read(_PIECE_BYTES):
                self.take(len(piece))
                file.write(piece)

    def copy_file(self, source: BinaryIO, target: Path) -> None:
        """The same with a file of this machine, if there is room for all of it."""
        self.take(os.fstat(source.fileno()).st_size)
        with target.open("xb") as file:
            for _ in copied(source.fileno(), file.fileno()):
                self._check()


def is_archive(name: str) -> bool:
    return name.endswith((*_TARS, ".zip", ".gz", ".bz2"))


def unpack(archive: Path, into: Path, room: Room) -> None:
    """Unpack an archive, told by its name, into a directory.

    Raises RefusedArchive, NoRoom, or OSError where the disk is in the way. What was unpacked before stays.
    """
    try:
        if archive.name.endswith(_TARS):
            _unpack_tar(archive, into, room)
        elif archive.name.endswith(".zip"):
            _unpack_zip(archive, into, room)
        else:
            _decompress(archive, into, room)
    except RecursionError as error:
        raise RefusedArchive("a path in it has too many parts") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise RefusedArchive(str(error)) from error


def _unpack_tar(archive: Path, into: Path, room: Room) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            _check_path(member.name)
            room.take_entry(member.size if member.isfile() else 0)
            tar.extract(member, into, filter="data")


def _unpack_zip(archive: Path, into: Path, room: Room) -> None:
    with zipfile.ZipFile(archive) as contents:
        for member in contents.infolist():
            _check_path(member.filename)
            mode = member.external_attr >> 16
            if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise RefusedArchive(f"{member.filename} is neither a file nor a directory")
            room.take_entry(member.file_size)
            path = contents.extract(member, into)
            if not member.is_dir() and mode & stat.S_IXUSR:
                (into / path).chmod(0o755)


def _decompress(archive: Path, into: Path, room: Room) -> None:
    target = into / archive.stem
    target.unlink(missing_ok=True)
    decompressed = gzip.open if archive.suffix == ".gz" else bz2.open
    try:
        with decompressed(archive) as source:
            room.copy(source, target)
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile) or error.errno is None:  # bz2 has no error of its own
            raise RefusedArchive(str(error)) from error
        raise


def _check_path(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise RefusedArchive(f"{name} would lie outside")
