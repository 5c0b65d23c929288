"""Jobs that say how long they want to wait at most (``maximumTimeInQueue``)."""

from __future__ import annotations

import asyncio
import heapq
import json
from typing import TYPE_CHECKING, Final

from prominence.clock import MACHINE_CLOCK, Clock
from prominence.local.attempts import attempt_of
from prominence.local.listing import AMONG

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from prominence.local.engine import AttemptId
    from prominence.local.store import Store

REASON: Final = "Maximum time queued was exceeded"
_LIMIT: Final = """case when json_valid(description) then
    json_extract(description, '$.policies.maximumTimeInQueue') end"""
_SELECT: Final = f"""select id, attempt, case when attempt > 1 then ended end as tried, created,
    {_LIMIT} as minutes from described_jobs where status = 'idle' and minutes > 0"""  # noqa: S608 - constants


class QueueLimits:
    """Tells which attempts have waited for longer than their job allows.

    What counts is the time since the job was accepted, or since its try before this one ended; 0 and -1
    minutes are for ever. It goes on where a service that ended has left off. ``minute_s`` is shortened by
    tests.
    """

    def __init__(self, store: Store, minute_s: float, clock: Clock = MACHINE_CLOCK) -> None:
        self._store = store
        self._clock = clock
        self._minute_s = minute_s
        self._ends: list[tuple[float, AttemptId]] = []
        self._added = asyncio.Event()

    def watch(self, jobs: Iterable[int]) -> None:
        """Keep an eye on those of these jobs that wait and have a limit."""
        self._add(self._store.read(f"{_SELECT} and id in {AMONG}", [json.dumps(list(jobs))]))

    def watch_all(self) -> None:
        self._add(self._store.read(_SELECT))

    async def overdue(self) -> list[AttemptId]:
        """Attempts whose time is over, as soon as there are any; each is told once. They may have started."""
        while not self._ends or self._ends[0][0] > self._clock.monotonic():
            self._added.clear()
            left = self._ends[0][0] - self._clock.monotonic() if self._ends else None
            try:
                async with asyncio.timeout(left):
                    await self._added.wait()
            except TimeoutError:
                continue
        found = []
        while self._ends and self._ends[0][0] <= self._clock.monotonic():
            found.append(heapq.heappop(self._ends)[1])
        return found

    def _add(self, rows: Sequence[sqlite3.Row]) -> None:
        now, now_here = self._clock.time(), self._clock.monotonic()
        for row in rows:
            waited = max(0.0, now - (row["tried"] or row["created"]))
            end = now_here + row["minutes"] * self._minute_s - waited
            heapq.heappush(self._ends, (end, attempt_of(row)))
            self._added.set()
