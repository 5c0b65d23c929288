"""Arrays of calls in sessions with a name: found again with all their calls, whatever has become of them."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.arrays import array_of
from support.repeated import Blocker, lose_supervisor
from support.runs import Runs
from support.service import LocalService
from support.until import until

from prominence import Session, WorkflowPolicies
from prominence_executors import ProminenceExecutor, Retries, chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from prominence import Workflow


def left(
    session: Session, name: str, function: Callable[[int], Any], numbers: Sequence[int], **options: Any
) -> None:
    """Send an array and go away."""
    with ProminenceExecutor(session=name, service=session, on_exit="detach", **options) as executor:
        array_of(executor, function, numbers)


def workflows_of(session: Session, name: str) -> list[dict[str, Any]]:
    return session.client.list_workflows(
        everything=True, label=("prominencesession", name), detail=True
    ).entries


def waiting_for(go: Path) -> Callable[[int], int]:
    def wait(number: int) -> int:
        if number % 2:
            until(go.exists, 600)
        return number

    return wait


def test_done_running_and_queued_calls_are_found(session: Session, tmp_path: Path) -> None:
    go = tmp_path / "go"
    left(session, "array-states", waiting_for(go), range(20))  # half of them wait, for more than 8 cpus

    with ProminenceExecutor.attach("array-states", service=session) as attached:
        assert len(attached.attached) == 20
        until(attached.attached[0].done)
        assert not any(future.done() for future in attached.attached[1::2])
        go.touch()

        assert [future.result() for future in attached.attached] == [[number] for number in range(20)]
        assert attached.unsent == ()
        attached.close(delete=True)
    assert len(workflows_of(session, "array-states")) == 1


@pytest.mark.parametrize("rerun", ["allowed", "never"])  # without a fence, and with one
def test_what_was_done_is_found_without_running_again(session: Session, tmp_path: Path, rerun: str) -> None:
    runs = tmp_path / "runs"

    def note(number: int) -> int:
        with runs.open("a") as file:
            file.write(f"{number}\n")
        if number == 2:
            raise KeyError(number)
        return number

    name = f"array-done-{rerun}"
    left(session, name, note, range(4), rerun=rerun)
    until(lambda: workflows_of(session, name)[0]["status"] in {"completed", "failed"})

    for last in (False, True):
        with ProminenceExecutor.attach(name, service=session) as attached:
            found = [future.result() for future in attached.attached]
            assert [found[number] for number in (0, 1, 3)] == [[0], [1], [3]]
            assert isinstance(found[2][0], KeyError)
            if last:
                attached.close(delete=True)
    assert sorted(runs.read_text().split()) == ["0", "1", "2", "3"]


def test_calls_that_were_cancelled_are_named(session: Session, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with ProminenceExecutor(4, session="array-cancelled", service=session, on_exit="detach") as executor:
        array_of(executor, waiting_for(go), [1, 3, 5])
        second = array_of(executor, abs, [-1, -2, -3])  # waits for the first one
        assert second[1].cancel()
        go.touch()

    with ProminenceExecutor.attach("array-cancelled", service=session) as attached:
        assert [future.result() for future in attached.attached] == [[1], [3], [5], [1], [3]]
        assert [call.number for call in attached.unsent] == [4]
        attached.close(delete=True)


def test_one_that_is_lost_is_tried_again_with_its_own_items(
    service: LocalService, session: Session, tmp_path: Path
) -> None:
    runs = Runs(tmp_path / "runs")

    def wait_at_first(number: int) -> int:
        if number == 4 and not runs.jobs():
            runs.first_waits()
        return number

    left(session, "array-tried", wait_at_first, range(3, 6), retries=Retries(infrastructure=1))
    (lost,) = until(runs.jobs)

    with ProminenceExecutor.attach("array-tried", service=session) as attached:
        lose_supervisor(service, lost)
        assert [future.result() for future in attached.attached] == [[3], [4], [5]]
        (tried,) = (future for future in attached.attached if len(future.attempts) == 2)
        assert tried.attempts[0].job.id == lost
    with ProminenceExecutor.attach("array-tried", service=session) as again:
        assert [future.result() for future in again.attached] == [[3], [4], [5]]
        attempts = {future.job.id: len(future.attempts) for future in again.attached}
        assert attempts[tried.job.id] == 2
        again.close(delete=True)


@pytest.mark.parametrize("is_rough", [False, True], ids=["plain", "rough"])  # without a fence, and with one
def test_of_several_tries_of_the_service_the_last_one_counts(tmp_path: Path, is_rough: bool) -> None:
    runs = Runs(tmp_path / "runs")

    def fail_first(number: int) -> int:
        if number == 1 and not runs.jobs():
            runs()
            os._exit(7)
        return int(runs()) if number == 1 else number

    with (
        LocalService(tmp_path / "service", cpus=1, memory=64, rough=is_rough) as service,
        Session(replace(service.settings(), settle_window=0.2)) as session,
    ):
        with ProminenceExecutor(session="array-tries", service=session, on_exit="detach") as executor:
            array = executor._submittable().array(fail_first, [[(number,)] for number in range(3)])
            assert array is not None
            array.workflow = partial(_with_retries, array.workflow)
            with Blocker(service):  # the driver goes before anything has run
                executor._dispatcher.add(array)
                executor.shutdown()
        until(lambda: workflows_of(session, "array-tries")[0]["status"] == "completed")

        with ProminenceExecutor.attach("array-tries", service=session) as attached:
            first, tried, last = (future.result() for future in attached.attached)
            assert (first, last) == ([0], [2])
            assert tried == [attached.attached[1].job.id] == runs.jobs()[1:]


def _with_retries(workflow: Callable[[Sequence[int]], Workflow], indexes: Sequence[int]) -> Workflow:
    made = workflow(indexes)
    made.policies = WorkflowPolicies(maximum_retries=1)
    return made


def test_a_map_sends_workflows_that_are_found_in_order(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "ARRAY_FROM", 3)
    with ProminenceExecutor(
        session="array-mapped", service=session, on_exit="detach", max_workers=8
    ) as executor:
        executor.submit(abs, -7)
        results = executor.map(pow, range(8), itertools.repeat(2))

    with ProminenceExecutor.attach("array-mapped", service=session) as attached:
        first, *squares = (future.result() for future in attached.attached)
        assert first == 7
        assert squares == [[number**2] for number in range(8)]
        assert [future.is_chunk for future in attached.attached] == [False] + [True] * 8
        attached.close(delete=True)
    assert len(workflows_of(session, "array-mapped")) == 2  # each has at most half of what may run
    results.close()


def test_every_job_of_a_workflow_carries_its_session(session: Session) -> None:
    left(session, "array-marked", abs, [-1, -2, -3])

    (workflow,) = workflows_of(session, "array-marked")
    until(lambda: len(session.client.list_workflow_jobs(workflow["id"]).entries) == 3)
    marked = session.client.list_jobs(everything=True, label=("prominencesession", "array-marked")).entries
    assert len(marked) == 3
    ProminenceExecutor.attach("array-marked", service=session).close(delete=True)
