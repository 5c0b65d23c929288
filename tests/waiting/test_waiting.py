"""Waiting for jobs in the caller's thread: how it ends, when it gives up, and what it does not disturb."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.clock import VirtualClock
from support.scripted_service import ENDED, GONE, LIMIT_S, Listener, ScriptedService, entry
from support.until import until

from prominence import Job, Session
from prominence.exceptions import InvalidDescription, NotFound, ProminenceError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prominence import ProminenceClient
    from prominence.clock import AnyCondition


@pytest.fixture
def session(service: ScriptedService, clock: VirtualClock) -> Iterator[Session]:
    session = Session(client=cast("ProminenceClient", service), clock=clock, random=Random(1))
    yield session
    service.end()
    session.watcher.close()


def test_a_wait_tells_how_the_job_ended(service: ScriptedService, session: Session) -> None:
    service.script(entry("running"), entry("completed", **ENDED))
    service.script_detail(
        entry("completed", **ENDED, execution={"tasks": [{"exitCode": 0}, {"exitCode": 3}]})
    )
    job = Job(id=7, session=session)

    assert job.wait() == "completed"

    asked = len(service.requests)
    assert not job.succeeded
    assert job.exit_codes == (0, 3)
    assert job.wait() == job.status == "completed"
    assert len(service.requests) == asked


def test_completed_without_any_task_is_no_success(service: ScriptedService, session: Session) -> None:
    service.script(entry("completed", **ENDED))
    service.script_detail(entry("completed", **ENDED, execution={"runtimeVersion": {}}))
    job = Job(id=7, session=session)
    assert job.wait() == "completed"
    assert not job.succeeded


@pytest.mark.parametrize("has_feed", [True, False])
def test_a_job_that_had_ended_is_not_waited_for(
    has_feed: bool, following: ScriptedService, session: Session
) -> None:
    following.features = following.features if has_feed else frozenset()
    following.script(entry("killed", **ENDED))
    assert Job(id=7, session=session).wait(LIMIT_S) == "killed"


def test_a_job_nobody_knows_is_not_waited_for(
    service: ScriptedService, session: Session, clock: VirtualClock
) -> None:
    service.script(GONE)
    with pytest.raises(NotFound, match="7"):
        Job(id=7, session=session).wait()
    assert clock.elapsed < 10


def test_following_a_job_that_is_known_to_have_ended_tells_its_end(
    following: ScriptedService, session: Session
) -> None:
    following.script(entry("killed", **ENDED))
    job = Job(id=7, session=session)
    assert job.done()
    listener = Listener()
    job.follow(listener.on_change, listener.on_failure)
    assert listener.wait().statuses == ["killed"]


def test_a_wait_that_takes_too_long_leaves_the_job_alone(
    service: ScriptedService, session: Session, clock: VirtualClock
) -> None:
    service.script(entry("running"))
    job = Job(id=7, session=session)
    with pytest.raises(WaitTimeout, match="7 has not ended after 600 s; it goes on") as caught:
        job.wait(600)
    assert isinstance(caught.value, TimeoutError)
    assert clock.elapsed >= 600
    service.script(entry("completed", **ENDED))
    assert job.wait(600) == "completed"


def test_a_wait_without_timeout_has_no_end_of_its_own(
    service: ScriptedService, session: Session, clock: VirtualClock
) -> None:
    def end_after_three_days() -> None:
        if clock.elapsed > 3 * 86_400:
            service.script(entry("completed", **ENDED))

    service.during_bulk = end_after_three_days
    service.script(entry("running"))
    assert Job(id=7, session=session).wait(timeout=0) == "completed"
    assert clock.elapsed > 3 * 86_400


@pytest.mark.parametrize("timeout", ["5", None, True, float("inf")])
def test_a_timeout_is_a_number_of_seconds(timeout: Any, service: ScriptedService, session: Session) -> None:
    with pytest.raises(InvalidDescription, match=r"timeout = .*seconds as a number, 0 to wait for ever"):
        Job(id=7, session=session).wait(timeout)
    assert service.requests == []


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_is_none_is_refused(
    timeout: float, service: ScriptedService, session: Session
) -> None:
    with pytest.raises(InvalidDescription, match="timeout"):
        Job(id=7, session=session).wait(timeout)
    with pytest.raises(InvalidDescription, match="outage_tolerance"):
        Session(outage_tolerance=timeout)
    assert service.requests == []


def test_an_outage_at_the_very_start_is_borne(
    service: ScriptedService, session: Session, clock: VirtualClock
) -> None:
    service.be_away(1800)
    service.script(entry("completed", **ENDED))
    assert Job(id=7, session=session).wait() == "completed"
    assert clock.elapsed >= 1800


def test_many_threads_wait_for_many_jobs(service: ScriptedService, session: Session) -> None:
    ids = range(1, 41)
    for job_id in ids:
        states = [entry("idle", job_id), entry("running", job_id)] * 3
        service.script(*states, entry("completed", job_id, **ENDED), job_id=job_id)
    jobs = [Job(id=job_id, session=session) for job_id in ids for _ in range(4)]
    with ThreadPoolExecutor(len(jobs)) as threads:
        assert list(threads.map(Job.wait, jobs)) == ["completed"] * len(jobs)
    assert all(job.succeeded for job in jobs)


def test_closing_the_session_ends_waits(service: ScriptedService, session: Session) -> None:
    service.script(entry("running"))
    with ThreadPoolExecutor(2) as threads:
        waits = [threads.submit(Job(id=7, session=session).wait) for _ in range(2)]
        service.wait_for_requests(("bulk", [7]))
        until(lambda: len(session.watcher._jobs[7].watches) == 2)
        session.watcher.close()
        for wait in waits:
            with pytest.raises(ProminenceError, match="closed"):
                wait.result(LIMIT_S)


class InterruptingClock(VirtualClock):
    """Ctrl-C comes while the main thread waits."""

    def wait(self, condition: AnyCondition, timeout: float | None) -> bool:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return super().wait(condition, timeout)


def test_a_wait_that_is_interrupted_leaves_nothing_behind() -> None:
    service = ScriptedService(InterruptingClock())
    service.script(entry("running"))
    session = Session(client=cast("ProminenceClient", service), random=Random(1))
    with pytest.raises(KeyboardInterrupt):
        Job(id=7, session=session).wait()
    assert session.watcher._jobs == {}
    session.watcher.close()


AFTER_FORK = """
import os, sys
from prominence import Job, Session, Settings
from prominence.exceptions import ProminenceError
job = Job(id=7, session=Session(Settings.from_environment("http://127.0.0.1:9/prominence/v1", "token")))
job._session.watcher
pid = os.fork()
if pid == 0:
    try:
        job.wait()
    except ProminenceError as error:
        os._exit(7 if "parent process" in str(error) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_parents_job_is_not_waited_for_after_fork() -> None:
    result: Any = subprocess.run([sys.executable, "-c", AFTER_FORK], check=False, timeout=60)
    assert result.returncode == 7
