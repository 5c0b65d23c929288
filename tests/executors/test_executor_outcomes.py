"""How commands end at a real service, and which error their futures then raise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.clock import VirtualClock
from support.fake_service import RESET, FakeService, Received, Reply, says
from support.faked import executor_at
from support.recorded_statuses import ENDS

from prominence import ProminenceClient, Session
from prominence.exceptions import (
    DuplicateRun,
    ImagePullFailed,
    JobDeleted,
    JobFailedError,
    OutcomeUnknown,
    StageOutFailed,
    TaskExitError,
    WalltimeExceeded,
)
from prominence_executors import ProminenceExecutor
from prominence_executors.advice import next_step

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTED = ("id", "name", "status", "statusReason", "tasks", "events")
NOTHING_KNOWN = {**ENDS["success"], "execution": {"runtimeVersion": {}}}


@pytest.fixture
def fake() -> Iterator[FakeService]:
    with FakeService() as service:
        yield service


@pytest.fixture
def executor(fake: FakeService) -> Iterator[ProminenceExecutor]:
    with executor_at(fake) as executor:
        yield executor


def ends_as(fake: FakeService, entry: dict[str, Any]) -> None:
    def listing(request: Received) -> Reply:
        if "detail" in request.query:
            return says([entry])
        return says([{name: entry[name] for name in LISTED if name in entry}])

    fake.script("POST", "/jobs", says({"id": entry["id"]}, 201))
    fake.script("GET", "/jobs", listing)
    fake.script("GET", f"/jobs/{entry['id']}/stderr", Reply(body=b"oops\n", content_type="text/html"))


def test_the_output_of_a_command_is_fetched_when_it_is_first_asked_for(
    fake: FakeService, executor: ProminenceExecutor
) -> None:
    ends_as(fake, ENDS["success"])
    path = f"/jobs/{ENDS['success']['id']}/stdout"
    fake.script("GET", path, Reply(body=b"output\n", content_type="text/html"))

    done = executor.submit("true").result(60)

    assert done.returncode == 0
    assert ("GET", path) not in fake.sent
    assert [done.stdout, done.stdout] == ["output\n"] * 2
    assert fake.sent.count(("GET", path)) == 1


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        (ENDS["fail-exit-3"], TaskExitError),
        (ENDS["command-not-found"], TaskExitError),
        (ENDS["killed-walltime"], WalltimeExceeded),
        (ENDS["image-pull-fails"], ImagePullFailed),
        (ENDS["output-file-missing"], StageOutFailed),
        (ENDS["deleted-while-running"], JobDeleted),
        (NOTHING_KNOWN, OutcomeUnknown),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value["name"]),
)
def test_a_command_that_did_not(
    entry: dict[str, Any], error: type[JobFailedError], fake: FakeService, executor: ProminenceExecutor
) -> None:
    ends_as(fake, entry)
    future = executor.submit("true")
    with pytest.raises(JobFailedError) as caught:
        future.result(60)
    assert type(caught.value) is error
    assert (caught.value.job_id, caught.value.status) == (entry["id"], entry["status"])
    assert caught.value.reason == entry.get("statusReason", "")
    assert caught.value.stderr == "oops"

    requests = len(fake.received)
    told = future.explain()
    assert len(fake.received) == requests
    assert f"UTC  ended: {entry['status']}\ncause: {error.__name__}: job {entry['id']} (true) " in told
    assert f"the service's reason: {entry.get('statusReason', '')}" in told or "statusReason" not in entry
    assert "  last lines of its standard error:\n    oops\n" in told
    assert told.endswith(f"next step: {next_step(error)}\n")
    assert "a-token" not in told


def test_a_command_that_ran_twice_because_an_answer_was_lost(fake: FakeService) -> None:
    """The first request arrived when the second had been accepted."""
    entry = ENDS["success"]
    ends_as(fake, entry)
    posted: list[Received] = []
    is_followed: list[Received] = []

    def post(request: Received) -> Reply:
        posted.append(request)
        return RESET if len(posted) == 1 else says({"id": entry["id"]}, 201)

    def listing(request: Received) -> Reply:
        if "constraint" not in request.query:
            is_followed.append(request)
            return says([entry])
        twins = [{**entry, "id": each, "labels": posted[0].json()["labels"]} for each in (entry["id"], 99)]
        return says(twins if is_followed else [])

    fake.script("POST", "/jobs", post)
    fake.script("GET", "/jobs", listing)
    with (
        ProminenceClient(fake.url, "a-token", clock=VirtualClock()) as client,
        Session(client=client) as session,
        ProminenceExecutor(session=session, image="busybox.sif") as executor,
        pytest.raises(DuplicateRun, match=f"{entry['id']}, 99") as caught,
    ):
        executor.submit("true").result(60)
    assert caught.value.ids == (entry["id"], 99)
