"""Handing out what tasks have written, while they go on writing."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, BinaryIO, Final

from prominence.local.engine import OutputPart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PIECE_BYTES: Final = 256 * 1024


def part_of(file: BinaryIO, offset: int) -> OutputPart:
    """An open file from byte ``offset`` to its present end; it is closed after it was read."""
    left = max(0, file.seek(0, os.SEEK_END) - offset)
    file.seek(offset if left else 0)
    return OutputPart(left, _pieces(file, left))


async def _pieces(file: BinaryIO, left: int) -> AsyncIterator[bytes]:
    """So many bytes of a file, read beside the event loop."""
    with file:
        while left > 0 and (piece := await asyncio.to_thread(file.read, min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece
