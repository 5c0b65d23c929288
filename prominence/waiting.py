"""Waiting in the caller's thread for what the watcher's thread learns."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from prominence.exceptions import WaitTimeout
from prominence.snapshot import Snapshot

if TYPE_CHECKING:
    from prominence.exceptions import ProminenceError
    from prominence.watch import Watcher

S = TypeVar("S", bound=Snapshot)


def wait_for_end(watcher: Watcher[S], what: str, one: int, revision: int | None, timeout_s: float) -> S:
    """The last state of a job or workflow; ``timeout_s`` 0 waits for ever.

    Raises WaitTimeout when the time has passed, or what the watcher could not go on with.
    """
    end: _End[S] = _End()
    watch = watcher.watch(one, end.take, end.fail, revision)
    if not end.came.wait(timeout_s or None):
        watcher.unwatch(watch)
        raise WaitTimeout(f"{what} {one} has not ended after {timeout_s:g} s; it goes on")
    if end.error is not None:
        raise end.error
    assert end.snapshot is not None  # noqa: S101 - it came without an error
    return end.snapshot


class _End(Generic[S]):
    def __init__(self) -> None:
        self.came = threading.Event()
        self.snapshot: S | None = None
        self.error: ProminenceError | None = None

    def take(self, snapshot: S) -> None:
        if snapshot.has_ended:
            self.snapshot = snapshot
            self.came.set()

    def fail(self, error: ProminenceError) -> None:
        self.error = error
        self.came.set()
