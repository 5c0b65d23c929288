"""What one process does about a session harms no other: nothing needed is deleted, nothing sent too late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.clock import VirtualClock
from support.fake_service import FakeService, page, says
from support.items import wait_for

from prominence import Job, ProminenceClient, Session, Task
from prominence.clock import Clock
from prominence.exceptions import SessionInUse
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService


class SuspendedClock(Clock):
    """Of a machine that was suspended: one of its clocks has gone on."""

    suspended_s = 0.0

    def time(self) -> float:
        return super().time() + self.suspended_s


def test_what_running_jobs_need_is_not_deleted(session: Session, tmp_path: Path) -> None:
    go = tmp_path / "go"
    executor = ProminenceExecutor(1, session="needed", service=session, on_exit="detach")
    for _ in range(2):
        executor.submit(wait_for, go, bytes(200_000))
    with pytest.raises(SessionInUse, match=r"what needed has stored is not deleted, .* jobs: \d+, \d+"):
        executor.close(delete=True)

    with ProminenceExecutor.attach("needed", service=session) as attached:
        assert attached.unsent == ()
        go.touch()
        assert [future.result() for future in attached.attached] == [1, 1]
        attached.close(delete=True)
    assert not session.client.kv_list("prominence/needed/")


def test_jobs_of_a_driver_before_are_seen_too(session: Session, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with ProminenceExecutor(session="before", service=session, on_exit="detach") as first:
        first.submit(wait_for, go, bytes(200_000))
    second = ProminenceExecutor(session="before", service=session)
    with pytest.raises(SessionInUse):
        second.close(delete=True)

    with ProminenceExecutor.attach("before", service=session) as attached:
        go.touch()
        assert attached.attached[0].result() == 1
        attached.close(delete=True)


def test_the_session_of_another_driver_is_not_deleted(session: Session) -> None:
    first = ProminenceExecutor(session="passed-on", service=session)
    first.shutdown()
    with ProminenceExecutor(session="passed-on", service=session) as second:
        stored = second.put(list(range(10)))
        with pytest.raises(SessionInUse, match="driven by another process"):
            first.close(delete=True)
        assert second.submit(sum, stored).result() == 45
        second.close(delete=True)


def test_what_calls_of_the_same_executor_need_is_not_deleted(session: Session, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with ProminenceExecutor(1, session=session) as executor:
        futures = [executor.submit(wait_for, go, bytes(200_000)) for _ in range(2)]
        with pytest.raises(SessionInUse, match="ProminenceFuture job="):
            executor.with_options(env={"A": "b"}).close(delete=True)
        go.touch()
        assert [future.result() for future in futures] == [1, 1]


def test_a_driver_that_was_suspended_asks_before_it_sends(service: LocalService) -> None:
    clock = SuspendedClock()
    with Session(service.settings(), clock=clock) as session:
        executor = ProminenceExecutor(session="suspended", service=session)
        assert executor.submit(pow, 2, 2).result() == 4
        clock.suspended_s = 3600.0
        assert executor.submit(pow, 2, 3).result() == 8, "nobody has taken it"

        clock.suspended_s = 7200.0
        session.client.kv_set("prominence/suspended/lease", "other:1")
        refused = executor.submit("true")
        assert isinstance(refused.exception(), SessionInUse)
        assert refused.job_id is None
        executor.shutdown()


def test_what_may_not_be_sent_any_more_is_not_sent_again_either() -> None:
    def may_be_sent_once() -> None:
        if service.sent:
            raise SessionInUse("taken meanwhile")

    with FakeService() as service:
        service.script("POST", "/jobs", page(502))
        service.script("GET", "/jobs", says([]))
        client = ProminenceClient(service.url, "a-token", clock=VirtualClock())
        job = Job(session=Session(client=client), tasks=[Task(image="none", command="true")])
        with pytest.raises(SessionInUse, match="taken meanwhile"):
            job.create(before_sending=may_be_sent_once)
    assert service.sent.count(("POST", "/jobs")) == 1
    assert service.sent.count(("GET", "/jobs")) > 1
