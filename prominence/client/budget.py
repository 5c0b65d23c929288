"""How many retries a process may make, whatever the number of its clients and threads.

A service that comes back after an outage meets a steady trickle instead of everything that was waiting.
First attempts never pay, and no retry is dropped: it waits for its turn.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from prominence.clock import Clock

RETRIES_AT_ONCE: Final = 100
"""Retries that may be made together after a quiet time."""
RETRIES_PER_S: Final = 10.0
"""Retries that may follow; 16 senders in an outage make about two a second."""


class RetryBudget:
    """Places for retries on one clock's time line."""

    _of: WeakKeyDictionary[Clock, RetryBudget] = WeakKeyDictionary()
    _making = threading.Lock()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used_up_at = float("-inf")  # when all places taken so far would be free again

    @classmethod
    def of(cls, clock: Clock) -> RetryBudget:
        """The one budget of everything that goes by this clock."""
        with cls._making:
            return cls._of.setdefault(clock, cls())

    @classmethod
    def start_anew(cls) -> None:
        """In a forked child: it has retries of its own, and a thread that held a lock is not there."""
        cls._making = threading.Lock()
        cls._of = WeakKeyDictionary()

    def pause(self, now: float, least: float, most: float) -> float:
        """Take a place; the seconds until it comes, no fewer than ``least``.

        No place is taken where that is ``most`` or more.
        """
        with self._lock:
            used_up_at = max(self._used_up_at, now) + 1 / RETRIES_PER_S
            seconds = max(least, used_up_at - RETRIES_AT_ONCE / RETRIES_PER_S - now)
            if seconds < most:
                self._used_up_at = used_up_at
            return seconds


os.register_at_fork(after_in_child=RetryBudget.start_anew)
