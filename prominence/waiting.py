"""Waiting in the caller's thread for what the watcher's thread learns."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Generic, TypeVar

from prominence.exceptions import InvalidDescription, WaitTimeout
from prominence.snapshot import Snapshot
from prominence.threads import InterruptibleCondition

if TYPE_CHECKING:
    from prominence.clock import Clock
    from prominence.exceptions import ProminenceError
    from prominence.watch import Watcher

S = TypeVar("S", bound=Snapshot)


def wait_for_end(
    watcher: Watcher[S], what: str, one: int, revision: int | None, timeout_s: float, *, is_known: bool
) -> S:
    """The last state of a job or workflow; ``timeout_s`` 0 waits for ever.

    Raises WaitTimeout when the time has passed, or what the watcher could not go on with.
    """
    is_number = isinstance(timeout_s, Real) and not isinstance(timeout_s, bool)
    if not is_number or not 0 <= timeout_s < math.inf:
        raise InvalidDescription("timeout", timeout_s, "seconds as a number, 0 to wait for ever")
    end: _End[S] = _End(watcher.clock)
    watch = watcher.watch(one, end.take, end.fail, revision, is_known=is_known)
    try:
        found = end.wait(timeout_s)
    finally:
        watcher.unwatch(watch)
    if found is not None:
        return found
    if is_known or end.was_heard_of:
        raise WaitTimeout(f"{what} {one} has not ended after {timeout_s:g} s; it goes on")
    raise WaitTimeout(f"the service has not shown {what} {one} within {timeout_s:g} s: it may not exist")


class _End(Generic[S]):
    """Is told how something ended, in one thread, and tells another."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._came = InterruptibleCondition()
        self._snapshot: S | None = None
        self.was_heard_of = False
        self._error: ProminenceError | None = None

    def take(self, snapshot: S) -> None:
        self.was_heard_of = True
        if snapshot.has_ended:
            with self._came:
                self._snapshot = snapshot
                self._came.notify_all()

    def fail(self, error: ProminenceError) -> None:
        with self._came:
            self._error = error
            self._came.notify_all()

    def wait(self, timeout_s: float) -> S | None:
        """The end; None when the time has passed first."""
        deadline = self._clock.monotonic() + timeout_s
        with self._came:
            while self._snapshot is None:
                if self._error is not None:
                    raise self._error
                left = deadline - self._clock.monotonic()
                if timeout_s and left <= 0:
                    return None
                self._clock.wait(self._came, left if timeout_s else None)
            return self._snapshot
