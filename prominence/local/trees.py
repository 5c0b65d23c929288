"""Directories of any depth: their size, what is in them, and the end of them.

Jobs make trees that are deeper than functions of the standard library can follow, and whose paths are
longer than the system takes.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def bytes_below(directory: Path) -> int:
    """The size of all files in a directory and below it; what cannot be looked at does not count."""
    total, left = 0, [str(directory)]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        left.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # it vanished meanwhile, or its path is too long
    return total


def with_contents(path: Path) -> Iterator[Path]:
    """A path and all below it, directories before what is in them; links are not followed."""
    left = [path]
    while left:
        each = left.pop()
        yield each
        if each.is_dir() and not each.is_symlink():
            try:
                left += sorted(each.iterdir(), reverse=True)
            except FileNotFoundError:
                continue


def remove_tree(top: Path) -> None:
    """Remove a directory and all below it; it is no error where there is none.

    What cannot be removed is left, the rest is not; then the first OSError is raised.
    """
    try:
        removal = _Removal(top)
    except FileNotFoundError:
        return
    removal.empty()
    if removal.failures:
        raise removal.failures[0]
    top.rmdir()


class _Removal:
    """Goes through a tree with one directory open at a time, and comes back by ``..``."""

    def __init__(self, top: Path) -> None:
        self.failures: list[OSError] = []
        self._top = top
        self._here = _open(os.fspath(top), None)
        self._way: list[_Level] = []

    def empty(self) -> None:
        try:
            self._remove_files("")
            while self._way:
                if directories := self._way[-1].directories:
                    self._go_into(directories.pop())
                else:
                    self._go_back()
        finally:
            os.close(self._here)

    def _remove_files(self, name: str) -> None:
        """Remove all in the present directory but its directories, which are the next to be emptied."""
        level = _Level(name, _identity(self._here))
        self._way.append(level)
        with os.scandir(self._here) as entries:
            found = list(entries)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                level.directories.append(entry.name)
            else:
                with self._noting_failures():
                    os.unlink(entry.name, dir_fd=self._here)

    def _go_into(self, name: str) -> None:
        with self._noting_failures():
            below = _open(name, self._here)
            os.close(self._here)
            self._here = below
            self._remove_files(name)

    def _go_back(self) -> None:
        left = self._way.pop()
        if not self._way:
            return
        above = os.open("..", _OPEN_DIRECTORY, dir_fd=self._here)
        os.close(self._here)
        self._here = above
        if _identity(above) != self._way[-1].identity:
            raise OSError(f"{self._top} was changed while it was removed")
        with self._noting_failures():
            os.rmdir(left.name, dir_fd=above)

    @contextmanager
    def _noting_failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failures.append(error)


@dataclass(frozen=True, slots=True)
class _Level:
    """A directory between the top and the present one; ``directories`` in it are still to be removed."""

    name: str
    identity: tuple[int, int]
    directories: list[str] = field(default_factory=list)


def _open(name: str, parent: int | None) -> int:
    """A directory that can be emptied, whatever its owner has made of its mode."""
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(name, stat.S_IRWXU, dir_fd=parent)
    return os.open(name, _OPEN_DIRECTORY, dir_fd=parent)


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
