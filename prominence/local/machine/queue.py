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


@dataclass(order=True, slots=True)
class _Waiting:
    rank: tuple[int, int]
    attempt: Attempt = field(compare=False)


class Queue:
    """Attempts that wait, and what is free for them.

    Attempts with equal needs stand in one line, so that finding the next one costs a look at the head
    of each line however many wait. A smaller attempt may pass a larger one that does not fit, at most
    ``patience`` times in a row; then what becomes free is kept for the larger one.
    """

    def __init__(self, capacity: Capacity, patience: int = 200) -> None:
        self.capacity = capacity
        self.free = capacity
        self._patience = patience
        self._passed = 0
        self._lines: dict[Needs, list[_Waiting]] = {}
        self._waiting: dict[AttemptId, Needs] = {}
        self._arrivals = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    def fits_at_all(self, needs: Needs) -> bool:
        return needs.cpus <= self.capacity.cpus and needs.memory <= self.capacity.memory

    def add(self, attempt: Attempt) -> None:
        needs = Needs.of(attempt.resources, self.capacity)
        self._waiting[attempt.id] = needs
        entry = _Waiting((-attempt.priority, next(self._arrivals)), attempt)
        heapq.heappush(self._lines.setdefault(needs, []), entry)

    def discard(self, attempt: AttemptId) -> bool:
        """Take an attempt out; False when it does not wait here."""
        return self._waiting.pop(attempt, None) is not None

    def take_next(self) -> tuple[Attempt, Needs] | None:
        """The attempt to start now, its needs taken from what is free; None when none can start."""
        first: tuple[_Waiting, Needs] | None = None
        fitting: tuple[_Waiting, Needs] | None = None
        for needs in list(self._lines):
            head = self._head(needs)
            if head is None:
                continue
            if first is None or head < first[0]:
                first = head, needs
            if self._fits_now(needs) and (fitting is None or head < fitting[0]):
                fitting = head, needs
        if first is None or fitting is None:
            return None
        if fitting[1] != first[1]:
            if self._passed >= self._patience:
                return None
            self._passed += 1
        else:
            self._passed = 0
        waiting, needs = fitting
        heapq.heappop(self._lines[needs])
        del self._waiting[waiting.attempt.id]
        self.occupy(needs)
        return waiting.attempt, needs

    def occupy(self, needs: Needs) -> None:
        self.free = Capacity(self.free.cpus - needs.cpus, self.free.memory - needs.memory)

    def release(self, needs: Needs) -> None:
        self.free = Capacity(self.free.cpus + needs.cpus, self.free.memory + needs.memory)

    def _fits_now(self, needs: Needs) -> bool:
        return needs.cpus <= self.free.cpus and needs.memory <= self.free.memory + 1e-9

    def _head(self, needs: Needs) -> _Waiting | None:
        line = self._lines[needs]
        while line and line[0].attempt.id not in self._waiting:
            heapq.heappop(line)
        if not line:
            del self._lines[needs]
            return None
        return line[0]
