"""Following many jobs of a service that does everything that real ones do, in virtual time and by seeds.

Its bulk answers leave jobs out and hold others that nobody asked for, statuses go backwards with an end
time and exit codes, jobs are held, requests fail singly and for half an hour. Whatever it does: every
listener hears of the job's true end, once, and of nothing after it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.clock import VirtualClock
from support.scripted_service import Entry, Listener

from prominence.client.calls import Listing
from prominence.client.trouble import Trouble
from prominence.exceptions import ServiceUnavailable
from prominence.sources import JobSource
from prominence.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prominence import ProminenceClient
    from prominence.snapshot import JobSnapshot

JOBS = 120
OUTAGE_S = 1800.0
HELD_S = 120.0
LIMIT_S = 60.0


@dataclass
class Course:
    """The states that a job takes on, each from its second on."""

    states: list[tuple[float, Entry]] = field(default_factory=list)

    def at(self, second: float) -> Entry:
        return [entry for begin, entry in self.states if begin <= second][-1]

    @property
    def end(self) -> tuple[float, Entry]:
        return self.states[-1]


def course(random: Random, job_id: int) -> Course:
    """Up to three runs that are broken off, by a lost worker or by being held, and one that ends."""
    made = Course()
    now = 0.0

    def take_on(status: str, **fields: Any) -> None:
        nonlocal now
        made.states.append((now, {"id": job_id, "status": status, "events": {"createTime": 1}, **fields}))
        now += random.expovariate(1 / 40)

    for run in range(random.choice([0, 0, 0, 1, 2, 3])):
        take_on("idle", **({"execution": {"tasks": [{"exitCode": 1}]}} if run else {}))
        take_on("running", events={"startTime": run})
        if random.random() < 0.3:
            now = min(now, made.states[-1][0] + 1000)
            take_on("failed")  # held
            now = min(now, made.states[-1][0] + 0.8 * HELD_S)
        take_on("idle", events={"startTime": run, "endTime": run})
    take_on("idle")
    take_on("running")
    status = random.choice(["completed", "completed", "failed", "killed", "deleted"])
    has_end_time = random.random() < 0.9
    take_on(status, events={"endTime": 9} if has_end_time else {}, execution={"tasks": [{"exitCode": 0}]})
    return made


class TurbulentService:
    """Stands in for the client. A revision of its feed is a millisecond."""

    url = "https://turbulent.example.org/prominence/v1"

    def __init__(self, random: Random, clock: VirtualClock, *, has_feed: bool) -> None:
        self.clock = clock
        self.trouble = Trouble("the service", clock)
        self.features = frozenset({"wait"} if has_feed else ())
        self.courses = {job_id: course(random, job_id) for job_id in range(1, JOBS + 1)}
        self.requests: Counter[str] = Counter()
        self._random = random
        self._away_from = random.uniform(0, 200)

    def list_jobs(self, *, ids: Iterable[int], detail: bool = False) -> Listing:
        wanted = list(ids)
        assert len(wanted) <= 100
        self._answer("detail" if detail else "bulk")
        found = [self._entry(job_id, detail=detail) for job_id in wanted if self._random.random() > 0.1]
        foreign = [{"id": 10_000, "status": "completed"}] * self._random.choice([0, 0, 1])
        self._random.shuffle(found)
        return Listing([*foreign, *found], self._revision)

    def describe_job(self, job_id: int) -> Listing:
        self._answer("alone")
        return Listing([self._entry(job_id, detail=True)] if self._random.random() > 0.02 else [], None)

    @property
    def _revision(self) -> int | None:
        return int(self.clock.elapsed * 1000) if self.features else None

    def list_changed_jobs(self, since: int, wait: float) -> Listing:
        self._answer("feed")
        changes = [begin for made in self.courses.values() for begin, _ in made.states]
        unseen = [begin for begin in changes if begin > since / 1000]
        next_change = min(unseen, default=float("inf")) + 0.001
        self.clock.advance(max(0.0, min(next_change - self.clock.elapsed, wait)))
        revision = int(self.clock.elapsed * 1000)
        changed = [
            job_id
            for job_id, made in self.courses.items()
            if any(since / 1000 < begin <= revision / 1000 for begin, _ in made.states)
        ]
        return Listing([self._entry(job_id, detail=True) for job_id in changed], revision)

    def _entry(self, job_id: int, *, detail: bool) -> Entry:
        entry = self.courses[job_id].at(self.clock.elapsed)
        return entry if detail else {name: entry[name] for name in ("id", "status", "events")}

    def _answer(self, what: str) -> None:
        self.requests[what] += 1
        self.clock.advance(self._random.uniform(0.01, 0.1))
        is_away = self._away_from <= self.clock.elapsed < self._away_from + OUTAGE_S
        if is_away or self._random.random() < 0.05:
            self.clock.advance(60)
            raise ServiceUnavailable("nobody there")


class Latecomers:
    """When a job is first heard of, somebody else begins to follow it, and the next of the other half."""

    def __init__(self, watcher: Watcher[JobSnapshot], ids: Iterable[int]) -> None:
        self._watcher = watcher
        self._unwatched = list(ids)
        self.listeners: list[tuple[int, Listener]] = []

    def hear_of(self, job_id: int) -> None:
        self.follow(job_id)
        if self._unwatched:
            self.follow(self._unwatched.pop())

    def follow(self, job_id: int) -> None:
        listener = Listener()
        self.listeners.append((job_id, listener))
        self._watcher.watch(job_id, listener.on_change, listener.on_failure)


def follow(seed: int, *, has_feed: bool) -> TurbulentService:
    random, clock = Random(seed), VirtualClock()
    service = TurbulentService(random, clock, has_feed=has_feed)
    watcher = Watcher(JobSource(cast("ProminenceClient", service)), clock, random)
    early, late = list(service.courses)[: JOBS // 2], list(service.courses)[JOBS // 2 :]
    latecomers = Latecomers(watcher, late)
    listeners = [(job_id, Listener()) for job_id in early]
    with watcher._condition:
        for job_id, listener in listeners:
            watcher.watch(job_id, _first(listener, latecomers), listener.on_failure)
    for job_id, listener in listeners:
        _check(listener.wait(LIMIT_S), service.courses[job_id])
    assert len(latecomers.listeners) == JOBS
    for job_id, listener in latecomers.listeners:
        _check(listener.wait(LIMIT_S), service.courses[job_id])
    watcher.close()
    return service


def _first(listener: Listener, latecomers: Latecomers) -> Callable[[JobSnapshot], None]:
    def hear(snapshot: JobSnapshot) -> None:
        is_first = not listener.snapshots
        listener.on_change(snapshot)
        if is_first:
            latecomers.hear_of(snapshot.id)

    return hear


def _check(listener: Listener, made: Course) -> None:
    assert listener.error is None
    assert [snapshot.has_ended for snapshot in listener.snapshots].count(True) == 1
    assert listener.snapshots[-1].entry == made.end[1]
    states = iter(entry["status"] for _, entry in made.states)
    assert all(status in states for status in listener.statuses), (
        "statuses that it did not have, in this order"
    )


@pytest.mark.parametrize("has_feed", [False, True], ids=["polls", "feed"])
@pytest.mark.parametrize("seed", range(15))
def test_every_listener_hears_of_the_true_end(seed: int, has_feed: bool) -> None:
    requests = follow(seed, has_feed=has_feed).requests
    assert requests["alone"] < 0.2 * JOBS * requests["bulk"] / 2  # those that are missing, never all
    assert requests["detail"] <= requests["bulk"]


@pytest.mark.full
@pytest.mark.parametrize("has_feed", [False, True], ids=["polls", "feed"])
@pytest.mark.parametrize("seed", range(15, 200))
def test_every_listener_hears_of_the_true_end_whatever_the_seed(seed: int, has_feed: bool) -> None:
    follow(seed, has_feed=has_feed)
