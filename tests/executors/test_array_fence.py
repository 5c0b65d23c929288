"""Arrays at a service that repeats jobs and submissions: one workflow makes the calls, each of them once."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support.arrays import array_of, value
from support.repeated import Blocker, lose_supervisor
from support.service import LocalService
from support.until import until

from prominence import JobPolicies, Session, Settings
from prominence.exceptions import (
    CallLost,
    InterruptedAfterStart,
    JobDeleted,
    JobEvicted,
    JobFailedError,
)
from prominence_executors import ProminenceExecutor, Retries
from prominence_executors.runner.fence import FREE, VARIABLE, gate_of, key_in

if TYPE_CHECKING:
    from pathlib import Path

    from support.runs import Runs

    from prominence_executors import ProminenceFuture


def workflow_of(session: Session) -> dict[str, Any]:
    """The youngest one, as the service has it."""
    found = session.client.list_workflows(everything=True, detail=True).entries
    return max(found, key=lambda entry: int(entry["id"]))


def array_key(workflow: dict[str, Any]) -> str:
    return str(workflow["jobs"][0]["tasks"][0]["env"][VARIABLE].split()[0])


@dataclass
class Queued:
    """An array of calls that leave the numbers of their jobs; their workflow waits for a place."""

    service: LocalService
    session: Session
    futures: list[ProminenceFuture[Any]]
    workflow: dict[str, Any]

    def twin(self, **policies: Any) -> int:
        """The same workflow once more, as of a request that was sent twice."""
        names = ("name", "labels", "factories")
        jobs = [{**job, "policies": policies} for job in self.workflow["jobs"]]
        description = {name: self.workflow[name] for name in names} | {"jobs": jobs}
        response = self.service.request("POST", "/workflows", json=description)
        assert response.status_code == 201, response.text
        return int(response.json()["id"])

    def jobs_of(self, workflow: int) -> set[int]:
        return {job["id"] for job in self.session.client.list_workflow_jobs(workflow).entries}

    def wait_for(self, workflow: int) -> None:
        def has_ended() -> bool:
            (entry,) = self.session.client.describe_workflow(workflow).entries
            return entry["status"] not in {"idle", "running"}

        until(has_ended)


@pytest.fixture
def queued(
    fenced: ProminenceExecutor, rough: LocalService, rough_session: Session, blocker: Blocker, runs: Runs
) -> Queued:
    assert blocker
    futures = array_of(fenced, runs.of_call, range(3))
    until(lambda: futures[0].job_id)
    return Queued(rough, rough_session, futures, workflow_of(rough_session))


def test_each_call_is_claimed_and_committed(fenced: ProminenceExecutor, rough_session: Session) -> None:
    futures = array_of(fenced, abs, [-1, -2, -3])

    assert [value(future) for future in futures] == [1, 2, 3]

    workflow = workflow_of(rough_session)
    key = array_key(workflow)
    claims = rough_session.client.kv_values(key)
    assert set(claims) == {f"/{gate_of(key)}", *(f"/{key_in(key, index)}" for index in range(3))}
    assert claims[f"/{gate_of(key)}"].startswith(f"{workflow['id']}.")
    for index, future in enumerate(futures):
        assert claims[f"/{key_in(key, index)}"].startswith(f"{workflow['id']}.{future.job.id}:")
        assert claims[f"/{key_in(key, index)}"].count(":") == 2


def test_failures_leave_their_neighbours(fenced: ProminenceExecutor, runs: Runs) -> None:
    def odd(number: int) -> int:
        if number == 1:
            raise KeyError(number)
        if number == 2:
            os._exit(7)
        if number == 3:
            runs()
            threading.Event().wait(600)
        return number

    futures = array_of(fenced, odd, range(5))
    until(runs.jobs)
    assert futures[3].kill()

    assert [value(futures[number]) for number in (0, 4)] == [0, 4]
    with pytest.raises(KeyError):
        value(futures[1])
    with pytest.raises(CallLost):
        value(futures[2])
    with pytest.raises(JobDeleted):
        value(futures[3])


def test_what_is_too_large_to_commit_comes_as_a_file(fenced: ProminenceExecutor) -> None:
    futures = array_of(fenced, bytes, [20_000, 3])

    assert [value(future) for future in futures] == [bytes(20_000), bytes(3)]


class TestTwins:
    def test_of_several_workflows_one_makes_the_calls(
        self, queued: Queued, blocker: Blocker, runs: Runs
    ) -> None:
        others = [queued.twin() for _ in range(2)]
        blocker.end()

        found = [value(future) for future in queued.futures]

        assert found == [future.job.id for future in queued.futures]
        assert set(found) == queued.jobs_of(queued.workflow["id"])
        for other in others:
            queued.wait_for(other)
        assert Counter(runs.jobs()) == Counter(found)

    def test_the_one_that_was_first_is_followed(self, queued: Queued, blocker: Blocker, runs: Runs) -> None:
        first = queued.twin(priority=10)
        blocker.end()

        found = [value(future) for future in queued.futures]

        assert found == [future.job.id for future in queued.futures]
        assert set(found) == queued.jobs_of(first)
        assert Counter(runs.jobs()) == Counter(found)

    def test_a_twin_of_a_deleted_workflow_makes_no_call(
        self, queued: Queued, blocker: Blocker, runs: Runs
    ) -> None:
        assert queued.session.client.delete_workflow(queued.workflow["id"])
        assert all(isinstance(future.exception(120), JobFailedError) for future in queued.futures)

        twin = queued.twin()
        blocker.end()

        queued.wait_for(twin)
        ended = [queued.service.describe(job) for job in queued.jobs_of(twin)]
        assert [job["execution"]["tasks"][0]["exitCode"] for job in ended] == [92, 92, 92]
        assert runs.jobs() == []


class TestRunsOfOneJob:
    def test_an_evicted_job_makes_its_call_again(
        self, fenced: ProminenceExecutor, rough: LocalService, runs: Runs
    ) -> None:
        executor = fenced.with_options(policies=JobPolicies(maximum_retries=1))
        futures = array_of(executor, runs.first_of_all_waits, range(3))
        until(runs.jobs)
        lose_supervisor(rough, runs.jobs()[0])

        assert [value(future) for future in futures] == [0, 1, 2]
        assert len(runs.jobs()) == 4

    def test_but_not_a_call_that_must_not_run_again(
        self, fenced: ProminenceExecutor, rough: LocalService, runs: Runs
    ) -> None:
        executor = fenced.with_options(policies=JobPolicies(maximum_retries=1), rerun="never")
        futures = array_of(executor, runs.first_of_all_waits, range(3))
        until(runs.jobs)
        lose_supervisor(rough, runs.jobs()[0])

        with pytest.raises(InterruptedAfterStart):
            value(futures[0])
        assert [value(future) for future in futures[1:]] == [1, 2]
        assert len(runs.jobs()) == 3

    def test_one_that_is_lost_is_tried_again_as_a_single_job(
        self, rough: LocalService, rough_session: Session, runs: Runs
    ) -> None:
        with ProminenceExecutor(session=rough_session, retries=Retries(infrastructure=1)) as executor:
            futures = array_of(executor, runs.first_of_all_waits, range(3))
            until(runs.jobs)
            lose_supervisor(rough, runs.jobs()[0])

            assert [value(future) for future in futures] == [0, 1, 2]
        first, second = futures[0].attempts
        assert isinstance(first.error, JobEvicted)
        key = rough.describe(second.job.id or 0)["tasks"][0]["env"][VARIABLE].split()[0]
        assert rough.get(f"/kv/{key}").text.startswith(f"{second.job.id}:")

    def test_a_service_that_is_killed_and_comes_back(self, tmp_path: Path, runs: Runs) -> None:
        with (
            LocalService(tmp_path / "killed", cpus=2, memory=64, rough=True) as service,
            Session(Settings(service.endpoint.url, service.endpoint.token, service.local)) as session,
            ProminenceExecutor(session=session) as executor,
        ):
            futures = array_of(executor, runs.of_call, range(8))
            until(lambda: len(runs.jobs()) > 2)
            service.kill()
            service.start()

            found = [value(future) for future in futures]

        assert Counter(runs.jobs()) == Counter(found)


def test_calls_that_must_not_run_again_are_arrays_with_a_fence_anywhere(session: Session) -> None:
    with ProminenceExecutor(session=session, rerun="never") as executor:
        futures = array_of(executor, abs, [-1, -2, -3])

        assert [value(future) for future in futures] == [1, 2, 3]
    assert FREE not in session.client.kv_values(array_key(workflow_of(session))).values()


def test_a_job_of_an_array_can_be_had_by_its_id(fenced: ProminenceExecutor, rough_session: Session) -> None:
    futures = array_of(fenced, abs, [-1, -2])
    ids = [until(lambda future=future: future.job_id) for future in futures]  # type: ignore[misc]

    with ProminenceExecutor(session=rough_session) as other:
        assert [future.result() for future in other.futures_for(ids)] == [[1], [2]]
    assert [value(future) for future in futures] == [1, 2]


def test_an_array_waits_until_there_is_room_for_all_of_it(rough_session: Session, blocker: Blocker) -> None:
    with ProminenceExecutor(max_workers=4, session=rough_session, on_exit="cancel") as executor:
        first = array_of(executor, abs, [-1, -2, -3])
        second = array_of(executor, abs, [-4, -5])
        rough_session.sender.join()  # whatever may be sent is sent then

        assert all(future.running() for future in first)
        assert not any(future.running() for future in second)
        blocker.end()
        assert [value(future) for future in [*first, *second]] == [1, 2, 3, 4, 5]


def test_calls_that_are_cancelled_before_are_not_sent(rough_session: Session, blocker: Blocker) -> None:
    with ProminenceExecutor(max_workers=3, session=rough_session) as executor:
        first = array_of(executor, abs, [-1, -2, -3])
        second = array_of(executor, abs, [-4, -5, -6])
        assert second[1].cancel()
        blocker.end()

        assert [value(future) for future in [*first, second[0], second[2]]] == [1, 2, 3, 4, 6]
    workflow = workflow_of(rough_session)
    assert workflow["factories"][0]["parameters"][0]["values"] == [0, 2]
