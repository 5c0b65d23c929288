"""A clock that tests move: who sleeps or waits on it goes on at once, later by as much."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from prominence.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from prominence.clock import AnyCondition, Timeouts

EPOCH = 1_800_000_000
_LOOK_S = 0.01
_STILL_S = 0.5


class VirtualClock(Clock):
    """Time passes only by sleeping, by waiting and by :meth:`advance`; safe to use from several threads.

    The thread that made the clock does not hurry those that work for it: when it waits, time passes as they
    let it pass, and by itself only when they all stand still.
    """

    def __init__(self) -> None:
        self._maker = threading.current_thread()
        self._lock = threading.Lock()
        self.elapsed = 0.0
        self._set_forward = 0.0
        self.sleeps: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None
        self.before_request: Callable[[Timeouts], Timeouts] = lambda timeouts: timeouts

    def advance(self, seconds: float) -> None:
        with self._lock:
            self.elapsed += seconds

    def jump(self, seconds: float) -> None:
        """Set the clock forward or back: no time passes."""
        with self._lock:
            self._set_forward += seconds

    def monotonic(self) -> float:
        with self._lock:
            return 5000.0 + self.elapsed

    def time(self) -> float:
        with self._lock:
            return EPOCH + self.elapsed + self._set_forward

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.sleeps.append(seconds)
        self.advance(seconds)
        self.on_sleep()

    def socket_timeouts(self, timeouts: Timeouts) -> Timeouts:
        return self.before_request(timeouts)

    def wait(self, condition: AnyCondition, timeout: float | None) -> bool:
        if timeout is None:
            return condition.wait()
        if threading.current_thread() is self._maker:
            return self._wait_for_others(condition, timeout)
        notified = condition.wait(0)  # lets go of the lock for a moment, as a real wait does
        if not notified:
            self.advance(timeout)
        return notified

    def _wait_for_others(self, condition: AnyCondition, timeout: float) -> bool:
        end = self.elapsed + timeout
        before, still_s = self.elapsed, 0.0
        while before < end:
            if condition.wait(_LOOK_S):
                return True
            still_s = still_s + _LOOK_S if self.elapsed == before else 0.0
            if still_s >= _STILL_S:
                self.advance(end - before)
            before = self.elapsed
        return False
