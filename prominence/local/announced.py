"""Which terminals have heard of the service that runs, so that one-off commands say it once in each."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from prominence.replacing import replacing

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME: Final = "announced"


def is_news(directory: Path, service: int) -> bool:
    """True the first time that a program of this login session asks about a service (its process number).

    It stays news where that cannot be written down.
    """
    file, session = directory / FILE_NAME, str(os.getsid(0))
    try:
        known, *told = file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        known, told = "", []
    told = told if known == str(service) else []
    if session in told:
        return False
    with suppress(OSError), replacing(file, mode=0o600) as new:
        new.write(" ".join([str(service), *told, session]).encode())
    return True
