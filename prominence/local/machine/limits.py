"""What ends an attempt before its tasks do: somebody's wish, its walltime, its memory."""

from __future__ import annotations

import time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Final

from prominence.local.machine.memory import tree_usage

if TYPE_CHECKING:
    from collections.abc import Iterator

WALLTIME_REASON: Final = "Walltime limit exceeded"
MEMORY_REASON: Final = "Job used too much memory"
_FIRST_LOOK_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0
_FASTEST_GROWTH: Final = 2 * 2**30  # bytes a second that a program touches for the first time, about
_GB: Final = 2**30  # as HTCondor counts it


class Stop(Exception):
    """The attempt ends before its tasks do; ``detail`` is for the job's standard error.

    ``is_urgent`` where the tasks cannot be given time to end by themselves.
    """

    def __init__(self, status: str, reason: str, detail: str = "", *, is_urgent: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.is_urgent = is_urgent


class Limits:
    """Asked again and again while tasks run; its clock runs from :meth:`begin`.

    Memory is what all descendants have together. The nearer it is to the limit, the sooner the next look:
    one that takes memory as fast as a machine can give it is seen before it has twice what it asked for.
    """

    def __init__(self, walltime_s: float, memory_gb: float) -> None:
        self.cancelled = False
        self.peak_bytes = 0
        self._walltime_s = walltime_s
        self.memory_bytes = int(memory_gb * _GB)
        self._deadline = inf
        self._next_look = inf

    def begin(self) -> None:
        now = time.monotonic()
        self._deadline = now + self._walltime_s
        self._next_look = now + _FIRST_LOOK_S

    @contextmanager
    def not_counted(self) -> Iterator[None]:
        """Time that is not the tasks': images are fetched in it."""
        deadline, look, begin = self._deadline, self._next_look, time.monotonic()
        self._deadline = self._next_look = inf
        try:
            yield
        finally:
            waited = time.monotonic() - begin
            self._deadline, self._next_look = deadline + waited, look + waited

    def check(self) -> None:
        """Raise :class:`Stop` if the attempt has to end now."""
        if self.cancelled:
            raise Stop("cancelled", "")
        now = time.monotonic()
        if now >= self._deadline:
            raise Stop("killed", WALLTIME_REASON)
        if now >= self._next_look:
            self._look_at_memory(now)

    def patience_s(self) -> float:
        """For how long there is nothing to check, as far as is known now."""
        now = time.monotonic()
        return max(0.0, min(self._deadline, self._next_look, now + _LONGEST_WAIT_S) - now)

    def _look_at_memory(self, now: float) -> None:
        used = tree_usage(exact_above=self.memory_bytes)
        self.peak_bytes = max(self.peak_bytes, used)
        left = self.memory_bytes - used
        if left < 0:
            raise Stop(
                "killed",
                MEMORY_REASON,
                f"the tasks used {used / _GB:.2f} GB together, of {self.memory_bytes / _GB:g} GB asked for",
                is_urgent=True,
            )
        self._next_look = now + min(_LONGEST_PAUSE_S, max(_FIRST_LOOK_S, left / _FASTEST_GROWTH))
