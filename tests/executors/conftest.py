"""Executors: on the service that all tests share, and on one that repeats jobs and submissions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.command import Command
from support.repeated import Blocker
from support.runs import Runs
from support.service import LocalService

from prominence import Session
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def executor(session: Session) -> Iterator[ProminenceExecutor]:
    with ProminenceExecutor(session=session) as executor:
        yield executor


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service that knows no submission from another; one job runs at a time."""
    with LocalService(tmp_path_factory.mktemp("rough"), cpus=1, memory=64, rough=True) as running:
        yield running


@pytest.fixture
def rough_session(rough: LocalService) -> Iterator[Session]:
    with Session(rough.settings()) as session:
        yield session


@pytest.fixture
def fenced(rough_session: Session) -> Iterator[ProminenceExecutor]:
    with ProminenceExecutor(session=rough_session) as executor:
        yield executor


@pytest.fixture
def blocker(rough: LocalService) -> Iterator[Blocker]:
    """Keeps other jobs from being started, until it is ended."""
    with Blocker(rough) as blocker:
        yield blocker


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


@pytest.fixture
def own_session(own_service: LocalService) -> Iterator[Session]:
    with Session(own_service.settings()) as session:
        yield session


@pytest.fixture
def command(own_service: LocalService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line, with a service of the test's own."""
    monkeypatch.setenv("PROMINENCE_URL", own_service.endpoint.url)
    monkeypatch.setenv("PROMINENCE_TOKEN", own_service.endpoint.token)
    return Command(tmp_path)
