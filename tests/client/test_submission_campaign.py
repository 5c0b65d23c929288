"""Submitting through a network that does its worst: nothing is lost, nothing runs twice unsaid.

Several clients, each in its own virtual time and behind its own faulty proxy, submit jobs and workflows to
one real local service that is no kinder than a remote one. Every command leaves a line in a file when it
runs; in the end the file, the service's listings and what the clients were told must agree.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final, Self

import pytest
from support.clock import VirtualClock
from support.fault_proxy import FaultProxy
from support.faults import Fault, FaultPlan
from support.service import LocalService
from support.until import until

from prominence import Job, ProminenceClient, Resources, Session, Task, Workflow
from prominence.client.transport import SETTLE_REMOTE_S
from prominence.description.rules import SUBMISSION_LABEL
from prominence.exceptions import DuplicateRun, ServiceError, ServiceUnavailable, SubmissionUncertain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIENTS: Final = 4
CPUS: Final = 8
DRAIN_S: Final = 600.0
WITHIN: Final = (0.0, 0.9 * SETTLE_REMOTE_S)
BEYOND: Final = (1.0 * SETTLE_REMOTE_S, 3.0 * SETTLE_REMOTE_S)
CREATED, DID_NOT_ARRIVE, DUPLICATE = "created", "did not arrive", "duplicate reported"


@dataclass
class Case:
    """One submission, and what its caller was told."""

    tag: str
    thing: Job | Workflow
    told: str = ""
    uncertain: int = 0
    tags_told: set[str | None] = field(default_factory=set)

    def create(self) -> None:
        for _ in range(20):
            try:
                self.thing.create()
            except SubmissionUncertain as error:
                self.tags_told.add(error.tag)
                self.uncertain += 1
            except DuplicateRun as error:
                self.tags_told.add(error.tag)
                self.told = DUPLICATE
                return
            except (ServiceUnavailable, ServiceError):
                self.told = DID_NOT_ARRIVE
                return
            else:
                self.told = CREATED
                return
        pytest.fail(f"{self.tag} remains uncertain")

    def wait(self) -> None:
        """Ask how it ended, which also tells of a twin that came late."""
        if self.told == CREATED:
            assert self.thing.done()
            try:
                assert self.thing.wait() == "completed"
            except DuplicateRun:
                self.told = DUPLICATE


class FaultyClient:
    """A client with its network, its time and its submissions."""

    def __init__(self, service: LocalService, number: int, plan: FaultPlan, runs: Path) -> None:
        self.plan = plan
        self.cases: list[Case] = []
        self._number = number
        self._runs = runs
        self._random = Random(plan.seed)
        self._open = ExitStack()
        self.clock = VirtualClock()
        self.proxy = self._open.enter_context(FaultProxy(service.endpoint.url, plan, self.clock))
        client = ProminenceClient(
            self.proxy.url,
            service.endpoint.token,
            clock=self.clock,
            random=Random(plan.seed),
            new_tag=lambda: self.cases[-1].tag,
        )
        self._open.callback(client.close)
        self._session = self._open.enter_context(Session(client=client, clock=self.clock))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def submit(self, count: int) -> None:
        for ordinal in range(count):
            tag = f"{self._number:02x}{ordinal:06x}"
            self.cases.append(Case(tag, self._thing(tag)))
            self.cases[-1].create()

    def settle(self) -> None:
        """Let everything arrive that is still under way, and submit again what was said not to have."""
        self.proxy.settle(10 * SETTLE_REMOTE_S)
        for case in self.cases:
            if self.plan.late_s is BEYOND and case.told == DID_NOT_ARRIVE:
                case.create()

    def _thing(self, tag: str) -> Job | Workflow:
        needs_all = self._random.random() < 0.1  # and so it is queued behind the one that runs all the time
        resources = Resources(cpus=CPUS if needs_all else 1, memory=1, disk=1)
        task = Task(image="none", command=f'sh -c "echo {tag} >> {self._runs}"')
        if self._random.random() < 0.2:
            job = Job(name="only", resources=resources, tasks=[task])
            return Workflow(name="campaign", jobs=[job], session=self._session)
        return Job(resources=resources, tasks=[task], session=self._session)


@dataclass
class Campaign:
    """All clients, and afterwards what the service has of each submission."""

    service: LocalService
    runs_file: Path
    late_s: tuple[float, float] = WITHIN
    clients: list[FaultyClient] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    entries: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def run(self, count: int, late_s: tuple[float, float], seed: int) -> None:
        self.late_s = late_s
        blocker = self.service.post_job("sleep 3600")
        until(lambda: self.service.describe(blocker)["status"] == "running")
        with ExitStack() as opened:
            for number in range(CLIENTS):
                plan = FaultPlan(seed + number, self.late_s)
                client = FaultyClient(self.service, number, plan, self.runs_file)
                self.clients.append(opened.enter_context(client))
            with ThreadPoolExecutor(CLIENTS) as threads:
                list(threads.map(lambda client: client.submit(count // CLIENTS), self.clients))
            self.service.request("DELETE", f"/jobs/{blocker}")
            for client in self.clients:
                client.settle()
            until(lambda: not self._active(), DRAIN_S)
            for case in self.cases:
                case.wait()
        self._look()

    @property
    def cases(self) -> Iterator[Case]:
        return (case for client in self.clients for case in client.cases)

    def _active(self) -> list[Any]:
        active: list[Any] = self.service.get("/jobs").json() + self.service.get("/workflows").json()
        return active

    def _look(self) -> None:
        self.runs.update(self.runs_file.read_text().split())
        for path in ("/jobs", "/workflows"):
            for entry in self.service.get(path, all="true", detail="true").json():
                if (tag := entry.get("labels", {}).get(SUBMISSION_LABEL)) is not None:
                    self.entries.setdefault(tag, []).append(entry)

    def lost(self) -> list[str]:
        """Submissions that were accepted, or are said to be there, and did not run."""
        return [case.tag for case in self.cases if case.told != DID_NOT_ARRIVE and not self.runs[case.tag]]

    def unsaid(self) -> list[str]:
        """Submissions that ran more than once though nobody was told."""
        return [case.tag for case in self.cases if self.runs[case.tag] > 1 and case.told != DUPLICATE]

    def wrongly_denied(self) -> list[str]:
        """Submissions that are there though their callers were told that they did not arrive."""
        return [case.tag for case in self.cases if case.told == DID_NOT_ARRIVE and case.tag in self.entries]

    def wrongly_named(self) -> list[str]:
        """Submissions whose errors name another tag."""
        return [case.tag for case in self.cases if not case.tags_told <= {case.tag}]

    def wrongly_identified(self) -> list[str]:
        """Submissions whose id is not that of what ran."""
        return [
            case.tag
            for case in self.cases
            if case.told == CREATED
            and case.thing.id not in {entry["id"] for entry in self.entries[case.tag] if _ran(entry)}
        ]

    def figures(self) -> str:
        faults = sum((client.plan.injected for client in self.clients), Counter[Fault]())
        told = Counter(case.told for case in self.cases)
        requests = Counter(each.method for client in self.clients for each in client.proxy.received)
        count = sum(told.values())
        twins = sum(len(entries) > 1 for entries in self.entries.values())
        lines = [
            f"{count} submissions; late ones arrive {self.late_s[0]:.0f} to {self.late_s[1]:.0f} s later",
            *(f"  {faults[fault]:6d} x {fault.value}" for fault in Fault),
            *(f"  {number:6d} {what}" for what, number in sorted(told.items())),
            f"  {sum(case.uncertain for case in self.cases):6d} times uncertain, resolved by create()",
            f"  {twins:6d} arrived twice, {sum(times > 1 for times in self.runs.values())} ran twice",
            f"  {sum(requests.values()) / count:6.1f} requests each ({dict(requests)})",
        ]
        return "\n".join(lines)


def _ran(entry: dict[str, Any]) -> bool:
    return entry["status"] == "completed"


@pytest.fixture
def rough(tmp_path: Path) -> Iterator[LocalService]:
    with LocalService(tmp_path / "rough", cpus=CPUS, memory=64, rough=True) as running:
        yield running


@pytest.fixture(params=[pytest.param(60, id="small"), pytest.param(2000, id="full", marks=pytest.mark.full)])
def count(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def campaign(rough: LocalService, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Campaign]:
    campaign = Campaign(rough, tmp_path / "runs")
    yield campaign
    with capsys.disabled():
        print(f"\n{campaign.figures()}")  # noqa: T201 - they are what a campaign is for


def test_every_submission_runs_once_if_it_arrives_within_the_settle_window(
    count: int, campaign: Campaign
) -> None:
    campaign.run(count, WITHIN, seed=20_000)
    assert campaign.lost() == []
    assert campaign.wrongly_denied() == []
    assert campaign.wrongly_identified() == []
    assert campaign.wrongly_named() == []
    assert [case.tag for case in campaign.cases if case.told == DUPLICATE] == []
    assert [tag for tag, times in campaign.runs.items() if times > 1] == []


def test_no_submission_runs_twice_unsaid_even_if_it_arrives_later(count: int, campaign: Campaign) -> None:
    campaign.run(count, BEYOND, seed=30_000)
    assert campaign.lost() == []
    assert campaign.unsaid() == []
    assert campaign.wrongly_identified() == []
    assert campaign.wrongly_named() == []
