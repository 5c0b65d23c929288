"""The fence when the store is away, answers are lost, or writes arrive late."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.clock import VirtualClock
from support.fake_service import RESET, Received, Reply, page, refuses, says
from support.fake_store import AWAY, DROPPED, LOST, FakeStore, Trouble
from support.faked import executor_at
from support.recorded_statuses import ENDS

from prominence.exceptions import (
    FeatureDisabled,
    OutcomeUnknown,
    ProminenceError,
    ServiceError,
    ServiceUnavailable,
    StoreUnreachable,
    SubmissionUncertain,
)
from prominence_executors.calls import packing
from prominence_executors.runner import main as runner
from prominence_executors.runner.fence import FREE, VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prominence_executors import ProminenceExecutor

SUCCESS: Final = ENDS["success"]
JOB: Final[int] = SUCCESS["id"]
TWIN: Final = 77
TOLERANCE_S: Final = 1800
FIRST: Final = "0123456789abcde1"
SECOND: Final = "0123456789abcde2"


class Jobs:
    """The fake service's jobs: each is as a test says, and claims its key when it arrives."""

    def __init__(self, fake: FakeStore) -> None:
        self.fake = fake
        self.keys: list[str] = []
        self.claim = f"{JOB}:{FIRST}:{committed('the value')}"
        self.posted = says({"id": JOB}, 201)
        self.looked_up = says([])
        self.entry: dict[str, Any] = SUCCESS
        fake.script("GET", "/resources", says({"existing": []}))
        fake.script("POST", "/jobs", self._post)
        fake.script("GET", "/jobs", self._list)
        for job in (JOB, TWIN):
            fake.script("GET", f"/jobs/{job}", lambda _: says([self._described()]))
        fake.script("GET", f"/jobs/{JOB}/stderr", Reply(body=b"", content_type="text/html"))

    def leaves(self, kind: str, **header: str) -> None:
        """A result file that the job's last run wrote."""
        content = b"".join(runner.record({"kind": kind, **header}))
        self.fake.script("GET", "/output", Reply(body=content))
        outputs = [{"name": packing.RESULT, "url": f"{self.fake.address}/output"}]
        self.entry = {**self.entry, "outputFiles": outputs}

    @property
    def values(self) -> list[str]:
        """What came of the keys that jobs were sent with."""
        return [self.fake.values[key] for key in self.keys]

    def _post(self, request: Received) -> Reply:
        key = request.json()["tasks"][0]["env"][VARIABLE].split()[0]
        assert self.fake.values[key] == FREE, "the key is there before the job is"
        self.keys.append(key)
        self.fake.values[key] = self.claim
        return self.posted

    def _list(self, request: Received) -> Reply:
        return self.looked_up if "constraint" in request.query else says([self._described()])

    def _described(self) -> dict[str, Any]:
        owner = self.claim.partition(":")[0]
        return {**self.entry, "id": int(owner) if owner.isdecimal() else JOB}


def committed(value: object) -> str:
    return base64.b64encode(b"".join(runner.record({"kind": "value"}, *runner.dumps(value)))).decode() + "."


@pytest.fixture
def fake() -> Iterator[FakeStore]:
    with FakeStore() as store:
        yield store


@pytest.fixture
def jobs(fake: FakeStore) -> Jobs:
    return Jobs(fake)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def executor(fake: FakeStore, clock: VirtualClock) -> Iterator[ProminenceExecutor]:
    with executor_at(fake, clock, outage_tolerance=TOLERANCE_S) as executor:
        yield executor


def outcome(executor: ProminenceExecutor) -> Any:
    return executor.submit(len, "").result(60)


class TestMaking:
    def test_what_was_committed_is_the_outcome(self, executor: ProminenceExecutor, jobs: Jobs) -> None:
        assert outcome(executor) == "the value"
        assert len(jobs.fake.writes) == 1

    @pytest.mark.parametrize("trouble", [LOST, DROPPED, AWAY])
    def test_a_key_that_may_be_written_late_is_not_used(
        self, trouble: Trouble, executor: ProminenceExecutor, jobs: Jobs
    ) -> None:
        jobs.fake.troubles.extend([trouble, trouble])

        assert outcome(executor) == "the value"

        keys = [key for key, value in jobs.fake.writes if value == FREE]
        assert len(set(keys)) == 3
        assert jobs.keys == keys[-1:]

    def test_without_a_store_for_a_minute_nothing_is_sent(
        self, executor: ProminenceExecutor, jobs: Jobs, clock: VirtualClock
    ) -> None:
        jobs.fake.troubles.extend([AWAY] * 1000)

        with pytest.raises(ServiceUnavailable):
            outcome(executor)

        assert 50 <= clock.elapsed <= 120
        assert jobs.keys == []

    def test_a_store_that_is_switched_off(self, executor: ProminenceExecutor, jobs: Jobs) -> None:
        off = refuses("Functionality disabled", 401)
        jobs.fake.troubles.append(Trouble(off, has_effect=False))

        with pytest.raises(FeatureDisabled, match="guarantee='settle'"):
            outcome(executor)
        assert jobs.keys == []


class TestSubmitting:
    def test_what_may_still_arrive_is_never_begun(self, executor: ProminenceExecutor, jobs: Jobs) -> None:
        jobs.claim, jobs.posted, jobs.looked_up = FREE, RESET, page(503)

        with pytest.raises(ServiceUnavailable, match="never will be: its fence is closed") as caught:
            outcome(executor)

        assert isinstance(caught.value.__cause__, SubmissionUncertain)
        assert set(jobs.values) == {"closed"}

    def test_what_did_not_arrive_in_time_is_never_begun(
        self, executor: ProminenceExecutor, jobs: Jobs
    ) -> None:
        jobs.claim, jobs.posted = FREE, refuses("invalid job name")

        with pytest.raises(ServiceError, match="invalid job name"):
            outcome(executor)
        assert jobs.values == ["closed"]

    def test_what_has_begun_meanwhile_is_followed(self, executor: ProminenceExecutor, jobs: Jobs) -> None:
        jobs.claim = f"{TWIN}:{FIRST}:{committed('of the twin')}"
        jobs.posted, jobs.looked_up = RESET, page(503)

        future = executor.submit(len, "")

        assert future.result(60) == "of the twin"
        assert future.job.id == TWIN

    def test_in_doubt_without_a_store_it_stays_uncertain(
        self, executor: ProminenceExecutor, jobs: Jobs
    ) -> None:
        jobs.posted, jobs.looked_up = RESET, page(503)
        jobs.fake.troubles.extend([None, *[AWAY] * 1000])

        with pytest.raises(SubmissionUncertain):
            outcome(executor)


class TestEnding:
    @pytest.mark.parametrize("trouble", [LOST, DROPPED, AWAY])
    def test_an_answer_that_is_lost_when_the_fence_is_closed(
        self, trouble: Trouble, executor: ProminenceExecutor, jobs: Jobs
    ) -> None:
        jobs.claim = f"{JOB}:{FIRST}"
        jobs.leaves("unpicklable", type="x", text="x", nonce=FIRST)
        jobs.fake.troubles.extend([None, None, trouble])

        with pytest.raises(ProminenceError, match="cannot be pickled"):
            outcome(executor)
        assert jobs.values == [f"{JOB}:{FIRST}:."]

    def test_a_job_that_claims_while_the_fence_is_closed(
        self, executor: ProminenceExecutor, jobs: Jobs
    ) -> None:
        jobs.claim = FREE

        def claim() -> None:
            jobs.claim = jobs.fake.values[jobs.keys[0]] = f"{TWIN}:{SECOND}:{committed('of the twin')}"

        jobs.fake.troubles.extend([None, None, Trouble(None, has_effect=True, before=claim)])
        future = executor.submit(len, "")

        assert future.result(60) == "of the twin"
        assert future.job.id == TWIN

    def test_nothing_is_said_of_the_owner_that_was_heard_of_the_job_that_lost(
        self, executor: ProminenceExecutor, jobs: Jobs
    ) -> None:
        jobs.claim = f"{TWIN}:{SECOND}:{committed('of the twin')}"
        is_asked_for, may_be_told = threading.Event(), threading.Event()

        def listing(request: Received) -> Reply:
            job_id = int(request.query["id"])
            if job_id == TWIN:
                is_asked_for.set()
                may_be_told.wait()
            return says([{**SUCCESS, "id": job_id}])

        jobs.fake.script("GET", "/jobs", listing)
        future = executor.submit(len, "")
        try:
            assert is_asked_for.wait(60)
            assert (future.job_id, future.status, future.last_snapshot) == (TWIN, "idle", None)
        finally:
            may_be_told.set()
        assert future.result(60) == "of the twin"
        assert (future.job_id, future.status) == (TWIN, "completed")

    def test_a_store_that_is_away_is_waited_for(
        self, executor: ProminenceExecutor, jobs: Jobs, clock: VirtualClock
    ) -> None:
        jobs.fake.troubles.extend([None, *[AWAY] * 40])

        assert outcome(executor) == "the value"
        assert clock.elapsed > 60

    @pytest.mark.parametrize("length", [1, 4, 10, 20, 30, 100])
    def test_an_answer_that_was_cut_off_is_not_believed(
        self, length: int, executor: ProminenceExecutor, jobs: Jobs
    ) -> None:
        cut = Trouble(Reply(body=jobs.claim[:length].encode()), has_effect=False)
        jobs.fake.troubles.extend([None, cut, cut])

        assert outcome(executor) == "the value"
        assert len(jobs.keys) == 1

    def test_but_not_for_ever(self, executor: ProminenceExecutor, jobs: Jobs, clock: VirtualClock) -> None:
        jobs.fake.troubles.extend([None, *[AWAY] * 10_000])

        with pytest.raises(ServiceUnavailable):
            outcome(executor)
        assert TOLERANCE_S <= clock.elapsed < TOLERANCE_S + 200

    def test_the_result_of_an_earlier_run_that_was_written_late_does_not_count(
        self, executor: ProminenceExecutor, jobs: Jobs
    ) -> None:
        jobs.claim = f"{JOB}:{SECOND}"
        jobs.leaves("value", nonce=FIRST)

        with pytest.raises(OutcomeUnknown, match="left the result of an earlier run"):
            outcome(executor)

    def test_a_job_without_a_way_to_the_store_is_told(self, executor: ProminenceExecutor, jobs: Jobs) -> None:
        jobs.claim = FREE
        jobs.leaves("no-store", text="this Python has no ssl module")

        with pytest.raises(StoreUnreachable, match="could not claim it: this Python has no ssl module; see"):
            outcome(executor)
        assert jobs.values == ["closed"]
