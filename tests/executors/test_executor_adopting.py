"""Futures for jobs that are known by their ids: of calls of one's own, of other executors, of anybody's."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support.service import LocalService
from support.until import until

from prominence import Job, Session, Task
from prominence.exceptions import InvalidDescription, JobDeleted, NotFound, TaskExitError
from prominence_executors import ProminenceExecutor, ProminenceFuture, Retries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def other(session: Session) -> Iterator[ProminenceExecutor]:
    with ProminenceExecutor(session=session) as executor:
        yield executor


def id_of(future: ProminenceFuture[Any]) -> int:
    return until(lambda: future.job_id)


def test_a_call_of_ones_own_has_the_future_that_it_has(executor: ProminenceExecutor) -> None:
    future = executor.submit("sleep 600")
    job_id = id_of(future)
    assert executor.future_for(job_id) is future
    assert executor.with_options(env={"A": "b"}).future_for(str(job_id)) is future
    future.kill()
    assert isinstance(future.exception(), JobDeleted)
    assert executor.future_for(job_id) is future
    assert executor.stats().total == 1


def test_a_call_that_was_tried_again_is_found_by_each_of_its_jobs(executor: ProminenceExecutor) -> None:
    future = executor.with_options(retries=Retries(user=1)).submit("false")
    future.exception()
    assert executor.futures_for([attempt.job.id or 0 for attempt in future.attempts]) == [future, future]


def test_jobs_of_others_have_the_outcomes_that_they_had_there(
    executor: ProminenceExecutor, other: ProminenceExecutor
) -> None:
    sent = [
        other.submit(pow, 2, 5),
        other.submit(divmod, 1, 0),
        other.submit("sh -c 'echo seen'"),
        other.submit("sh -c 'exit 3'"),
    ]
    ids = json.loads(json.dumps([id_of(future) for future in sent]))

    value, error, command, failed = executor.futures_for(ids)

    assert value.result() == 32
    assert isinstance(error.exception(), ZeroDivisionError)
    assert command.result().stdout == "seen\n"
    assert isinstance(failed.exception(), TaskExitError)
    assert executor.with_options(check=False).future_for(ids[3]) is failed
    assert "exit code 3" in failed.explain()


def test_a_command_may_fail_where_the_options_say_so(
    executor: ProminenceExecutor, other: ProminenceExecutor
) -> None:
    job_id = id_of(other.submit("sh -c 'exit 3'"))
    assert executor.with_options(check=False).future_for(job_id).result().returncode == 3


def _reciprocal(number: int) -> float:
    return 1 / number


def test_a_chunk_of_a_map_gives_a_list(
    executor: ProminenceExecutor, other: ProminenceExecutor, session: Session
) -> None:
    list(other.map(_reciprocal, range(3), chunksize=3, return_exceptions=True))
    (job_id,) = [entry["id"] for entry in _jobs(session) if entry["name"] == "_reciprocal"][-1:]
    failed, *values = executor.future_for(job_id).result()
    assert isinstance(failed, ZeroDivisionError)
    assert values == [1, 1 / 2]


def _jobs(session: Session) -> list[dict[str, Any]]:
    entries = session.client.list_jobs(everything=True).entries
    return sorted(entries, key=lambda entry: int(entry["id"]))


def test_a_job_without_an_executor_is_a_command(executor: ProminenceExecutor, session: Session) -> None:
    job = Job(session=session, tasks=[Task(image="none", command="sleep 600")])
    job.create()
    future = executor.future_for(job.id or 0)
    assert future.kill()
    assert isinstance(future.exception(), JobDeleted)


def test_threads_that_ask_at_once_are_given_one_future(
    executor: ProminenceExecutor, other: ProminenceExecutor
) -> None:
    job_id = id_of(other.submit("true"))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(executor.future_for, [job_id] * 8))
    assert len(set(map(id, found))) == 1
    assert executor.stats().total == 1


def test_what_the_service_does_not_know_is_told_and_nothing_is_followed(
    executor: ProminenceExecutor, other: ProminenceExecutor
) -> None:
    job_id = id_of(other.submit("true"))
    with pytest.raises(NotFound, match="does not know job 987654"):
        executor.futures_for([job_id, 987654])
    assert executor.stats().total == 0


@pytest.mark.parametrize("job_id", [0, -1, True, 1.5, "x", "", None, "²"])
def test_what_is_no_id_is_refused(executor: ProminenceExecutor, job_id: Any) -> None:
    with pytest.raises(InvalidDescription, match="job_id"):
        executor.future_for(job_id)


def test_a_call_of_the_session_is_read_as_it_was_noted(session: Session) -> None:
    with ProminenceExecutor(session="by-id", service=session, check=False) as first:
        job_id = id_of(first.submit("false"))
    with ProminenceExecutor(session="by-id", service=session) as second:
        assert second.future_for(job_id).result().returncode == 1
        second.close(delete=True)


def test_shutting_down_waits_for_it(session: Session, other: ProminenceExecutor, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job_id = id_of(other.submit(f"sh -c 'until [ -e {go} ]; do sleep 0.05; done'"))
    with ProminenceExecutor(session=session) as executor:
        future = executor.future_for(job_id)
        assert not future.done()
        go.touch()
    assert future.done()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.future_for(id_of(other.submit("true")))


def test_behind_a_fence_it_is_what_was_committed(tmp_path: Path) -> None:
    with (
        LocalService(tmp_path / "rough", cpus=4, memory=16, rough=True) as rough,
        Session(rough.settings()) as session,
        ProminenceExecutor(session=session) as other,
    ):
        job_id = id_of(other.submit(pow, 2, 5))
        with ProminenceExecutor(session=session) as executor:
            assert executor.future_for(job_id).result() == 32
        assert other.future_for(job_id).result() == 32
