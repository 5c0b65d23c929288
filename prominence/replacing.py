"""Files that are replaced whole: who reads one sees the old content or the new, never a part of it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LONGEST_STEM: Final = 50  # characters of up to four bytes; a name has at most 255 in all


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name in the same directory; the file that is made there takes the place of ``path`` at the end.

    Where the block raises, that file is removed, and ``path`` stays as it was.
    """
    part = path.with_name(f".{path.name[:_LONGEST_STEM]}.{os.urandom(4).hex()}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def replacing(path: Path, *, mode: int = 0o666, survive_power_loss: bool = False) -> Iterator[BinaryIO]:
    """A new file, with permissions ``mode`` less the umask, that takes the place of ``path`` at the end."""
    with beside(path) as part:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            if survive_power_loss:
                file.flush()
                os.fsync(descriptor)
