"""Which attempt starts next, by what it needs, its priority and its arrival."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from prominence.local.engine import Attempt, AttemptId, Capacity

if TYPE_CHECKING:
    from collections.abc import Mapping


class Needs(NamedTuple):
    """What an attempt occupies while it runs: cores and memory in GB, over all its nodes."""

    cpus: int
    memory: float

    @classmethod
    def of(cls, resources: Mapping[str, Any], capacity: Capacity) -> Needs:
        """Where a job leaves the number of cores open, the largest that this capacity has."""
        nodes = resources.get("nodes", 1)
        if "cpus" in resources:
            cpus = resources["cpus"]
        else:
            options = sorted(resources.get("cpusOptions") or ())
            low, high = (options[0], options[-1]) if options else resources["cpusRange"]
            fitting = [n for n in options or range(low, high + 1) if n * nodes <= capacity.cpus]
            cpus = max(fitting, default=low)
        memory = resources["memory"] if "memory" in resources else resources["memoryPerCpu"] * cpus
        return cls(cpus * nodes, memory * nodes)


Rank = tuple[int, int]
"""Priority, the highest first, then arrival."""


@dataclass(order=True, slots=True)
class _Waiting:
    rank: Rank
    attempt: Attempt = field(compare=False)


class Queue:
    """Attempts that wait, and what is free for them.

    Attempts with equal needs stand in one line, and only heads of lines are looked at, the best first: as
    many as there are kinds of attempts that wait for more than is free, however many wait behind them. A
    smaller attempt may pass a larger one that does not fit, at most ``patience`` times in a row; then what
    becomes free is kept for the larger one.
    """

    def __init__(self, capacity: Capacity, patience: int = 200) -> None:
        self.capacity = capacity
        self.free = capacity
        self._patience = patience
        self._passed = 0
        self._lines: dict[Needs, list[_Waiting]] = {}
        self._heads: list[tuple[Rank, Needs]] = []  # with some that are not heads any more
        self._head_of: dict[Needs, Rank] = {}
        self._waiting: set[AttemptId] = set()
        self._arrivals = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    def fits_at_all(self, needs: Needs) -> bool:
        return needs.cpus <= self.capacity.cpus and needs.memory <= self.capacity.memory

    def add(self, attempt: Attempt) -> None:
        needs = Needs.of(attempt.resources, self.capacity)
        self._waiting.add(attempt.id)
        line = self._lines.setdefault(needs, [])
        heapq.heappush(line, _Waiting((-attempt.priority, next(self._arrivals)), attempt))
        self._note_head(needs)

    def discard(self, attempt: AttemptId) -> bool:
        """Take an attempt out; False when it does not wait here."""
        was_here = attempt in self._waiting
        self._waiting.discard(attempt)
        return was_here

    def take_next(self) -> tuple[Attempt, Needs] | None:
        """The attempt to start now, its needs taken from what is free; None when none can start."""
        if self.free.cpus <= 0:
            return None
        passed: list[tuple[Rank, Needs]] = []
        fitting: tuple[Rank, Needs] | None = None
        while fitting is None and (head := self._pop_head()) is not None:
            if self._fits_now(head[1]):
                fitting = head
            else:
                passed.append(head)
        may_start = fitting is not None and (not passed or self._passed < self._patience)
        for head in passed if may_start or fitting is None else [*passed, fitting]:
            heapq.heappush(self._heads, head)
        if fitting is None or not may_start:
            return None
        self._passed = self._passed + 1 if passed else 0
        needs = fitting[1]
        attempt = heapq.heappop(self._lines[needs]).attempt
        self._waiting.remove(attempt.id)
        self._note_head(needs)
        self.occupy(needs)
        return attempt, needs

    def occupy(self, needs: Needs) -> None:
        self.free = Capacity(self.free.cpus - needs.cpus, self.free.memory - needs.memory)

    def release(self, needs: Needs) -> None:
        self.free = Capacity(self.free.cpus + needs.cpus, self.free.memory + needs.memory)

    def _fits_now(self, needs: Needs) -> bool:
        return needs.cpus <= self.free.cpus and needs.memory <= self.free.memory + 1e-9

    def _pop_head(self) -> tuple[Rank, Needs] | None:
        """The best of the heads that were not popped before."""
        while self._heads:
            rank, needs = heapq.heappop(self._heads)
            if self._head_of.get(needs) != rank:
                continue  # a better one stands before it, or has its place
            if self._lines[needs][0].attempt.id in self._waiting:
                return rank, needs
            self._note_head(needs)
        return None

    def _note_head(self, needs: Needs) -> None:
        """See who is at the head of a line, after something has changed there."""
        line = self._lines[needs]
        while line and line[0].attempt.id not in self._waiting:
            heapq.heappop(line)
        if not line:
            del self._lines[needs]
            self._head_of.pop(needs, None)
        elif self._head_of.get(needs) != line[0].rank:
            self._head_of[needs] = line[0].rank
            heapq.heappush(self._heads, (line[0].rank, needs))
