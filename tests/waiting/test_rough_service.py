"""Waiting for jobs of a real service process that has nothing beyond the API."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.service import LocalService, job

from prominence import Job, Session

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
