"""Every test has an empty home and none of the caller's settings; services are the tests' own."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.service import LocalService

from prominence import Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background: programs inherit it,
    signal.signal(signal.SIGINT, signal.default_int_handler)  # and tests press Ctrl-C in some


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("PROMINENCE_"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A local service that all tests share; it has more cpus than the machine."""
    with LocalService(tmp_path_factory.mktemp("service"), cpus=8, memory=64) as running:
        yield running


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[LocalService]:
    """A local service for one test, which may kill it; a walltime minute there is a second."""
    with LocalService(tmp_path / "service", cpus=10, memory=64, minute=1.0) as running:
        yield running


@pytest.fixture
def session(service: LocalService) -> Iterator[Session]:
    with Session(service.settings()) as session:
        yield session


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In one of several processes: hand what was replayed there to the one that reports."""
    recordings = sys.modules.get("support.recordings")
    if recordings is not None and hasattr(session.config, "workeroutput"):
        session.config.workeroutput["replayed"] = {
            name: sorted(numbers) for name, numbers in recordings.replayed.items()
        }


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    from support import recordings

    for name, numbers in getattr(node, "workeroutput", {}).get("replayed", {}).items():
        recordings.replayed[name].update(numbers)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much of what was recorded from a real service the tests of this run have replayed."""
    recordings = sys.modules.get("support.recordings")
    if recordings is not None and recordings.replayed:
        terminalreporter.write_line(recordings.summary())
