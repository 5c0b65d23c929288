"""Which attempt starts next."""

from __future__ import annotations

from random import Random

import pytest

from prominence.local.engine import Assignment, Attempt, AttemptId, Capacity
from prominence.local.machine.queue import Needs, Queue


def not_started(attempt: AttemptId) -> Assignment:
    raise AssertionError(f"nobody starts attempt {attempt} here")


def attempt(job: int, cpus: int = 1, memory: float = 1, priority: int = 0) -> Attempt:
    return Attempt(AttemptId(job, 1), {"cpus": cpus, "memory": memory}, not_started, priority)


def started(queue: Queue) -> list[int]:
    found = []
    while (taken := queue.take_next()) is not None:
        found.append(taken[0].id.job)
    return found


def test_order_is_by_priority_then_by_arrival() -> None:
    queue = Queue(Capacity(10, 10))
    for job, priority in ((1, 0), (2, 5), (3, 0), (4, 5), (5, -1)):
        queue.add(attempt(job, priority=priority))

    assert started(queue) == [2, 4, 1, 3, 5]


def test_only_what_fits_starts() -> None:
    queue = Queue(Capacity(4, 8))
    queue.add(attempt(1, cpus=3))
    queue.add(attempt(2, cpus=2))
    queue.add(attempt(3, cpus=1, memory=8))
    queue.add(attempt(4, cpus=1, memory=7))

    assert started(queue) == [1, 4]
    queue.release(Needs(3, 1))
    assert started(queue) == [2]


def test_memory_of_fractions_adds_up() -> None:
    queue = Queue(Capacity(10, 1))
    for job in range(10):
        queue.add(attempt(job, memory=0.1))

    assert len(started(queue)) == 10


def test_a_large_attempt_is_not_passed_for_ever() -> None:
    queue = Queue(Capacity(2, 100), patience=3)
    queue.add(attempt(0))
    assert started(queue) == [0]
    queue.add(attempt(1, cpus=2))
    for job in range(2, 10):
        queue.add(attempt(job))

    passed = []
    for _ in range(8):
        passed += started(queue)
        if len(passed) < 3:
            queue.release(Needs(1, 1))

    assert passed == [2, 3, 4]
    queue.release(Needs(1, 1))
    queue.release(Needs(1, 1))
    assert started(queue) == [1]


def test_a_discarded_attempt_never_starts() -> None:
    queue = Queue(Capacity(2, 2))
    queue.add(attempt(1))
    queue.add(attempt(2))

    assert queue.discard(AttemptId(1, 1))
    assert not queue.discard(AttemptId(1, 1))
    assert (len(queue), started(queue), len(queue)) == (1, [2], 0)


@pytest.mark.parametrize(
    ("resources", "needs"),
    [
        ({"cpus": 2, "memory": 3}, (2, 3)),
        ({"cpus": 2, "memoryPerCpu": 3}, (2, 6)),
        ({"cpus": 2, "memory": 3, "nodes": 2}, (4, 6)),
        ({"cpusRange": [1, 32], "memory": 1}, (8, 1)),
        ({"cpusRange": [2, 4], "memoryPerCpu": 2}, (4, 8)),
        ({"cpusOptions": [4, 2, 16], "memory": 1}, (4, 1)),
        ({"cpusRange": [9, 12], "memory": 1}, (9, 1)),
    ],
)
def test_needs_come_from_the_resources(resources: dict[str, object], needs: tuple[int, float]) -> None:
    assert Needs.of(resources, Capacity(8, 64)) == needs


class PlainQueue:
    """The same rule without any bookkeeping: look at everybody, every time."""

    def __init__(self, capacity: Capacity, patience: int) -> None:
        self.free, self.patience, self.passed = capacity, patience, 0
        self.waiting: list[tuple[int, int, Needs]] = []

    def take_next(self) -> tuple[int, Needs] | None:
        self.waiting.sort()
        fitting = [each for each in self.waiting if self.fits(each[2])]
        if not fitting:
            return None
        first_of_kind = {each[2]: each for each in reversed(self.waiting)}
        has_passed = any(each < fitting[0] for each in first_of_kind.values())
        if has_passed and self.passed >= self.patience:
            return None
        self.passed = self.passed + 1 if has_passed else 0
        self.waiting.remove(fitting[0])
        _, job, needs = fitting[0]
        self.free = Capacity(self.free.cpus - needs.cpus, self.free.memory - needs.memory)
        return job, needs

    def fits(self, needs: Needs) -> bool:
        return needs.cpus <= self.free.cpus and needs.memory <= self.free.memory


@pytest.mark.parametrize("seed", range(20))
def test_attempts_start_in_the_order_of_the_rule(seed: int) -> None:
    random = Random(seed)
    capacity = Capacity(8, 16)
    queue, plain = Queue(capacity, patience=5), PlainQueue(capacity, patience=5)
    running: list[Needs] = []
    for job in range(1, 400):
        action = random.random()
        if action < 0.5:
            cpus, memory, priority = random.randint(1, 8), random.randint(1, 16), random.choice((0, 0, 0, 3))
            queue.add(attempt(job, cpus, memory, priority))
            plain.waiting.append((-priority, job, Needs(cpus, memory)))
        elif action < 0.6 and plain.waiting:
            discarded = random.choice(plain.waiting)
            plain.waiting.remove(discarded)
            assert queue.discard(AttemptId(discarded[1], 1))
        elif action < 0.8 and running:
            needs = running.pop(random.randrange(len(running)))
            queue.release(needs)
            plain.free = Capacity(plain.free.cpus + needs.cpus, plain.free.memory + needs.memory)
        taken, expected = queue.take_next(), plain.take_next()
        assert expected == (None if taken is None else (taken[0].id.job, taken[1]))
        if expected is not None:
            running.append(expected[1])
        assert len(queue) == len(plain.waiting)
