"""Contents of uploads that the database has no name for.

A service that was killed may leave one; many are there when the database was moved away or replaced by an
older copy. They are somebody's data, so they are set aside, and taken back when a database that names them
is there again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prominence.local.trees import remove_tree
from prominence.logs import logger

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

log = logger(__name__)


class Nameless:
    """``contents`` holds files as ``<first two digits>/<sha256>``, ``aside`` those without a name."""

    def __init__(self, contents: Path, aside: Path) -> None:
        self._contents = contents
        self._aside = aside

    def sort(self, named: AbstractSet[str]) -> None:
        """Move contents that are not among the named ones aside, and those that are back into their place.

        What cannot be moved stays where it is.
        """
        try:
            aside = self._set_aside(named)
            self._take_back(named)
        except OSError as error:
            log.warning("contents of uploads cannot be sorted by their names: %s", error)
        else:
            if aside:
                log.warning("%d contents of uploads have no name; they are kept in %s", aside, self._aside)

    def prune(self, before: float) -> int:
        """Remove what was set aside before a time (Unix epoch); bytes made free."""
        freed = 0
        for each in self._files():
            found = each.lstat()
            if found.st_mtime < before:
                each.unlink()
                freed += found.st_size
        return freed

    def _set_aside(self, named: AbstractSet[str]) -> int:
        nameless = [each for each in self._contents.glob("*/*") if each.name not in named]
        for each in nameless:
            if each.is_dir() and not each.is_symlink():
                remove_tree(each)  # none of ours
                continue
            self._aside.mkdir(mode=0o700, exist_ok=True)
            os.utime(each, follow_symlinks=False)  # its age counts from now
            each.replace(self._aside / each.name)
        return len(nameless)

    def _take_back(self, named: AbstractSet[str]) -> None:
        for each in self._files():
            place = self._contents / each.name[:2] / each.name
            if each.name in named and not place.exists():
                place.parent.mkdir(mode=0o700, exist_ok=True)
                each.replace(place)

    def _files(self) -> list[Path]:
        return list(self._aside.iterdir()) if self._aside.is_dir() else []
