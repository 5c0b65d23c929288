"""Calls that wait here until there is room for their jobs at the service."""

from __future__ import annotations

import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prominence_executors.arrays import Array
    from prominence_executors.call import Call


class Taken(NamedTuple):
    """What is to be sent now; of an array, the indexes of the calls that were not cancelled."""

    sending: Call | Array
    wanted: Sequence[int]


class PendingCalls:
    """In the order in which they were submitted; at most ``most`` calls that were taken have not ended.

    An array is taken whole, where there is room for all of it.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._waiting: deque[Call | Array] = deque()
        self._under_way = 0

    def put(self, sending: Call | Array) -> None:
        with self._lock:
            self._waiting.append(sending)

    def withdraw(self, sending: Call | Array) -> None:
        """Nothing of it is to be taken from now on."""
        with self._lock:
            if sending in self._waiting:
                self._waiting.remove(sending)

    def occupy(self, places: int) -> None:
        """So many calls are under way that did not wait here."""
        with self._lock:
            self._under_way += places

    def vacate(self) -> None:
        """A call that was taken has ended."""
        with self._lock:
            self._under_way -= 1

    def lift_limit(self) -> None:
        with self._lock:
            self.most = sys.maxsize

    def may_give(self) -> bool:
        """False where :meth:`take` finds nothing to send, and nothing at the front that was cancelled."""
        with self._lock:
            if not self._waiting:
                return False
            return self._under_way < self.most or self._waiting[0].calls[0].future.cancelled()

    def take(self) -> Taken | None:
        """What may be sent next; None where there is no room, or nothing waits.

        Calls that were cancelled are told so on the way.
        """
        while True:
            with self._lock:
                if not self._waiting:
                    return None
                sending = self._waiting[0]
                calls = sending.calls
                has_room = self._under_way + len(calls) <= self.most
                if not has_room and not all(call.future.cancelled() for call in calls):
                    return None
                self._waiting.popleft()
                wanted = [
                    index for index, call in enumerate(calls) if call.future.set_running_or_notify_cancel()
                ]
                self._under_way += len(wanted)
            for index in set(range(len(calls))).difference(wanted):
                calls[index].group.discard(calls[index])
            if wanted:
                return Taken(sending, wanted)
