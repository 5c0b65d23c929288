"""Copies of files, made by the system where it can: some file systems then share what is the same."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE: Final = 16 * 1024 * 1024  # bytes; the system shares or copies whole ones
_READ: Final = 256 * 1024


def copied(source: int, target: int) -> Iterator[int]:
    """Copy between descriptors, from where they are; gives the bytes of each piece once it is written."""
    try:
        while count := os.copy_file_range(source, target, _PIECE):
            yield count
    except (AttributeError, OSError):  # no such call here, or not for these; what else failed shows below
        while piece := os.read(source, _READ):
            _write(target, piece)
            yield len(piece)


def write_in_pieces(content: memoryview, target: int) -> Iterator[int]:
    """Write what is in memory; gives the bytes of each piece once it is written."""
    for start in range(0, len(content), _PIECE):
        piece = content[start : start + _PIECE]
        _write(target, piece)
        yield len(piece)


def _write(target: int, piece: bytes | memoryview) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(target, left) :]
