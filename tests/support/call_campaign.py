"""Calls that are submitted to one rough service by callers with faulty networks, each in a time of its own.

Each call leaves a line in a file when it is made.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, Self

from support.clock import VirtualClock
from support.fault_proxy import FaultProxy
from support.faults import Fault, FaultPlan
from support.until import until

from prominence import ProminenceClient, Resources, Session
from prominence.client.transport import SETTLE_REMOTE_S
from prominence.exceptions import (
    JobFailedError,
    NotFound,
    ProminenceError,
    ServiceError,
    ServiceUnavailable,
    SubmissionUncertain,
)
from prominence.following import bearing_outages
from prominence.snapshot import JobSnapshot, WorkflowSnapshot
from prominence_executors.arrays import ArrayRun
from prominence_executors.call import Outcome
from prominence_executors.calls.modules import Shipment
from prominence_executors.calls.objects import ObjectStore
from prominence_executors.calls.packing import Packer
from prominence_executors.dispatch import Dispatcher
from prominence_executors.fence import Pages
from prominence_executors.groups import Group
from prominence_executors.options import JobOptions
from prominence_executors.submittable import Submittable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from support.service import LocalService

    from prominence import Workflow
    from prominence_executors.call import Call

CALLERS: Final = 4
DRAIN_S: Final = 1200.0
LATE_S: Final = (0.0, 3.0 * SETTLE_REMOTE_S)
FENCES: Final = "prominence/campaign/fences"
PAGES: Final = Pages(FENCES)


def leaving_a_line(runs: Path) -> Callable[[str], str]:
    path = str(runs)

    def make(tag: str) -> str:
        with open(path, "a") as file:  # noqa: PTH123 - one write, whole, also beside others
            file.write(f"{tag}\n")
        return tag

    return make


@dataclass
class Told:
    """One call, and what its caller was told."""

    tag: str
    value: str | None = None
    error: BaseException | None = None

    @property
    def is_told(self) -> bool:
        return self.value is not None or self.error is not None


class Sending(Protocol):
    """Calls that are submitted together, ``size`` of them."""

    size: ClassVar[int]
    told: list[Told]

    def __init__(self, calls: Submittable, make: Callable[[str], str], tags: Sequence[str]) -> None: ...

    def submit(self) -> None: ...

    def finish(self) -> None:
        """Follow the calls to their outcomes."""


def _follow(session: Session, call: Call) -> Outcome:
    """From job to job."""
    while True:
        describe = partial(session.client.describe_job, call.future.job_id or 0)
        found = bearing_outages(describe, session.client, session.outage_tolerance)
        if (outcome := call.outcome_of(session, JobSnapshot(found.entries[0]))) is not None:
            return outcome


class SentAlone:
    """One call, as one job."""

    size: ClassVar[int] = 1

    def __init__(self, calls: Submittable, make: Callable[[str], str], tags: Sequence[str]) -> None:
        self._session = calls.session
        (tag,) = tags
        self.told = [Told(tag)]
        self._call = calls.call(make, (tag,), {})

    def submit(self) -> None:
        try:
            self._call.submit(self._session, PAGES)
        except ProminenceError as error:
            self.told[0].error = error

    def finish(self) -> None:
        (told,) = self.told
        if not told.is_told:
            outcome = _follow(self._session, self._call)
            told.value, told.error = outcome.value, outcome.error


class _AtOnce:
    """In the place of threads."""

    def add(self, work: Callable[[], None]) -> None:
        work()


class SentTogether:
    """An array, which is followed by looking at its workflow now and then."""

    size: ClassVar[int] = 5

    def __init__(self, calls: Submittable, make: Callable[[str], str], tags: Sequence[str]) -> None:
        self._session = calls.session
        self.told = [Told(tag) for tag in tags]
        array = calls.array(make, [[(tag,)] for tag in tags])
        assert array is not None
        self._places = {id(call): told for call, told in zip(array.calls, self.told, strict=True)}
        self._alone: list[Call] = []
        self._workflow: Workflow | None = None
        self._changed: Callable[[WorkflowSnapshot], None]
        self._array = array
        self._run = ArrayRun(
            self._session,
            dict(enumerate(array.calls)),
            _AtOnce(),  # type: ignore[arg-type]
            self,
            follow=self._followed,
        )

    def submit(self) -> None:
        self._run.start(self._array, FENCES)

    def finish(self) -> None:
        while self._workflow is not None and not self._is_over():
            describe = partial(self._session.client.describe_workflow, self._workflow.id or 0)
            found = bearing_outages(describe, self._session.client, self._session.outage_tolerance)
            self._changed(WorkflowSnapshot(found.entries[0]))
        for call in self._alone:
            self._tell(call, _follow(self._session, call))

    def _followed(self, workflow: Workflow, on_change: Callable[[WorkflowSnapshot], None], _: object) -> None:
        self._workflow, self._changed = workflow, on_change

    def _is_over(self) -> bool:
        alone = {id(call) for call in self._alone}
        return all(told.is_told or call in alone for call, told in self._places.items())

    def _tell(self, call: Call, outcome: Outcome | None) -> None:
        if outcome is None:  # another job has it
            self._alone.append(call)
            return
        told = self._places[id(call)]
        assert not told.is_told
        told.value, told.error = None, outcome.error
        if outcome.error is None:
            told.value, told.error = outcome.value[0].value, outcome.value[0].error

    def on_change(self, call: Call, snapshot: JobSnapshot) -> None:
        self._tell(call, call.outcome_of(self._session, snapshot))

    def on_loss(self, call: Call, error: BaseException) -> None:
        if isinstance(error, NotFound | JobFailedError) and call.fence is not None:
            self._tell(call, call.outcome_without_job(self._session, error))
        else:
            self._tell(call, Outcome(error=error))

    def on_left_out(self, call: Call) -> None:
        try:
            call.submit(self._session, PAGES)
        except ProminenceError as error:
            self._places[id(call)].error = error
        else:
            self._alone.append(call)

    def on_left_over(self, call: Call) -> None:
        self._alone.append(call)


class Caller:
    """Somebody with a network, a time and calls of their own."""

    def __init__(self, service: LocalService, number: int, seed: int) -> None:
        self.sendings: list[Sending] = []
        self._number = number
        self._open = ExitStack()
        self.clock = VirtualClock()
        self.plan = FaultPlan(seed + number, LATE_S)
        self.proxy = self._open.enter_context(FaultProxy(service.endpoint.url, self.plan, self.clock))
        client = ProminenceClient(
            self.proxy.url, service.endpoint.token, clock=self.clock, random=Random(self.plan.seed)
        )
        self._open.callback(client.close)
        self._session = self._open.enter_context(Session(client=client, clock=self.clock))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def submit(self, kind: type[Sending], count: int, runs: Path) -> None:
        options = JobOptions().changed({"resources": Resources(cpus=1, memory=1), "ship": None})
        packer = Packer(ObjectStore(self._session.client, "campaign"), Shipment(None))
        calls = Submittable(options, self._session, packer, "fence", Group(Dispatcher(self._session, count)))
        for first in range(0, count, kind.size):
            tags = [f"{self._number}-{ordinal}" for ordinal in range(first, first + kind.size)]
            self.sendings.append(kind(calls, leaving_a_line(runs), tags))
            self.sendings[-1].submit()

    def finish(self) -> None:
        """Ask for all outcomes, with the same network; what is late arrives, too."""
        for sending in self.sendings:
            sending.finish()
        self.proxy.settle(10 * SETTLE_REMOTE_S)


@dataclass
class Campaign:
    service: LocalService
    runs_file: Path
    kind: type[Sending]
    callers: list[Caller] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)

    def run(self, count: int, seed: int) -> None:
        with ExitStack() as opened:
            for number in range(CALLERS):
                self.callers.append(opened.enter_context(Caller(self.service, number, seed)))
            submit = partial(Caller.submit, kind=self.kind, count=count // CALLERS, runs=self.runs_file)
            with ThreadPoolExecutor(CALLERS) as threads:
                list(threads.map(submit, self.callers))
            for caller in self.callers:
                caller.clock.sleep(10 * SETTLE_REMOTE_S)
            self._drain()
            with ThreadPoolExecutor(CALLERS) as threads:
                list(threads.map(Caller.finish, self.callers))
            self._drain()
        self.runs.update(self.runs_file.read_text().split())

    def _drain(self) -> None:
        until(lambda: not any(self.service.get(path).json() for path in ("/workflows", "/jobs")), DRAIN_S)

    @property
    def told(self) -> list[Told]:
        return [told for caller in self.callers for sending in caller.sendings for told in sending.told]

    def check(self) -> None:
        """Each call was made once at most, and its caller told the truth of it."""
        assert [tag for tag, times in self.runs.items() if times > 1] == []
        assert [told.tag for told in self.told if not told.is_told] == []
        with_value = [told for told in self.told if told.error is None]
        assert [told.tag for told in with_value if told.value != told.tag or not self.runs[told.tag]] == []
        told_no = [told for told in self.told if isinstance(told.error, ServiceUnavailable | ServiceError)]
        assert [told.tag for told in told_no if self.runs[told.tag]] == []
        others = [told.error for told in self.told if told.error is not None and told not in told_no]
        assert [error for error in others if not isinstance(error, SubmissionUncertain)] == []
        assert len(with_value) > len(self.told) / 2

    def figures(self) -> str:
        faults = sum((caller.plan.injected for caller in self.callers), Counter[Fault]())
        requests = [each for caller in self.callers for each in caller.proxy.received]
        lost = self._lost_by_the_fence()
        told = Counter(type(each.error).__name__ if each.error else "a value" for each in self.told)
        fences = sum(each.path.startswith("/kv/") for each in requests)
        return "\n".join(
            [
                f"{len(self.told)} calls, {sum(faults.values()) - faults[Fault.NONE]} faults",
                *(f"  {number:6d} told {what}" for what, number in sorted(told.items())),
                f"  {lost:6d} jobs that lost to their twins, {max(self.runs.values())} run of a call at most",
                f"  {len(requests) / len(self.told):6.1f} requests each, {fences} for fences in all",
            ]
        )

    def _lost_by_the_fence(self) -> int:
        entries = self.service.get("/jobs", all="true", detail="true").json()
        codes = [task["exitCode"] for entry in entries for task in entry["execution"].get("tasks", [])]
        return codes.count(92)
