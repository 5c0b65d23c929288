"""A driver is killed at each of the moments that matter for a call behind a fence; another one attaches.

The call is made once, or not at all where the new driver is told that it was not sent; its result is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.clock import VirtualClock
from support.programs import started
from support.relay import Gate
from support.repeated import lose_supervisor
from support.runs import Runs
from support.service import LocalService
from support.until import until

from prominence import Session
from prominence.exceptions import JobDeleted
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.fake_service import Received

_DRIVER = """
import os, sys, time
from prominence import JobPolicies
from prominence_executors import ProminenceExecutor

def call(runs, go):
    with open(runs, "a") as file:
        file.write(os.environ["PROMINENCE_JOB_ID"] + "\\n")
    while not os.path.exists(go):
        time.sleep(0.02)
    return "made"

executor = ProminenceExecutor(session=sys.argv[1], policies=JobPolicies(maximum_retries=1))
executor.submit(call, *sys.argv[2:])
sys.stdin.read()
"""


_TRYING_TWICE = """
import sys
from prominence_executors import ProminenceExecutor, Retries

executor = ProminenceExecutor(session=sys.argv[1], retries=Retries(user=1))
executor.submit(["test", "-e", sys.argv[3]])
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with LocalService(tmp_path_factory.mktemp("rough"), cpus=4, memory=64, rough=True) as running:
        yield running


@pytest.fixture
def rough_session(rough: LocalService) -> Iterator[Session]:
    with Session(replace(rough.settings(), settle_window=0.5)) as session:
        yield session


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


@pytest.fixture
def go(tmp_path: Path) -> Path:
    return tmp_path / "go"


@contextmanager
def driver(
    service: LocalService, url: str, session: str, runs: Runs, go: Path, *, script: str = _DRIVER
) -> Iterator[None]:
    """One that has submitted a call, and is killed at the end."""
    environment = {
        **os.environ,
        "PROMINENCE_URL": url,
        "PROMINENCE_TOKEN": service.endpoint.token,
        "PROMINENCE_LOCAL_PYTHON": sys.executable,
    }
    words = [sys.executable, "-c", script, session, str(runs.path), str(go)]
    with started(words, env=environment, stdin=subprocess.PIPE):
        yield


def makes_a_fence(request: Received) -> bool:
    return request.method == "POST" and "/fences/" in request.path


def takes_the_lease(request: Received) -> bool:
    return request.method == "POST" and request.path.endswith("/lease")


def is_submission(request: Received) -> bool:
    return (request.method, request.path) == ("POST", "/jobs")


def test_when_it_had_just_taken_the_session(rough: LocalService, runs: Runs, go: Path) -> None:
    with (
        Gate(rough.endpoint.url, takes_the_lease, has_passed=True) as gate,
        driver(rough, gate.url, "just-taken", runs, go),
    ):
        assert gate.is_reached.wait(30)

    clock = VirtualClock()
    with Session(replace(rough.settings(), settle_window=0.2), clock=clock) as session:
        attached = ProminenceExecutor.attach("just-taken", service=session)
        assert (attached.attached, attached.unsent) == ((), ())
        attached.close(delete=True)
    assert sum(clock.sleeps) < 60, "that it is gone was seen at once"


@pytest.mark.parametrize("moment", ["running", "done"])
def test_after_it_has_begun(
    moment: str, rough: LocalService, rough_session: Session, runs: Runs, go: Path
) -> None:
    with driver(rough, rough.endpoint.url, moment, runs, go):
        (job_id,) = until(runs.jobs)
        if moment == "done":
            go.touch()
            rough.ended(job_id)

    with ProminenceExecutor.attach(moment, service=rough_session) as attached:
        (future,) = attached.attached
        go.touch()
        assert future.result() == "made"
        assert future.job_id == job_id
        attached.close(delete=True)
    assert runs.jobs() == [job_id]


@pytest.mark.parametrize("moment", ["evicted-before", "evicted-after"])
def test_when_its_job_is_lost_and_enters_again(
    moment: str, rough: LocalService, rough_session: Session, runs: Runs, go: Path
) -> None:
    with driver(rough, rough.endpoint.url, moment, runs, go):
        (job_id,) = until(runs.jobs)
    if moment == "evicted-before":
        lose_supervisor(rough, job_id)
        until(lambda: len(runs.jobs()) > 1)

    with ProminenceExecutor.attach(moment, service=rough_session) as attached:
        (future,) = attached.attached
        if moment == "evicted-after":
            lose_supervisor(rough, job_id)
            until(lambda: len(runs.jobs()) > 1)
        go.touch()
        assert future.result() == "made"
        attached.close(delete=True)
    assert runs.jobs() == [job_id, job_id]


def test_when_it_was_sent_and_the_answer_is_under_way(
    rough: LocalService, rough_session: Session, runs: Runs, go: Path
) -> None:
    with Gate(rough.endpoint.url, is_submission, has_passed=True) as gate:
        with driver(rough, gate.url, "answered", runs, go):
            assert gate.is_reached.wait(30)
        with ProminenceExecutor.attach("answered", service=rough_session) as attached:
            (future,) = attached.attached
            go.touch()
            assert future.result() == "made"
            attached.close(delete=True)
    assert runs.jobs() == [future.job_id]


def test_when_the_request_is_under_way_and_arrives(
    rough: LocalService, rough_session: Session, runs: Runs, go: Path
) -> None:
    with Gate(rough.endpoint.url, is_submission, has_passed=False) as gate:
        with driver(rough, gate.url, "arriving", runs, go):
            assert gate.is_reached.wait(30)
        gate.open()
        until(runs.jobs)
        with ProminenceExecutor.attach("arriving", service=rough_session) as attached:
            (future,) = attached.attached
            go.touch()
            assert future.result() == "made"
            attached.close(delete=True)
    assert runs.jobs() == [future.job_id]


def test_when_the_request_arrives_after_the_call_was_said_to_be_unsent(
    rough: LocalService, rough_session: Session, runs: Runs, go: Path
) -> None:
    go.touch()
    with Gate(rough.endpoint.url, is_submission, has_passed=False) as gate:
        with driver(rough, gate.url, "late", runs, go):
            assert gate.is_reached.wait(30)
        with ProminenceExecutor.attach("late", service=rough_session) as attached:
            assert [call.name for call in attached.unsent] == ["call"]
        gate.open()
        (job,) = until(lambda: rough.get("/jobs", constraint="prominencesession=late", all="true").json())
    ended = rough.ended(job["id"])
    assert ended["execution"]["tasks"][0]["exitCode"] == 92
    assert runs.jobs() == []

    with ProminenceExecutor.attach("late", service=rough_session) as attached:
        (future,) = attached.attached
        with pytest.raises(JobDeleted, match="it came when that had been given up"):
            future.result()
        attached.close(delete=True)


def test_when_its_fence_was_made_and_nothing_was_sent(
    rough: LocalService, rough_session: Session, runs: Runs, go: Path
) -> None:
    with Gate(rough.endpoint.url, makes_a_fence, has_passed=True) as gate:
        with driver(rough, gate.url, "unsent", runs, go):
            assert gate.is_reached.wait(30)
        (key,) = rough_session.client.kv_list("prominence/unsent/fences")
        assert rough_session.client.kv_get(key) == "free"
        with ProminenceExecutor.attach("unsent", service=rough_session) as attached:
            assert [call.name for call in attached.unsent] == ["call"]
            assert rough_session.client.kv_get(key) == "closed"
            attached.close(delete=True)
    assert runs.jobs() == []


def test_when_it_was_sent_for_the_second_time(
    rough: LocalService, rough_session: Session, runs: Runs, go: Path
) -> None:
    def is_second(request: Received) -> bool:
        if is_submission(request) and any(is_submission(each) for each in gate.received):
            go.touch()
            return True
        return False

    with Gate(rough.endpoint.url, is_second, has_passed=True) as gate:
        with driver(rough, gate.url, "second", runs, go, script=_TRYING_TWICE):
            assert gate.is_reached.wait(30)
        with ProminenceExecutor.attach("second", service=rough_session) as attached:
            (future,) = attached.attached
            assert future.result().returncode == 0
            first, second = (attempt.job.id for attempt in future.attempts)
            attached.close(delete=True)
    jobs = rough.get("/jobs", constraint="prominencesession=second", all="true").json()
    assert {job["id"] for job in jobs} == {first, second}
