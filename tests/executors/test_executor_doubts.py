"""Futures of jobs whose service is away, or tells too little: each ends, and none before it must."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import pytest
from support.clock import VirtualClock
from support.fake_service import RESET, FakeService, Received, Reply, refuses, says
from support.faked import executor_at
from support.recorded_statuses import ENDS
from support.service import LocalService

from prominence import ProminenceClient, Session
from prominence.exceptions import (
    CallLost,
    JobEvicted,
    JobHeld,
    JobLost,
    OutcomeUnknown,
    ResultError,
    ServiceUnavailable,
    WalltimeExceeded,
)
from prominence_executors import ProminenceExecutor, Retries
from prominence_executors.calls import packing
from prominence_executors.runner import main as runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUCCESS: Final = ENDS["success"]
OUTPUT: Final = "/output"


@pytest.fixture
def fake() -> Iterator[FakeService]:
    with FakeService() as service:
        service.script("POST", "/jobs", says({"id": SUCCESS["id"]}, 201))
        yield service


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def executor(fake: FakeService, clock: VirtualClock) -> Iterator[ProminenceExecutor]:
    with executor_at(fake, clock, outage_tolerance=1800, guarantee="settle") as executor:
        yield executor


def ends_as(fake: FakeService, **changes: Any) -> None:
    """The job of the recording that succeeded, with some of it changed, and an output of the runner's."""
    outputs = [{"name": packing.RESULT, "url": f"{fake.address}{OUTPUT}"}]
    fake.script("GET", "/jobs", says([{**SUCCESS, "outputFiles": outputs, **changes}]))
    fake.script("GET", f"/jobs/{SUCCESS['id']}", says([{**SUCCESS, "outputFiles": outputs, **changes}]))


def record(kind: str, *content: bytes | memoryview) -> Reply:
    """What the runner writes."""
    return Reply(body=b"".join(runner.record({"kind": kind}, *content)))


def test_a_result_is_waited_for_while_the_service_is_away(
    fake: FakeService, clock: VirtualClock, executor: ProminenceExecutor
) -> None:
    ends_as(fake)

    def output(_: Received) -> Reply:
        return RESET if clock.elapsed < 1000 else record("value", *runner.dumps("the value"))

    fake.script("GET", OUTPUT, output)

    assert executor.submit(len, "").result(60) == "the value"
    assert clock.elapsed >= 1000


def test_a_token_may_be_replaced_before_the_result_is_fetched(
    fake: FakeService, clock: VirtualClock, executor: ProminenceExecutor
) -> None:
    fake.script("GET", "/jobs", says([{**SUCCESS, "execution": {}}]))  # so that it is asked for again
    described = says(
        [{**SUCCESS, "outputFiles": [{"name": packing.RESULT, "url": f"{fake.address}{OUTPUT}"}]}]
    )

    def describe(_: Received) -> Reply:
        return refuses("token has expired", 401) if clock.elapsed < 600 else described

    fake.script("GET", f"/jobs/{SUCCESS['id']}", describe)
    fake.script("GET", OUTPUT, record("value", *runner.dumps(7)))

    assert executor.submit(len, "").result(60) == 7
    assert clock.elapsed >= 600


def test_a_result_is_not_waited_for_for_ever(fake: FakeService, executor: ProminenceExecutor) -> None:
    ends_as(fake)
    fake.script("GET", OUTPUT, RESET)

    with pytest.raises(ServiceUnavailable):
        executor.submit(len, "").result(60)


@pytest.mark.parametrize("at", [-1, -40, 5])
def test_a_damaged_result_is_none(fake: FakeService, executor: ProminenceExecutor, at: int) -> None:
    ends_as(fake)
    content = bytearray(record("value", *runner.dumps("x" * 200)).body)
    content[at] ^= 1
    fake.script("GET", OUTPUT, Reply(body=bytes(content)))

    with pytest.raises(ResultError, match="the result file is"):
        executor.submit(len, "").result(60)


def test_a_result_tells_the_outcome_where_the_service_knows_nothing_of_the_tasks(
    fake: FakeService, executor: ProminenceExecutor
) -> None:
    ends_as(fake, execution={"runtimeVersion": {}})
    fake.script("GET", OUTPUT, record("value", *runner.dumps(42)))

    assert executor.submit(len, "").result(60) == 42


def test_without_a_result_that_is_an_unknown_outcome(fake: FakeService, executor: ProminenceExecutor) -> None:
    ends_as(fake, execution={"runtimeVersion": {}}, outputFiles=[])

    with pytest.raises(OutcomeUnknown, match="knows nothing of its tasks; look whether its effects"):
        executor.submit(len, "").result(60)


def test_a_service_that_is_gone(fake: FakeService, executor: ProminenceExecutor) -> None:
    fake.script("GET", "/jobs", RESET)

    with pytest.raises(
        ServiceUnavailable, match=r"no usable answer for 3. minutes .* may still run"
    ) as caught:
        executor.submit("true").result(60)
    assert "a-token" not in str(caught.value)


def test_callbacks_that_fail_keep_no_other_future_from_its_end(
    fake: FakeService, executor: ProminenceExecutor
) -> None:
    def end_the_thread(_: object) -> None:
        raise SystemExit

    ids = itertools.count(1)
    fake.script("POST", "/jobs", lambda _: says({"id": next(ids)}, 201))
    fake.script("GET", "/jobs", RESET)
    futures = [executor.submit("true") for _ in range(3)]
    for future in futures:
        future.add_done_callback(end_the_thread)

    assert [type(future.exception(60)) for future in futures] == [ServiceUnavailable] * 3


def test_a_job_that_the_service_forgets(fake: FakeService, executor: ProminenceExecutor) -> None:
    fake.script("GET", "/jobs", says([{**SUCCESS, "status": "running"}]), says([]))
    fake.script("GET", f"/jobs/{SUCCESS['id']}", says([]))
    future = executor.submit("true")

    with pytest.raises(JobLost, match=rf"job {SUCCESS['id']} \(true\) is lost: .* does not know") as caught:
        future.result(60)
    assert caught.value.job_id == SUCCESS["id"]
    assert "next step: look whether it has had effects" in future.explain()


def test_what_may_still_run_is_not_tried_again(fake: FakeService, executor: ProminenceExecutor) -> None:
    events = {"createTime": SUCCESS["events"]["createTime"]}
    ends_as(fake, status="failed", statusReason="Job was evicted", events=events, execution={})

    with pytest.raises(JobEvicted):
        executor.with_options(retries=Retries(infrastructure=1)).submit("true").result(60)
    assert fake.sent.count(("POST", "/jobs")) == 1


def test_a_job_on_hold(fake: FakeService, clock: VirtualClock, executor: ProminenceExecutor) -> None:
    events = {"createTime": SUCCESS["events"]["createTime"]}
    ends_as(fake, status="failed", statusReason="Some reason of HTCondor", events=events, execution={})

    with pytest.raises(JobHeld, match="is on hold: Some reason of HTCondor; ask the service"):
        executor.submit("true").result(60)
    assert clock.elapsed >= 120


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"status": "failed", "statusReason": "Job was evicted"}, JobEvicted),
        ({"status": "failed", "statusReason": "Stageout failed due to no such file or directory"}, CallLost),
    ],
)
def test_a_call_that_only_began(
    changes: dict[str, Any], kind: type[Exception], fake: FakeService, executor: ProminenceExecutor
) -> None:
    execution = {"runtimeVersion": {}, "tasks": [{"exitCode": -9}]}
    ends_as(fake, execution=execution, **changes)
    fake.script("GET", OUTPUT, record("started"))

    error = executor.submit(len, "").exception(60)

    assert type(error) is kind


KILLED: Final = {"status": "killed", "statusReason": "Walltime limit exceeded"}
"""By a thread that a call has left behind."""
CHUNK: Final = b"".join(
    [
        *runner.record({"kind": "started", "items": 2}),
        *runner.record({"kind": "values", "count": 2}, *runner.dumps([3, 4])),
    ]
)


def test_a_value_that_was_written_is_the_outcome_whatever_ends_its_job(
    fake: FakeService, executor: ProminenceExecutor
) -> None:
    ends_as(fake, **KILLED)
    fake.script("GET", OUTPUT, record("value", *runner.dumps(7)))
    future = executor.submit(len, "")

    assert future.result(60) == 7
    assert "evidence:\n  the service's reason: Walltime limit exceeded\n" in future.explain()


def test_so_are_those_of_a_chunk(fake: FakeService, executor: ProminenceExecutor) -> None:
    ends_as(fake, **KILLED)
    fake.script("GET", OUTPUT, Reply(body=CHUNK))

    assert list(executor.map(len, ["abc", "abcd"], chunksize=2, timeout=60)) == [3, 4]


@pytest.mark.parametrize("content", [b"".join(runner.record({"kind": "value"}, *runner.dumps(7))), CHUNK])
def test_a_value_without_an_output_of_the_callers_own_is_none(
    content: bytes, fake: FakeService, executor: ProminenceExecutor
) -> None:
    outputs = [{"name": packing.RESULT, "url": f"{fake.address}{OUTPUT}"}, {"name": "x.txt", "url": ""}]
    ends_as(fake, outputFiles=outputs, **KILLED)
    fake.script("GET", OUTPUT, Reply(body=content))
    calls = executor.with_options(output_files=["x.txt"])

    with pytest.raises(WalltimeExceeded):
        calls.submit(len, "").result(60) if content != CHUNK else list(calls.map(len, "ab", chunksize=2))


class ForgetfulProxy(FakeService):
    """In front of a real service; in what it lists, jobs are missing as soon as they have ended."""

    def __init__(self, service: LocalService) -> None:
        super().__init__()
        self._service = service

    def answer(self, request: Received) -> Reply:
        self.received.append(request)
        answer = self._service.request(
            request.method,
            request.path,
            params=request.query,
            data=request.body or None,
            headers={"Content-Type": "application/json"},
        )
        if (request.method, request.path.split("/")[1]) != ("GET", "jobs"):
            return Reply(answer.status_code, answer.content)
        return says([entry for entry in answer.json() if entry["status"] != "completed"])


def test_what_a_job_committed_is_its_outcome_though_the_service_forgets_it(
    tmp_path: Path, clock: VirtualClock
) -> None:
    with (
        LocalService(tmp_path / "service", cpus=2, memory=64, rough=True) as service,
        ForgetfulProxy(service) as proxy,
        ProminenceClient(proxy.url, "a-token", clock=clock) as client,
        Session(client=client) as session,
        ProminenceExecutor(session=session) as executor,
    ):
        command, call, failing = (
            executor.submit("true"),
            executor.submit(len, "four"),
            executor.submit(abs, ""),
        )

        assert call.result() == 4
        assert isinstance(command.exception(), JobLost)
        assert isinstance(failing.exception(), JobLost)  # the service may have tried it again
