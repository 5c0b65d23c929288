"""How drivers end, by signals, and what becomes then of calls that run and of those that wait their turn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support.programs import started
from support.until import until

from prominence.exceptions import JobDeleted, SessionInUse
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.service import LocalService

    from prominence import Session

_DRIVER = """
import sys
from prominence_executors import ProminenceExecutor
with ProminenceExecutor(1, session=sys.argv[1], on_exit=sys.argv[2]) as executor:
    future = executor.with_options(name="first").submit("sleep 600")
    executor.with_options(name="second").submit("true")
    while future.status != "running":
        pass
    print("running", flush=True)
    future.result()
"""


class Driver:
    """A program with a call that runs and one that waits for its turn."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self.process = process
        self._errors = errors

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def says(self, text: str) -> bool:
        return text in self.errors


@contextmanager
def driver(service: LocalService, name: str, on_exit: str, directory: Path) -> Iterator[Driver]:
    access = {"PROMINENCE_URL": service.endpoint.url, "PROMINENCE_TOKEN": service.endpoint.token}
    words = [sys.executable, "-c", _DRIVER, name, on_exit]
    with (
        (directory / "errors").open("w") as stderr,
        started(words, env={**os.environ, **access}, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        yield Driver(process, directory / "errors")


@contextmanager
def attached(session: Session, name: str) -> Iterator[ProminenceExecutor]:
    with ProminenceExecutor.attach(name, service=session, on_exit="cancel") as executor:
        yield executor
    executor.close(delete=True)


def names(executor: ProminenceExecutor) -> tuple[list[str], list[str]]:
    """Of the calls that were sent, and of those that were not."""
    return [str(each.job.name) for each in executor.attached], [each.name for each in executor.unsent]


@pytest.mark.parametrize("on_exit", ["wait", "detach", "cancel"])
def test_a_signal_that_python_does_not_handle_is_as_a_kill(
    on_exit: str, service: LocalService, session: Session, tmp_path: Path
) -> None:
    with driver(service, f"term-{on_exit}", on_exit, tmp_path) as program:
        program.process.terminate()
        assert program.process.wait() == -signal.SIGTERM
    with attached(session, f"term-{on_exit}") as executor:
        assert names(executor) == (["first"], ["second"])
        assert not executor.attached[0].done()


def test_ctrl_c_detaches_where_the_end_does(service: LocalService, session: Session, tmp_path: Path) -> None:
    with driver(service, "int-detach", "detach", tmp_path) as program:
        program.process.send_signal(signal.SIGINT)
        program.process.wait()
        assert program.says("leaving 2 jobs to go on: ProminenceExecutor.attach('int-detach')")
    with attached(session, "int-detach") as executor:
        assert names(executor) == (["first", "second"], [])
        assert executor.attached[1].result().returncode == 0
        assert not executor.attached[0].done()


def test_ctrl_c_cancels_where_the_end_does(service: LocalService, session: Session, tmp_path: Path) -> None:
    with driver(service, "int-cancel", "cancel", tmp_path) as program:
        program.process.send_signal(signal.SIGINT)
        program.process.wait()
        assert program.says("ending 2 jobs; Ctrl-C again leaves them to go on")
    with attached(session, "int-cancel") as executor:
        assert names(executor) == (["first"], ["second"])
        assert isinstance(executor.attached[0].exception(), JobDeleted)


def test_ctrl_c_waits_where_the_end_does(service: LocalService, session: Session, tmp_path: Path) -> None:
    with driver(service, "int-wait", "wait", tmp_path) as program:
        program.process.send_signal(signal.SIGINT)
        until(lambda: program.says("waiting for 2 jobs; Ctrl-C again leaves them to go on"))
        (first,) = session.client.list_jobs(label=("prominencesession", "int-wait")).entries
        session.client.delete_job(first["id"])
        program.process.wait()
    with attached(session, "int-wait") as executor:
        assert names(executor) == (["first", "second"], [])
        assert executor.attached[1].result().returncode == 0


def test_a_driver_that_is_stopped_still_drives(
    service: LocalService, session: Session, tmp_path: Path
) -> None:
    with driver(service, "stopped", "wait", tmp_path) as program:
        program.process.send_signal(signal.SIGSTOP)
        with pytest.raises(SessionInUse, match=rf"process {program.process.pid} on "):
            ProminenceExecutor.attach("stopped", service=session)
    with attached(session, "stopped") as executor:
        assert names(executor) == (["first"], ["second"])
