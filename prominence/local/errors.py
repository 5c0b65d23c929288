"""A request that is refused, with the status and text that the REST API has for it."""

from __future__ import annotations

import errno
from typing import Final

NO_SUCH_JOB: Final = "Job does not exist"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Refusal(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def not_stored(what: str, error: OSError) -> Refusal:
    """That something could not be kept, which is the caller's to mend where the disk is full."""
    return Refusal(507 if error.errno in _FULL else 500, f"{what} cannot be stored: {error.strerror}")
