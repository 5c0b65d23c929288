"""Waiting at a real service process that has nothing beyond the API, and makes trouble."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.service import LocalService, job

from prominence import Job, Session, Task, Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS = 30


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with (
        LocalService(tmp_path / "service", cpus=8, memory=64, rough=True) as service,
        Session(service.settings()) as session,
    ):
        service.stir(seed=3, missing=0.3, backward=0.3, lagging=0.5, closed=0.3)
        yield session


def test_every_wait_tells_the_true_end(session: Session) -> None:
    codes = [number % 3 for number in range(JOBS)]
    submitted = [session.client.create_job(job(f"sh -c 'exit {code}'")) for code in codes]
    assert {revision for _, revision in submitted} == {None}
    jobs = [Job(id=one, session=session) for one, _ in submitted]
    with ThreadPoolExecutor(JOBS) as threads:
        assert set(threads.map(Job.wait, jobs)) == {"completed"}
    assert [each.exit_codes for each in jobs] == [(code,) for code in codes]
    assert [each.succeeded for each in jobs] == [code == 0 for code in codes]


@pytest.mark.parametrize(("command", "status"), [("true", "completed"), ("false", "failed")])
def test_a_workflow_is_waited_for_though_its_progress_lags(
    command: str, status: str, session: Session
) -> None:
    jobs = [Job(name=name, tasks=[Task(image="none", command=command)]) for name in ("first", "second")]
    workflow = Workflow(session=session, name="lagging", jobs=jobs)
    workflow.create()
    assert workflow.wait() == status
    assert workflow.succeeded is (status == "completed")
