"""Learning that a process which is not our child has ended."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ProcessWatch:
    """Calls back once when a process ends, where the system can tell (Linux: pidfd).

    Elsewhere nothing is called: whoever watches also has to look from time to time.
    """

    def __init__(self, pid: int, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._descriptor: int | None = None
        if not hasattr(os, "pidfd_open"):
            return
        loop = asyncio.get_running_loop()
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            loop.call_soon(on_end)
        else:
            loop.add_reader(self._descriptor, self._ended)

    def close(self) -> None:
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _ended(self) -> None:
        self.close()
        self._on_end()
