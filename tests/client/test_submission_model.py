"""The protocol of submission against a model of a service, for any course of events hypothesis thinks of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import VirtualClock

from prominence.client.answers import Answer
from prominence.client.retry import Happened, RequestFailed
from prominence.client.submission import Submission
from prominence.client.submitting import check_single, submit
from prominence.client.trouble import Trouble
from prominence.description.rules import SUBMISSION_LABEL
from prominence.exceptions import DuplicateRun, ServiceError, ServiceUnavailable, SubmissionUncertain

if TYPE_CHECKING:
    from prominence.client.transport import Request, Transport

WINDOW_S = 100.0
RUNS_FOR_S = 5.0
LATENCY_S = 0.4


class Event(Enum):
    """What may happen to a request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    NOT_SENT = "not sent"
    LOST = "lost on its way"
    ANSWER_LOST = "done, but the answer lost"
    LATE = "lost, and done later"
    OVERLOOKED = "answered without what is on its way to the history"


@dataclass
class ModelJob:
    id: int
    tag: str
    created: float
    begins: float
    deleted: float = float("inf")

    def entry(self, now: float) -> dict[str, Any]:
        times: dict[str, float] = {"createTime": self.created}
        has_begun = self.begins <= min(now, self.deleted)
        status = "running" if has_begun else "idle"
        if has_begun:
            times["startTime"] = self.begins
            if now >= self.begins + RUNS_FOR_S:
                status, times["endTime"] = "completed", self.begins + RUNS_FOR_S
        if self.deleted <= now and status != "completed":
            status, times["endTime"] = "deleted", self.deleted
        return {"id": self.id, "status": status, "events": times, "labels": {SUBMISSION_LABEL: self.tag}}

    @property
    def runs(self) -> bool:
        return self.begins <= self.deleted


@dataclass
class ModelService:
    """Stands in for a transport and the service behind it."""

    posts: list[Event]
    others: list[Event]
    late_s: list[float]
    waits_s: list[float]
    clock: VirtualClock = field(default_factory=VirtualClock)
    trouble: Trouble = field(init=False)
    random: Random = field(default_factory=lambda: Random(1))
    settle_s: float = WINDOW_S
    features: frozenset[str] = frozenset()
    jobs: list[ModelJob] = field(default_factory=list)
    under_way: list[tuple[float, str]] = field(default_factory=list)
    was_overlooked: bool = False

    def __post_init__(self) -> None:
        self.trouble = Trouble("the service", self.clock)

    def attempt(self, request: Request, deadline_s: float = 60.0) -> Answer:
        self.let_pass(LATENCY_S)
        events = self.posts if request.method == "POST" else self.others
        event = events.pop(0) if events else Event.ANSWERED
        if event is Event.NOT_SENT:
            self.clock.advance(deadline_s)
            raise RequestFailed(Happened.NOT_SENT, ServiceUnavailable("refused"))
        if event is Event.REFUSED and request.method == "POST":
            raise RequestFailed(Happened.REFUSED, ServiceError("no", status=400))
        if event is Event.LATE and request.method == "POST":
            self.under_way.append((self.clock.elapsed + self.late_s.pop(0), _tag(request)))
        if event in {Event.LOST, Event.LATE}:
            raise RequestFailed(Happened.LOST, ServiceUnavailable("reset"))
        answer = self._answer(request, overlooks=event is Event.OVERLOOKED and not self.was_overlooked)
        self.was_overlooked = event is Event.OVERLOOKED
        if event is Event.ANSWER_LOST:
            raise RequestFailed(Happened.LOST, ServiceUnavailable("reset"))
        return Answer(200, {}, json.dumps(answer).encode())

    def send(self, request: Request, deadline_s: float = 60.0) -> Answer:
        try:
            return self.attempt(request, deadline_s)
        except RequestFailed as failed:
            raise failed.error from None

    def let_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self._arrive()

    def _answer(self, request: Request, *, overlooks: bool) -> object:
        now = self.clock.elapsed
        if request.method == "POST":
            return {"id": self._accept(_tag(request), now)}
        if request.path == "/jobs":
            return [job.entry(now) for job in self.jobs if not overlooks]
        job = self.jobs[int(request.path.rpartition("/")[2]) - 1]
        if request.method == "DELETE":
            job.deleted = min(job.deleted, now)
            return {}
        return [job.entry(now)]

    def _accept(self, tag: str, now: float) -> int:
        wait_s = self.waits_s[len(self.jobs) % len(self.waits_s)]
        self.jobs.append(ModelJob(len(self.jobs) + 1, tag, now, now + wait_s))
        return len(self.jobs)

    def _arrive(self) -> None:
        for due, tag in [each for each in self.under_way if each[0] <= self.clock.elapsed]:
            self.under_way.remove((due, tag))
            self._accept(tag, due)


def _tag(request: Request) -> str:
    return str(json.loads(request.body or b"")["labels"][SUBMISSION_LABEL])


def told(service: ModelService, submission: Submission) -> int | str:
    """What a caller hears who goes on until there is no doubt: an id, or how it failed."""
    while True:
        try:
            return submit(cast("Transport", service), "/jobs", {"name": "x"}, submission).id
        except SubmissionUncertain as error:
            assert error.tag == submission.tag  # noqa: PT017 - it goes on
        except DuplicateRun:
            return "twice"
        except (ServiceError, ServiceUnavailable):
            return "not there"


_REPEATED = st.builds(lambda event, times: [event] * times, st.sampled_from(Event), st.integers(1, 12))


def services(latest_s: float) -> st.SearchStrategy[ModelService]:
    return st.builds(
        ModelService,
        posts=st.lists(st.sampled_from(Event), max_size=6),
        others=st.lists(_REPEATED, max_size=6).map(lambda runs: [event for run in runs for event in run]),
        late_s=st.lists(st.floats(0, latest_s), min_size=25, max_size=25),
        waits_s=st.lists(st.sampled_from([0.0, 1.5, 30.0, 1e6]), min_size=1, max_size=3),
    )


@settings(max_examples=150, deadline=None)
@given(services(0.9 * WINDOW_S))
def test_what_arrives_within_the_window_runs_once(service: ModelService) -> None:
    outcome = told(service, Submission("feed"))
    service.let_pass(100 * WINDOW_S)
    assert [job.id for job in service.jobs] == ([outcome] if outcome != "not there" else [])


@settings(max_examples=150, deadline=None)
@given(services(5 * WINDOW_S))
def test_what_arrives_later_does_not_run_twice_unsaid(service: ModelService) -> None:
    submission = Submission("feed")
    outcome = told(service, submission)
    service.posts.clear()
    service.others.clear()
    service.let_pass(100 * WINDOW_S)
    if outcome == "not there":
        outcome = told(service, submission)
        service.let_pass(100 * WINDOW_S)
    running = [job.id for job in service.jobs if job.runs]
    if len(running) > 1 and outcome != "twice":
        try:
            check_single(cast("Transport", service), "/jobs", submission)
        except DuplicateRun as error:
            outcome = "twice"
            assert set(error.ids) == set(running)  # noqa: PT017 - it goes on
    assert outcome == "twice" if len(running) > 1 else outcome in {*running, "twice"}
