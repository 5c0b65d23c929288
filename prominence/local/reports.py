"""What an engine has to tell of its attempts, kept until its reader has taken it."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from prominence.local.engine import Change

if TYPE_CHECKING:
    from prominence.local.engine import AttemptId, Outcome


class Reports:
    """Changes in order, for one reader; engines of plugins may use it, too."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque()
        self._sequence = itertools.count(1)
        self._added = asyncio.Event()

    def started(self, attempt: AttemptId, at: float, execution: dict[str, Any] | None = None) -> None:
        self._add(Change(next(self._sequence), attempt, at, execution=execution or {}))

    def requeued(self, attempt: AttemptId, at: float) -> None:
        self._add(Change(next(self._sequence), attempt, at, requeued=True))

    def ended(self, attempt: AttemptId, outcome: Outcome) -> None:
        self._add(Change(next(self._sequence), attempt, outcome.ended, outcome))

    async def after(self, sequence: int) -> list[Change]:
        """All changes later than this one, waited for; earlier ones are forgotten."""
        while self._changes and self._changes[0].sequence <= sequence:
            self._changes.popleft()
        while not self._changes:
            self._added.clear()
            await self._added.wait()
        return list(self._changes)

    def _add(self, change: Change) -> None:
        self._changes.append(change)
        self._added.set()
