"""Calls and commands that are submitted again after they failed."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.runs import Tries
from support.until import until

from prominence import Job, Resources, Session, Task
from prominence.exceptions import (
    InterruptedAfterStart,
    InvalidDescription,
    JobDeleted,
    JobEvicted,
    ResultNotPicklable,
    TaskExitError,
    WalltimeExceeded,
)
from prominence.local.machine.files import AttemptFiles
from prominence_executors import ProminenceExecutor, Retries

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService

    from prominence_executors import ProminenceFuture


def lose(service: LocalService, future: ProminenceFuture[Any]) -> None:
    """Kill what runs the job, once it does."""
    job_id = until(lambda: future.job.id)
    os.kill(until(AttemptFiles(service.state.attempts / f"{job_id}-1").claimed_by).pid, signal.SIGKILL)


def test_without_retries_a_failure_is_told(executor: ProminenceExecutor, tmp_path: Path) -> None:
    tries = Tries(tmp_path / "tries", 1)
    future = executor.submit(tries)
    with pytest.raises(LookupError):
        future.result()
    assert len(future.attempts) == 1


def test_a_function_that_raised_is_called_again(executor: ProminenceExecutor, tmp_path: Path) -> None:
    future = executor.with_options(retries=Retries(user=3)).submit(Tries(tmp_path / "tries", 2))

    assert future.result() == 3

    assert [str(attempt.error) for attempt in future.attempts] == ["try 1", "try 2", "None"]
    ids = [attempt.job.id for attempt in future.attempts]
    assert len(set(ids)) == 3
    assert ids[-1] == future.job.id
    statuses = [attempt.snapshot and attempt.snapshot.status for attempt in future.attempts]
    assert statuses == ["completed"] * 3


def test_failures_of_each_side_are_counted_apart(
    executor: ProminenceExecutor, service: LocalService, tmp_path: Path
) -> None:
    tries = tmp_path / "tries"

    def unlucky() -> int:
        with tries.open("a") as file:
            file.write("x")
        made = len(tries.read_text())
        if made == 1:
            threading.Event().wait(600)
        if made == 2:
            raise LookupError
        return made

    future = executor.with_options(retries=Retries(infrastructure=1, user=1)).submit(unlucky)
    until(tries.exists)
    lose(service, future)

    assert future.result() == 3
    assert [type(attempt.error) for attempt in future.attempts] == [JobEvicted, LookupError, type(None)]


def test_the_last_failure_is_told(executor: ProminenceExecutor, tmp_path: Path) -> None:
    tries = Tries(tmp_path / "tries", 9)
    future = executor.with_options(retries=Retries(user=1)).submit(tries)
    with pytest.raises(LookupError, match="try 2"):
        future.result()
    assert tries.made() == len(future.attempts) == 2


def test_a_command_that_failed_is_run_again(executor: ProminenceExecutor, tmp_path: Path) -> None:
    script = (
        f'sh -c "echo x >> {tmp_path}/runs; test -e {tmp_path}/flag || {{ touch {tmp_path}/flag; exit 4; }}"'
    )
    future = executor.with_options(retries=Retries(user=1)).submit(script)

    assert future.result().returncode == 0

    first, second = future.attempts
    assert isinstance(first.error, TaskExitError)
    assert first.error.exit_codes == (4,)
    assert second.error is None
    assert (tmp_path / "runs").read_text() == "x\nx\n"


def test_a_job_whose_machine_was_lost_is_submitted_again(
    executor: ProminenceExecutor, service: LocalService, tmp_path: Path
) -> None:
    tries = Tries(tmp_path / "tries", 0)
    future = executor.with_options(retries=Retries(infrastructure=1)).submit(tries.sleep_first)
    until(tries.made)
    lose(service, future)

    assert future.result() == 2

    first, second = future.attempts
    assert isinstance(first.error, JobEvicted)
    assert first.job.id != second.job.id == future.job.id


def test_the_kinds_are_counted_apart(
    executor: ProminenceExecutor, service: LocalService, tmp_path: Path
) -> None:
    tries = Tries(tmp_path / "tries", 0)
    future = executor.with_options(retries=Retries(user=5)).submit(tries.sleep_first)
    until(tries.made)
    lose(service, future)
    with pytest.raises(JobEvicted):
        future.result()
    assert tries.made() == 1


BOTH = Retries(infrastructure=2, user=2)


def test_what_somebody_ended_is_not_submitted_again(executor: ProminenceExecutor) -> None:
    future = executor.with_options(retries=BOTH).submit("sleep 600")
    until(lambda: future.job.id)
    assert future.kill()
    with pytest.raises(JobDeleted):
        future.result()
    assert len(future.attempts) == 1


def test_a_call_that_is_killed_between_two_attempts_ends(
    executor: ProminenceExecutor, tmp_path: Path
) -> None:
    tries = Tries(tmp_path / "tries", 10**6)
    future = executor.with_options(retries=Retries(user=10**6)).submit(tries)
    until(lambda: len(future.attempts) > 1)
    future.kill()
    assert isinstance(future.exception(), LookupError | JobDeleted)


def test_what_would_only_happen_again_is_not_tried_again(
    own_service: LocalService, executor: ProminenceExecutor
) -> None:
    future = executor.with_options(retries=BOTH).submit(threading.Lock)
    assert isinstance(future.exception(), ResultNotPicklable)
    assert len(future.attempts) == 1
    with (
        Session(own_service.settings()) as session,
        ProminenceExecutor(session=session, resources=Resources(walltime=1), retries=BOTH) as short,
    ):
        late = short.submit("sleep 600")
        with pytest.raises(WalltimeExceeded):
            late.result()
        assert len(late.attempts) == 1


def test_what_must_not_run_again_is_not_submitted_again_once_it_has_begun(
    executor: ProminenceExecutor, service: LocalService, tmp_path: Path
) -> None:
    tries = Tries(tmp_path / "tries", 0)
    future = executor.with_options(retries=BOTH, rerun="never").submit(tries.sleep_first)
    until(tries.made)
    lose(service, future)
    with pytest.raises((JobEvicted, InterruptedAfterStart)):
        future.result()
    assert tries.made() == len(future.attempts) == 1


def test_a_submitted_job_is_described_again(executor: ProminenceExecutor, session: Session) -> None:
    job = Job(name="mine", tasks=[Task(image="none", command="false")], resources=Resources(cpus=1, memory=1))
    future = executor.with_options(retries=Retries(user=1)).submit(job)
    with pytest.raises(TaskExitError):
        future.result()
    first, second = future.attempts
    assert first.job is job
    entry = session.client.describe_job(second.job.id or 0).entries[0]
    assert (entry["name"], entry["tasks"][0]["cmd"]) == ("mine", "false")


@pytest.mark.parametrize(
    ("retries", "field"),
    [
        (Retries(user=-1), r"retries\.user"),
        (Retries(infrastructure=True), r"retries\.infrastructure"),
        (Retries(user=1.5), r"retries\.user"),  # type: ignore[arg-type]
        (3, "retries"),
    ],
)
def test_what_is_no_number_of_retries(retries: Any, field: str, executor: ProminenceExecutor) -> None:
    with pytest.raises(InvalidDescription, match=f"^{field} = "):
        executor.with_options(retries=retries)
