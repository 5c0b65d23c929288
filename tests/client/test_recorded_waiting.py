"""The watcher, in virtual time, through what a real service said of jobs and workflows from second to second.

The service answers with the state that was recorded at that many seconds after the submission.
"""

from __future__ import annotations

import threading
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from support.fake_service import FakeService, Received, Reply, says
from support.recorded_statuses import STATUSES

from prominence import Job, ProminenceClient, Session, Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.clock import VirtualClock

    from prominence.snapshot import Snapshot

LISTED = ("id", "name", "status", "statusReason", "tasks", "events", "progress")
LIMIT_S = 30.0
Entry = dict[str, Any]


@pytest.fixture
def session(client: ProminenceClient, clock: VirtualClock) -> Iterator[Session]:
    with Session(client=client, clock=clock, random=Random(1)) as session:
        yield session


class End(NamedTuple):
    """What a wait is to bring."""

    statuses: str
    reason: str = ""
    exit_codes: tuple[int | None, ...] = ()
    succeeded: bool = False


JOBS = {
    "success": End("idle running completed", exit_codes=(0,), succeeded=True),
    "fail-exit-3": End("idle running completed", exit_codes=(3,)),
    "command-not-found": End("idle running completed", exit_codes=(255,)),
    "killed-walltime": End("idle running killed", "Walltime limit exceeded", (-9,)),
    "image-pull-fails": End("running failed", "Container image pull failed", (None,)),
    "output-file-missing": End(
        "idle running failed", "Stageout failed due to no such file or directory", (0,)
    ),
    "deleted-while-running": End("idle deleted", "Job deleted by user"),
    "never-matches-then-deleted": End("idle deleted", "Job deleted by user"),
}
WORKFLOWS = {
    "workflow-ok": End("idle idle running completed", succeeded=True),
    "workflow-failing-node": End("idle idle running running failed"),  # the start, the progress
    "workflow-deleted": End("idle running deleted", "Workflow deleted by user"),
}


def test_every_recorded_course_is_followed() -> None:
    assert STATUSES.keys() == JOBS.keys() | WORKFLOWS.keys()


class Course:
    """Answers as the recorded service did at this moment."""

    def __init__(self, fake: FakeService, clock: VirtualClock, path: str, names: Iterator[str]) -> None:
        self._clock = clock
        self.recorded = {name: STATUSES[name] for name in names}
        self.ids = {name: states[0]["entry"]["id"] for name, states in self.recorded.items()}
        fake.script("GET", path, self._list)

    def _list(self, request: Received) -> Reply:
        wanted = {int(each) for each in request.query["id"].split(",")}
        found = [self._now(states) for name, states in self.recorded.items() if self.ids[name] in wanted]
        if "detail" not in request.query:
            found = [{field: entry[field] for field in LISTED if field in entry} for entry in found]
        return says(found)

    def _now(self, states: list[dict[str, Any]]) -> Entry:
        passed = [state for state in states if state["seconds"] <= self._clock.elapsed]
        entry: Entry = (passed or states)[-1 if passed else 0]["entry"]
        return entry


class Listener:
    """Notes what is told, and when."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.told: list[tuple[float, Snapshot]] = []
        self.over = threading.Event()

    def hear(self, snapshot: Snapshot) -> None:
        self.told.append((self._clock.elapsed, snapshot))
        if snapshot.has_ended:
            self.over.set()

    def fail(self, _: Exception) -> None:
        self.over.set()


def _check(name: str, listener: Listener, end: End) -> None:
    assert listener.over.wait(LIMIT_S)
    assert " ".join(snapshot.status for _, snapshot in listener.told) == end.statuses, name
    seconds, last = listener.told[-1]
    assert last.reason == end.reason
    assert last.succeeded is end.succeeded  # type: ignore[attr-defined]
    ended = STATUSES[name][-1]["seconds"]
    assert ended <= seconds <= ended + max(0.1, 0.03 * ended), name


def test_jobs_are_followed_to_their_ends(fake: FakeService, session: Session, clock: VirtualClock) -> None:
    course = Course(fake, clock, "/jobs", iter(JOBS))
    listeners = {name: Listener(clock) for name in JOBS}
    jobs = {name: Job(id=one, session=session) for name, one in course.ids.items()}
    with session.watcher._condition:  # the first round sees all
        for name, job in jobs.items():
            job.follow(listeners[name].hear, listeners[name].fail)

    for name, end in JOBS.items():
        _check(name, listeners[name], end)

    asked = len(fake.received)
    for name, end in JOBS.items():
        job = jobs[name]
        assert (job.wait(), job.status_reason) == (end.statuses.split()[-1], end.reason)
        assert (job.exit_codes, job.succeeded) == (end.exit_codes, end.succeeded)
    assert len(fake.received) == asked


def test_workflows_are_followed_to_their_ends(
    fake: FakeService, session: Session, clock: VirtualClock
) -> None:
    course = Course(fake, clock, "/workflows", iter(WORKFLOWS))
    listeners = {name: Listener(clock) for name in WORKFLOWS}
    watcher = session.workflow_watcher
    with watcher._condition:
        for name, one in course.ids.items():
            watcher.watch(one, listeners[name].hear, listeners[name].fail)

    for name, end in WORKFLOWS.items():
        _check(name, listeners[name], end)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_is_waited_for(
    name: str, fake: FakeService, session: Session, clock: VirtualClock
) -> None:
    course = Course(fake, clock, "/workflows", iter([name]))
    workflow = Workflow(id=course.ids[name], session=session)
    end = WORKFLOWS[name]
    assert (workflow.wait(), workflow.status_reason) == (end.statuses.split()[-1], end.reason)
    assert workflow.succeeded is end.succeeded
    assert workflow.progress == STATUSES[name][-1]["entry"]["progress"]
