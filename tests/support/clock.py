"""A clock that tests move: who sleeps or waits on it goes on at once, later by as much."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from prominence.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Condition

EPOCH = 1_800_000_000


class VirtualClock(Clock):
    """Time passes only by sleeping, by waiting and by :meth:`advance`; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.elapsed = 0.0
        self.sleeps: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    def advance(self, seconds: float) -> None:
        with self._lock:
            self.elapsed += seconds

    def monotonic(self) -> float:
        with self._lock:
            return 5000.0 + self.elapsed

    def time(self) -> float:
        with self._lock:
            return EPOCH + self.elapsed

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.sleeps.append(seconds)
        self.advance(seconds)
        self.on_sleep()

    def wait(self, condition: Condition, timeout: float | None) -> bool:
        if timeout is None:
            return condition.wait()
        notified = condition.wait(0)  # lets go of the lock for a moment, as a real wait does
        if not notified:
            self.advance(timeout)
        return notified
