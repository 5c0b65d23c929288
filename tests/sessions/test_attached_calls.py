"""Calls that were attached are as good as those of one's own: tried again, ended, explained, read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from support.repeated import lose_supervisor
from support.runs import Runs
from support.until import until

from prominence import Task
from prominence.exceptions import JobDeleted, JobEvicted, TaskExitError
from prominence_executors import ProminenceExecutor, Retries

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.service import LocalService

    from prominence import Session

TWICE = Retries(user=1)


def left(session: Session, name: str, submit: Callable[[ProminenceExecutor], Any], **options: Any) -> int:
    """Submit a call and go away; the id of its job."""
    with ProminenceExecutor(session=name, service=session, on_exit="detach", **options) as executor:
        future = submit(executor)
    return until(lambda: future.job.id)


def test_what_failed_is_tried_again_as_its_driver_had_it(session: Session, tmp_path: Path) -> None:
    jobs, go = tmp_path / "jobs", tmp_path / "go"

    def fail_first() -> str:
        until(go.exists)
        with jobs.open("a") as file:
            file.write(os.environ["PROMINENCE_JOB_ID"] + "\n")
        if len(jobs.read_text().split()) == 1:
            raise LookupError("the first one")
        return os.environ["PROMINENCE_JOB_ID"]

    first = left(session, "tries", lambda executor: executor.submit(fail_first), retries=TWICE)
    with ProminenceExecutor.attach("tries", service=session) as attached:
        (future,) = attached.attached
        go.touch()
        assert future.result() == str(future.job.id) != str(first)

    assert [attempt.job.id for attempt in future.attempts] == [first, future.job.id]
    assert isinstance(future.attempts[0].error, LookupError)
    with ProminenceExecutor.attach("tries", service=session) as again:
        (future,) = again.attached
        assert future.result() == str(future.job.id)
        assert [type(attempt.error) for attempt in future.attempts] == [TaskExitError, type(None)]
        assert f"job {first} was tried before" in future.explain()
        again.close(delete=True)
    assert len(jobs.read_text().split()) == 2


def test_what_must_not_run_again_is_not_tried_again(
    session: Session, service: LocalService, tmp_path: Path
) -> None:
    runs, options = Runs(tmp_path / "runs"), {"rerun": "never", "retries": Retries(infrastructure=1)}
    job_id = left(session, "never", lambda executor: executor.submit(runs.first_waits), **options)
    until(runs.jobs)

    with ProminenceExecutor.attach("never", service=session) as attached:
        lose_supervisor(service, job_id)
        assert isinstance(attached.attached[0].exception(), JobEvicted)
        attached.close(delete=True)
    assert runs.jobs() == [job_id]


def test_calls_that_are_taken_over_take_places(session: Session) -> None:
    left(session, "places", lambda executor: executor.submit("sleep 600"))

    with ProminenceExecutor.attach("places", service=session, max_workers=1, on_exit="cancel") as attached:
        waiting = attached.submit("true")
        session.sender.join()  # whatever may be sent is sent then
        assert waiting.job_id is None
        assert attached.attached[0].kill()
        assert waiting.result().returncode == 0
        attached.close(delete=True)


def test_attempts_of_the_old_driver_count(session: Session) -> None:
    def submit(executor: ProminenceExecutor) -> Any:
        future = executor.submit("false")
        future.exception()
        return future

    left(session, "counted", submit, retries=TWICE)
    with ProminenceExecutor.attach("counted", service=session) as attached:
        (future,) = attached.attached
        assert isinstance(future.exception(), TaskExitError)
        assert len(future.attempts) == 2
        attached.close(delete=True)


def test_what_the_service_keeps_to_itself_is_not_sent_again(
    session: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    go = tmp_path / "go"
    task = Task(
        image="private",
        command=f"sh -c 'until [ -e {go} ]; do sleep 0.05; done; exit 3'",
        image_pull_credential={"username": "me", "token": "a secret"},
    )
    first = left(session, "secret", lambda executor: executor.submit(task), retries=TWICE)
    with ProminenceExecutor.attach("secret", service=session) as attached:
        (future,) = attached.attached
        go.touch()
        with pytest.raises(TaskExitError, match="exit code 3"):
            future.result()
        attached.close(delete=True)

    assert [attempt.job.id for attempt in future.attempts] == [first]
    assert f"job {first}: not submitted again: the service keeps its secrets" in caplog.text


def test_they_are_ended_read_and_explained(
    session: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go = tmp_path / "go"

    def submit(executor: ProminenceExecutor) -> Any:
        executor.submit("sleep 600")
        executor.submit("sleep 600")
        return executor.submit(f"sh -c 'echo here; until [ -e {go} ]; do sleep 0.05; done'")

    left(session, "at-hand", submit)
    with ProminenceExecutor.attach(
        "at-hand", service=session, forward_output=True, kill_when_cancelled=True
    ) as attached:
        killed, cancelled, read = attached.attached
        assert killed.kill()
        assert not cancelled.cancel()
        until(lambda: read.stdout() == "here\n")
        until(lambda: read.status == "running")
        assert "is running" in read.explain()
        go.touch()
        assert "".join(read.logs(follow=True)) == "here\n"
        read.result()
        assert isinstance(killed.exception(), JobDeleted)
        assert isinstance(cancelled.exception(), JobDeleted)
        attached.close(delete=True)
    assert capsys.readouterr().out == "here\n"
