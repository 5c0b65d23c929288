"""An array when the store is away, answers are lost, or workflows arrive late or twice."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.arrays import array_of, value
from support.clock import VirtualClock
from support.fake_service import RESET, Received, Reply, page, refuses, says
from support.fake_store import AWAY, DROPPED, LOST, FakeStore, Trouble
from support.faked import executor_at
from support.recorded_statuses import ENDS

from prominence.exceptions import (
    CallLost,
    FeatureDisabled,
    ServiceError,
    ServiceUnavailable,
    SubmissionUncertain,
)
from prominence_executors.runner import main as runner
from prominence_executors.runner.fence import CLOSED, FREE, VARIABLE, gate_of, key_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prominence_executors import ProminenceExecutor

SUCCESS: Final = ENDS["success"]
CALLS: Final = 5
WORKFLOW: Final = 800
TWIN: Final = 900
SINGLE: Final = 1000
NONCE: Final = "0123456789abcde1"


def committed(number: int) -> str:
    content = [
        *runner.record({"kind": "started", "items": 1, "nonce": NONCE}),
        *runner.record({"kind": "values", "count": 1}, *runner.dumps([number])),
    ]
    return base64.b64encode(b"".join(content)).decode() + "."


class Workflows:
    """The fake service's: ``makes_calls`` is that whose jobs make all calls as soon as it arrives."""

    def __init__(self, fake: FakeStore) -> None:
        self.fake = fake
        self.makes_calls: int | None = WORKFLOW
        self.posted = says({"id": WORKFLOW}, 201)
        self.looked_up = says([])
        self.arrays: list[str] = []
        self.indexes: list[int] = []
        self.singles: list[dict[str, Any]] = []
        fake.script("GET", "/resources", says({"existing": []}))
        fake.script("POST", "/workflows", self._post)
        fake.script("POST", "/jobs", self._post_single)
        fake.script("GET", "/workflows", self._list)
        fake.script("GET", "/jobs", self._jobs)
        for workflow in (WORKFLOW, TWIN):
            fake.script("GET", f"/workflows/{workflow}", lambda _, each=workflow: says([self._ended(each)]))

    @property
    def gate(self) -> str:
        return self.fake.values[gate_of(self.arrays[-1])]

    def keys(self) -> list[str]:
        return [key_in(self.arrays[-1], index) for index in self.indexes]

    def make_calls(self) -> None:
        """As the jobs of the workflow do."""
        assert self.makes_calls is not None
        self.fake.values[gate_of(self.arrays[-1])] = f"{self.makes_calls}.{self._job(0)}:{NONCE}"
        for key, index in zip(self.keys(), self.indexes, strict=True):
            claim = f"{self.makes_calls}.{self._job(index)}:{NONCE}"
            self.fake.values[key] = f"{claim}:{committed(index)}"

    def _post(self, request: Received) -> Reply:
        (template,), (factory,) = request.json()["jobs"], request.json()["factories"]
        self.arrays.append(template["tasks"][0]["env"][VARIABLE].split()[0])
        self.indexes = factory["parameters"][0]["values"]
        assert self.gate == FREE
        assert [self.fake.values[key] for key in self.keys()] == [FREE] * len(self.indexes)
        if self.makes_calls is not None:
            self.make_calls()
        return self.posted

    def _post_single(self, request: Received) -> Reply:
        task = request.json()["tasks"][0]
        job, index = SINGLE + len(self.singles), int(task["cmd"].split()[-1])
        self.singles.append(request.json())
        key = task["env"][VARIABLE].split()[0]
        self.fake.values[key] = f"{job}:{NONCE}:{committed(index)}"
        return says({"id": job}, 201)

    def _list(self, request: Received) -> Reply:
        if "constraint" in request.query:
            return self.looked_up
        return says([self._ended(int(each)) for each in request.query["id"].split(",")])

    def _jobs(self, request: Received) -> Reply:
        ids = [int(each) for each in request.query["id"].split(",")]
        if "workflow" not in request.query:
            return says([{**SUCCESS, "id": each} for each in ids])
        entries = [
            {**SUCCESS, "id": ids[0] + 1 + index, "parameters": {"index": index}} for index in self.indexes
        ]
        return says(entries)

    def _job(self, index: int) -> int:
        return (self.makes_calls or 0) + 1 + index

    def _ended(self, workflow: int) -> dict[str, Any]:
        count = len(self.indexes)
        progress = {"total": count, "done": count, "failed": 0, "queued": 0, "waiting": 0}
        return {"id": workflow, "name": "len", "status": "completed", "progress": progress}


@pytest.fixture
def fake() -> Iterator[FakeStore]:
    with FakeStore() as store:
        yield store


@pytest.fixture
def workflows(fake: FakeStore) -> Workflows:
    return Workflows(fake)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def executor(fake: FakeStore, clock: VirtualClock) -> Iterator[ProminenceExecutor]:
    with executor_at(fake, clock) as executor:
        yield executor


def outcomes(executor: ProminenceExecutor) -> list[Any]:
    """The values, or exceptions, of an array's calls."""
    futures = array_of(executor, abs, range(CALLS))
    return [future.exception(120) or value(future) for future in futures]


def test_what_was_committed_is_the_outcome(executor: ProminenceExecutor, workflows: Workflows) -> None:
    assert outcomes(executor) == list(range(CALLS))
    assert workflows.singles == []


class TestMaking:
    @pytest.mark.parametrize("trouble", [LOST, DROPPED, AWAY])
    def test_calls_whose_keys_may_be_written_late_are_sent_alone(
        self, trouble: Trouble, executor: ProminenceExecutor, workflows: Workflows
    ) -> None:
        workflows.fake.troubles.extend([None, None, trouble, None, trouble])

        assert outcomes(executor) == list(range(CALLS))

        assert workflows.indexes == [0, 2, 4]
        assert {int(each["tasks"][0]["cmd"].split()[-1]) for each in workflows.singles} == {1, 3}
        used = {each["tasks"][0]["env"][VARIABLE].split()[0] for each in workflows.singles}
        assert not used & {key_in(workflows.arrays[-1], index) for index in range(CALLS)}

    def test_a_gate_that_may_be_written_late_is_not_used(
        self, executor: ProminenceExecutor, workflows: Workflows
    ) -> None:
        workflows.fake.troubles.append(LOST)

        assert outcomes(executor) == list(range(CALLS))

        gates = [key for key, _ in workflows.fake.writes if key.endswith("/gate")]
        assert len(set(gates)) == 2
        assert gates[-1] == gate_of(workflows.arrays[-1])

    def test_all_may_be_sent_alone(self, executor: ProminenceExecutor, workflows: Workflows) -> None:
        workflows.fake.troubles.extend([None, *[LOST] * CALLS])

        assert outcomes(executor) == list(range(CALLS))
        assert workflows.arrays == []
        assert len(workflows.singles) == CALLS

    def test_without_a_store_for_a_minute_nothing_is_sent(
        self, executor: ProminenceExecutor, workflows: Workflows, clock: VirtualClock
    ) -> None:
        workflows.fake.troubles.extend([AWAY] * 1000)

        assert [type(each) for each in outcomes(executor)] == [ServiceUnavailable] * CALLS
        assert 50 <= clock.elapsed <= 120
        assert (workflows.arrays, workflows.singles) == ([], [])

    def test_a_store_that_is_switched_off_meanwhile(
        self, executor: ProminenceExecutor, workflows: Workflows
    ) -> None:
        off = Trouble(refuses("Functionality disabled", 401), has_effect=False)
        workflows.fake.troubles.extend([None, None, off])

        assert [type(each) for each in outcomes(executor)] == [FeatureDisabled] * CALLS
        assert (workflows.arrays, workflows.singles) == ([], [])


class TestSubmitting:
    def test_what_may_still_arrive_is_never_begun(
        self, executor: ProminenceExecutor, workflows: Workflows
    ) -> None:
        workflows.makes_calls, workflows.posted, workflows.looked_up = None, RESET, page(503)

        for error in outcomes(executor):
            assert isinstance(error, ServiceUnavailable)
            assert isinstance(error.__cause__, SubmissionUncertain)
        assert workflows.gate == CLOSED

    def test_what_was_refused_is_never_begun(
        self, executor: ProminenceExecutor, workflows: Workflows
    ) -> None:
        workflows.makes_calls, workflows.posted = None, refuses("invalid job name")

        assert [type(each) for each in outcomes(executor)] == [ServiceError] * CALLS
        assert workflows.gate == CLOSED

    def test_what_has_begun_meanwhile_is_followed(
        self, executor: ProminenceExecutor, workflows: Workflows
    ) -> None:
        workflows.makes_calls, workflows.posted, workflows.looked_up = TWIN, RESET, page(503)

        assert outcomes(executor) == list(range(CALLS))

    def test_in_doubt_without_a_store_it_stays_uncertain(
        self, executor: ProminenceExecutor, workflows: Workflows
    ) -> None:
        workflows.posted, workflows.looked_up = RESET, page(503)
        workflows.fake.troubles.extend([*[None] * (CALLS + 1), *[AWAY] * 1000])

        assert [type(each) for each in outcomes(executor)] == [SubmissionUncertain] * CALLS


class TestEnding:
    def test_a_twin_that_was_first_is_followed(
        self, executor: ProminenceExecutor, workflows: Workflows
    ) -> None:
        workflows.makes_calls = TWIN

        assert outcomes(executor) == list(range(CALLS))

        closed = [value for _, value in workflows.fake.writes if value == CLOSED]
        assert closed == []

    @pytest.mark.parametrize("trouble", [RESET, page(503), Reply(body=b"[[]]")])
    def test_keys_that_cannot_be_read_together_are_read_one_by_one(
        self, trouble: Reply, executor: ProminenceExecutor, workflows: Workflows
    ) -> None:
        workflows.fake.troubles.extend([*[None] * (CALLS + 3), Trouble(trouble, has_effect=False)])

        assert outcomes(executor) == list(range(CALLS))

    def test_a_deleted_session_is_told(self, executor: ProminenceExecutor, workflows: Workflows) -> None:
        def delete() -> None:
            workflows.fake.values.clear()

        for job in range(WORKFLOW + 1, WORKFLOW + 1 + CALLS):
            workflows.fake.script("GET", f"/jobs/{job}", says([{**SUCCESS, "id": job}]))
            workflows.fake.script("GET", f"/jobs/{job}/stderr", Reply(content_type="text/html"))
        workflows.fake.troubles.extend([*[None] * (CALLS + 1), Trouble(None, has_effect=True, before=delete)])

        found = {type(each) for each in outcomes(executor)}
        assert found == {CallLost}  # no job has left a result file
