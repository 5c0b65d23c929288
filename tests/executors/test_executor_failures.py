"""Every way in which a job fails a future, brought about for real."""

from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import sys
import threading
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.until import until

from prominence import Artifact, Resources, Session
from prominence.exceptions import (
    CallLost,
    JobDeleted,
    JobEvicted,
    MemoryExceeded,
    NoMatchingResources,
    PythonMismatch,
    StageInFailed,
    StageOutFailed,
    TaskExitError,
    TaskKilled,
    WalltimeExceeded,
)
from prominence.local.machine.files import AttemptFiles
from prominence_executors import ProminenceExecutor
from prominence_executors.advice import word_for_a_shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.service import LocalService


@pytest.fixture
def executor_with(service: LocalService) -> Iterator[Any]:
    """Makes executors whose functions are run by some other program than this interpreter."""
    sessions = []

    def make(program: Path) -> ProminenceExecutor:
        settings = service.settings()
        local = dataclasses.replace(settings.local, python=str(program))
        sessions.append(Session(dataclasses.replace(settings, local=local)))
        return ProminenceExecutor(session=sessions[-1])

    yield make
    for session in sessions:
        session.close()


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_exit_code(executor: ProminenceExecutor) -> None:
    with pytest.raises(TaskExitError, match="ended with exit code 3; look at") as caught:
        executor.submit("sh -c 'echo the reason >&2; exit 3'").result()

    assert type(caught.value) is TaskExitError
    assert (caught.value.exit_codes, caught.value.status) == ((3,), "completed")
    assert caught.value.stderr == "the reason"


def test_a_command_with_words_for_a_shell(executor: ProminenceExecutor) -> None:
    error = executor.submit("ls nothing | wc").exception()

    assert isinstance(error, TaskExitError)
    assert error.args[0].endswith(
        "; look at its standard error; | is for a shell, and commands are run without one: use sh -c '...'"
    )
    quoted = executor.submit(["ls", "nothing", "|", "*.txt"]).exception()
    assert isinstance(quoted, TaskExitError)
    assert quoted.args[0].endswith("; look at its standard error")


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("ls && wc", "&&"),
        ("ls *.txt", "*.txt"),
        ("ls 2>/dev/null", "2>/dev/null"),
        ("sort < in.txt", "<"),
        ("ls there; true", "there;"),
        ("ls $(pwd)/there", "$(pwd)/there"),
        ("sh -c 'ls | wc'", ""),
        ("find . -exec ls {} \\;", ""),
        ('grep "*" x', ""),
        ("echo it's", ""),
        (f"ls {'x' * 5000} | wc", ""),
    ],
)
def test_words_for_a_shell(command: str, word: str) -> None:
    assert word_for_a_shell(command) == word


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("sh -c 'kill -TERM $$$$'", r"ended by signal 15 \(SIGTERM\);"),
        ("sh -c 'exit 137'", r"ended by signal 9 \(SIGKILL\), which its exit code 137 stands for"),
    ],
)
def test_a_signal(executor: ProminenceExecutor, command: str, text: str) -> None:
    with pytest.raises(TaskKilled, match=text):
        executor.submit(command).result()


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda: os._exit(7), "ended with exit code 7"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal 9"),
        (lambda: os._exit(255), "ended with exit code 255"),
        (lambda: os._exit(0), "ended with exit code 0 before it could tell"),
    ],
)
def test_a_call_that_ends_its_own_process(executor: ProminenceExecutor, function: Any, text: str) -> None:
    with pytest.raises(CallLost, match=text) as caught:
        executor.submit(function).result()

    assert isinstance(caught.value, BrokenExecutor)
    assert caught.value.job_id is not None
    assert len(caught.value.exit_codes) == 1
    assert executor.submit(len, "only that call is lost").result() == 22


def test_a_runner_that_is_killed_before_it_can_write(executor_with: Any, tmp_path: Path) -> None:
    with executor_with(script(tmp_path / "python", "kill -KILL $$")) as executor:
        error = executor.submit(len, "").exception()

    assert type(error) is CallLost  # and no failed output, though there is none
    assert "signal 9" in str(error)


def test_another_python(executor_with: Any, tmp_path: Path) -> None:
    pretends = (
        "import runpy, sys; sys.version_info = (3, 99, 0); del sys.argv[0]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    other = script(tmp_path / "python", f'exec {sys.executable} -c {shlex.quote(pretends)} "$@"')

    with executor_with(other) as executor, pytest.raises(PythonMismatch) as caught:
        executor.submit(len, "").result()

    assert "its image has Python 3.99, and the caller Python 3." in str(caught.value)
    assert "choose an image" in str(caught.value)
    assert caught.value.exit_codes == (90,)


def test_an_image_without_python(executor_with: Any, tmp_path: Path) -> None:
    with (
        executor_with(tmp_path / "no-python") as executor,
        pytest.raises(PythonMismatch, match="has no python3"),
    ):
        executor.submit(len, "").result()


def test_a_walltime(own_service: LocalService) -> None:
    with (
        Session(own_service.settings()) as session,
        ProminenceExecutor(session=session, resources=Resources(walltime=1)) as executor,
        pytest.raises(WalltimeExceeded, match="Walltime limit exceeded; ask for a longer"),
    ):
        executor.submit("sleep 600").result()


def outlives_its_call() -> str:
    threading.Thread(target=threading.Event().wait).start()
    return "the value"


@pytest.mark.full
def test_a_value_that_was_written_before_the_walltime(own_service: LocalService) -> None:
    with (
        Session(own_service.settings()) as session,
        ProminenceExecutor(session=session, resources=Resources(walltime=2)) as executor,
    ):
        future = executor.submit(outlives_its_call)

        assert future.result() == "the value"
        assert (future.status, future.job.status_reason) == ("killed", "Walltime limit exceeded")


def test_memory(executor: ProminenceExecutor) -> None:
    def grow() -> None:
        held = []
        while True:
            held.append(bytearray(50_000_000))

    with pytest.raises(MemoryExceeded, match="too much memory; ask for more"):
        executor.with_options(resources=Resources(cpus=1, memory=1)).submit(grow).result()


def test_more_than_there_is(executor: ProminenceExecutor) -> None:
    future = executor.with_options(resources=Resources(cpus=1000)).submit(len, "")

    with pytest.raises(NoMatchingResources, match="No matching resources; ask for fewer"):
        future.result()


def test_a_missing_output(executor: ProminenceExecutor) -> None:
    options = {"output_files": ["made.txt", "nothing.txt"], "output_directories": ["nowhere"]}
    future = executor.with_options(**options).submit(lambda: Path("made.txt").write_bytes(b"made"))

    with pytest.raises(StageOutFailed, match=r"no such file.* \(not stored: nothing.txt, nowhere\);"):
        future.result()


def test_many_missing_outputs_are_counted(executor: ProminenceExecutor) -> None:
    names = [f"{number}.txt" for number in range(12)]

    with pytest.raises(StageOutFailed, match=r" 8.txt, 9.txt and 2 more\);"):
        executor.with_options(output_files=names).submit("true").result()


def test_an_artifact_that_is_gone(executor: ProminenceExecutor) -> None:
    with pytest.raises(StageInFailed, match="Artifact download failed"):
        executor.with_options(artifacts=[Artifact("http://127.0.0.1:9/gone.tgz")]).submit("true").result()


def test_a_job_that_somebody_deletes(executor: ProminenceExecutor, session: Session) -> None:
    future = executor.submit("sleep 600")
    job_id = until(lambda: future.job.id)
    session.client.delete_job(job_id)

    with pytest.raises(JobDeleted, match="deleted by user"):
        future.result()


def test_a_machine_that_is_lost(executor: ProminenceExecutor, service: LocalService) -> None:
    future = executor.submit("sleep 600")
    job_id = until(lambda: future.job.id)
    claim = until(AttemptFiles(service.state.attempts / f"{job_id}-1").claimed_by)
    os.kill(claim.pid, signal.SIGKILL)

    with pytest.raises(JobEvicted, match="submit it again"):
        future.result()
