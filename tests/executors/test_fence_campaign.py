"""Function calls through networks that do their worst: none has two owners, and none is told wrongly.

In the first campaign callers, each in its own virtual time and behind its own faulty proxy, submit calls to
one real local service that knows no submission from another. Each call leaves a line in a file when it is
made. In the second one the jobs' side is put to the test: several jobs claim the same keys in a store that
drops and delays what it is told.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final, Self

import pytest
from support.clock import VirtualClock
from support.fake_service import RESET, FakeService, Received, Reply, page, refuses, says
from support.fault_proxy import FaultProxy
from support.faults import Fault, FaultPlan
from support.service import LocalService
from support.until import until

from prominence import ProminenceClient, Resources, Session
from prominence.client.transport import SETTLE_REMOTE_S
from prominence.exceptions import ProminenceError, ServiceError, ServiceUnavailable, SubmissionUncertain
from prominence.following import bearing_outages
from prominence.snapshot import JobSnapshot
from prominence_executors.calls.modules import Shipment
from prominence_executors.calls.objects import ObjectStore
from prominence_executors.calls.packing import Packer
from prominence_executors.fence import Pages
from prominence_executors.options import JobOptions
from prominence_executors.runner.fence import FREE, OTHERS, OURS, Fence
from prominence_executors.runner.store import Store
from prominence_executors.submittable import Submittable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prominence_executors.attempts import Call

CALLERS: Final = 4
CPUS: Final = 8
DRAIN_S: Final = 1200.0
LATE_S: Final = (0.0, 3.0 * SETTLE_REMOTE_S)
PAGES: Final = Pages("prominence/campaign/fences")


def making(tag: str, runs: Path) -> Callable[[], str]:
    path = str(runs)

    def make() -> str:
        with open(path, "a") as file:  # noqa: PTH123 - one write, whole, also beside others
            file.write(f"{tag}\n")
        return tag

    return make


@dataclass
class Case:
    """One call, and what its caller was told."""

    tag: str
    call: Call
    value: str | None = None
    error: BaseException | None = None

    def submit(self, session: Session) -> None:
        try:
            self.call.submit(session, PAGES)
        except ProminenceError as error:
            self.error = error

    def finish(self, session: Session) -> None:
        """Follow the call, from job to job, to its outcome."""
        while self.error is None and self.value is None:
            describe = partial(session.client.describe_job, self.call.job.id or 0)
            found = bearing_outages(describe, session.client, session.outage_tolerance)
            outcome = self.call.outcome_of(session, JobSnapshot(found.entries[0]))
            if outcome is not None:
                self.value, self.error = outcome.value, outcome.error


class Caller:
    """Somebody with a network, a time and calls of their own."""

    def __init__(self, service: LocalService, number: int, seed: int) -> None:
        self.cases: list[Case] = []
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

    def submit(self, count: int, runs: Path) -> None:
        options = JobOptions().changed({"resources": Resources(cpus=1, memory=1), "ship": None})
        packer = Packer(ObjectStore(self._session.client, "campaign"), Shipment(None))
        calls = Submittable(options, self._session, packer, "fence")
        for ordinal in range(count):
            tag = f"{self._number}-{ordinal}"
            self.cases.append(Case(tag, calls.call(making(tag, runs), (), {})))
            self.cases[-1].submit(self._session)

    def finish(self) -> None:
        """Ask for all outcomes, with the same network; what is late arrives, too."""
        for case in self.cases:
            case.finish(self._session)
        self.proxy.settle(10 * SETTLE_REMOTE_S)


@dataclass
class Campaign:
    service: LocalService
    runs_file: Path
    callers: list[Caller] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)

    def run(self, count: int, seed: int) -> None:
        with ExitStack() as opened:
            for number in range(CALLERS):
                self.callers.append(opened.enter_context(Caller(self.service, number, seed)))
            with ThreadPoolExecutor(CALLERS) as threads:
                list(threads.map(lambda one: one.submit(count // CALLERS, self.runs_file), self.callers))
            for caller in self.callers:
                caller.clock.sleep(10 * SETTLE_REMOTE_S)
            self._drain()
            with ThreadPoolExecutor(CALLERS) as threads:
                list(threads.map(Caller.finish, self.callers))
            self._drain()
        self.runs.update(self.runs_file.read_text().split())

    def _drain(self) -> None:
        until(lambda: not self.service.get("/jobs").json(), DRAIN_S)

    @property
    def cases(self) -> list[Case]:
        return [case for caller in self.callers for case in caller.cases]

    def figures(self) -> str:
        faults = sum((caller.plan.injected for caller in self.callers), Counter[Fault]())
        requests = [each for caller in self.callers for each in caller.proxy.received]
        lost = self._lost_by_the_fence()
        told = Counter(type(case.error).__name__ if case.error else "a value" for case in self.cases)
        fences = sum(each.path.startswith("/kv/") for each in requests)
        return "\n".join(
            [
                f"{len(self.cases)} calls, {sum(faults.values()) - faults[Fault.NONE]} faults",
                *(f"  {number:6d} told {what}" for what, number in sorted(told.items())),
                f"  {lost:6d} jobs that lost to their twins, {max(self.runs.values())} run of a call at most",
                f"  {len(requests) / len(self.cases):6.1f} requests each, {fences} for fences in all",
            ]
        )

    def _lost_by_the_fence(self) -> int:
        entries = self.service.get("/jobs", all="true", detail="true").json()
        codes = [task["exitCode"] for entry in entries for task in entry["execution"].get("tasks", [])]
        return codes.count(92)


@pytest.fixture
def rough(tmp_path: Path) -> Iterator[LocalService]:
    with LocalService(tmp_path / "rough", cpus=CPUS, memory=64, rough=True) as running:
        yield running


@pytest.fixture(params=[pytest.param(40, id="small"), pytest.param(1000, id="full", marks=pytest.mark.full)])
def count(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_no_call_is_made_twice_or_told_wrongly(
    count: int, rough: LocalService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = Campaign(rough, tmp_path / "runs")
    campaign.run(count, seed=40_000)
    with capsys.disabled():
        print(f"\n{campaign.figures()}")  # noqa: T201 - they are what a campaign is for

    assert [tag for tag, times in campaign.runs.items() if times > 1] == []
    with_value = [case for case in campaign.cases if case.error is None]
    assert [case.tag for case in with_value if case.value != case.tag or not campaign.runs[case.tag]] == []
    told_no = [case for case in campaign.cases if isinstance(case.error, ServiceUnavailable | ServiceError)]
    assert [case.tag for case in told_no if campaign.runs[case.tag]] == []
    others = [case.error for case in campaign.cases if case.error is not None and case not in told_no]
    assert [error for error in others if not isinstance(error, SubmissionUncertain)] == []
    assert len(with_value) > count / 2


class ForgetfulStore(FakeService):
    """A key-value store whose requests and answers are dropped, or arrive after others."""

    def __init__(self, seed: int) -> None:
        self.values: dict[str, str] = {}
        self._random = Random(seed)
        self._lock = threading.Lock()
        self._late: list[tuple[int, Received]] = []
        self._count = 0
        super().__init__()

    def answer(self, request: Received) -> Reply:
        with self._lock:
            self._count += 1
            for due, late in [each for each in self._late if each[0] <= self._count]:
                self._late.remove((due, late))
                self._done(late)
            fate = self._random.choice(["done"] * 4 + ["lost", "dropped", "away", "late"])
            if fate == "late":
                self._late.append((self._count + self._random.randrange(1, 30), request))
            reply = self._done(request) if fate in {"done", "lost"} else page(503)
            return RESET if fate in {"lost", "dropped", "late"} else reply

    def _done(self, request: Received) -> Reply:
        key = request.path.removeprefix("/kv/")
        if request.method == "GET":
            return Reply(body=self.values[key].encode())
        if request.query["prev"] != self.values[key]:
            return refuses("Atomic replacement not successful")
        self.values[key] = request.body.decode()
        return says({}, 201)


@pytest.mark.parametrize(
    "keys", [pytest.param(100, id="small"), pytest.param(3000, id="full", marks=pytest.mark.full)]
)
def test_no_key_has_two_owners(keys: int) -> None:
    with ForgetfulStore(seed=50_000) as store:
        store.values = {f"key{number}": FREE for number in range(keys)}

        def claim(owner: str) -> dict[str, Any]:
            clock = VirtualClock()
            at = Store(store.url, "a-token")
            return {
                key: Fence(at, key, owner, monotonic=clock.monotonic, sleep=clock.sleep).claim()
                for key in sorted(store.values, key=lambda key: hash((owner, key)))
            }

        owners = ["17", "18", "19", "20"]
        with ThreadPoolExecutor(len(owners)) as threads:
            verdicts = dict(zip(owners, threads.map(claim, owners), strict=True))

    for key in store.values:
        winners = [owner for owner in owners if verdicts[owner][key] == OURS]
        assert len(winners) == 1, key
        assert {verdicts[owner][key] for owner in owners} == {OURS, OTHERS}
        assert store.values[key].split(":")[0] == winners[0]
