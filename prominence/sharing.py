"""Files that the service and a client on the same machine both have, so that large data need not be sent.

A client proves that it has them by the key in ``endpoint.json``, which only the service's user can read, and
which the client takes for that of a running service only where it finds the lock on the very same file. Then
it is told paths, as they are below the state directory: what they mean is found below the client's own, and
nowhere else.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

HEADER: Final = "Prominence-Files"
_OPEN: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not hold anybody up


@dataclass(frozen=True, slots=True)
class SharedFiles:
    """A state directory, as the service or as a client of the same user sees it."""

    directory: Path
    key: str = field(repr=False)

    def is_proved_by(self, given: str) -> bool:
        return hmac.compare_digest(self.key.encode(), given.encode(errors="replace"))

    def told(self, path: PurePath) -> str | None:
        """What a client is told of a file; None for one that lies elsewhere."""
        if not path.is_relative_to(self.directory):
            return None
        return path.relative_to(self.directory).as_posix()

    def path_of(self, told: str) -> Path:
        """The path here of what the service told of; raises FileNotFoundError for one elsewhere."""
        path = PurePosixPath(told)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise FileNotFoundError(f"{told!r} does not lie in the state directory")
        return self.directory / path

    def open(self, told: str, flags: int) -> int:
        """A descriptor of a file that the service told of; raises OSError where there is none."""
        return os.open(self.path_of(told), flags | _OPEN)
