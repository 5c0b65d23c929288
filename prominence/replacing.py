"""Files that are replaced whole: who reads one sees the old content or the new, never a part of it."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike
    from pathlib import Path

_LONGEST_STEM: Final = 50  # characters of up to four bytes; a name has at most 255 in all


def check_replaceable(path: str | PathLike[str]) -> None:
    """Raise OSError where no file could be written there, as far as that can be told without trying."""
    from pathlib import Path

    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        raise FileExistsError(errno.EEXIST, "this is not a file that could be replaced", str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory to save in", str(target.parent))


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
