"""``map``: order, chunks, arrays, items that fail, and lazy input."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.arrays import array_of, value
from support.items import doubled, reciprocal, wait_long
from support.until import until

from prominence.exceptions import CallLost, JobDeleted, JobFailedError
from prominence.local.machine.files import AttemptFiles
from prominence_executors import ProminenceExecutor, Retries, chunks, submittable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.service import LocalService

    from prominence import Session


def number_of_jobs(session: Session) -> int:
    return len(session.client.list_jobs(everything=True).entries)


def number_of_workflows(session: Session) -> int:
    return len(session.client.list_workflows(everything=True).entries)


@pytest.mark.parametrize("chunksize", [1, 3, 1000, "auto"])
def test_results_come_in_the_order_of_the_items(executor: ProminenceExecutor, chunksize: Any) -> None:
    assert list(executor.map(pow, range(10), itertools.repeat(2), chunksize=chunksize)) == [
        number**2 for number in range(10)
    ]


def test_a_chunk_is_one_job(executor: ProminenceExecutor, session: Session) -> None:
    before = number_of_jobs(session)

    assert list(executor.map(abs, range(40), chunksize=16)) == list(range(40))

    assert number_of_jobs(session) - before == 3


def test_an_item_that_fails_leaves_its_neighbours(executor: ProminenceExecutor) -> None:
    results = executor.map(reciprocal, [1, 2, 0, 4, 5], chunksize=4)

    assert [next(results), next(results)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert "in reciprocal" in str(caught.value.__cause__)
    assert list(results) == [0.25, 0.2]


def test_many_calls_are_one_workflow_and_each_is_on_its_own(
    executor: ProminenceExecutor, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "ARRAY_FROM", 40)

    def odd(number: int) -> int:
        if number == 10:
            raise KeyError(number)
        if number == 20:
            os._exit(7)
        if number == 30:
            threading.Event().wait(600)
        return number

    jobs, workflows = number_of_jobs(session), number_of_workflows(session)

    results = executor.map(odd, range(40), chunksize=1, return_exceptions=True)
    until(lambda: len(executor._group.unfinished()) == 1)
    (stuck,) = executor._group.unfinished()
    assert stuck.kill()

    found = list(results)
    assert [each for each in found if isinstance(each, int)] == [
        n for n in range(40) if n not in {10, 20, 30}
    ]
    assert isinstance(found[10], KeyError)
    assert isinstance(found[20], CallLost)
    assert isinstance(found[30], JobDeleted)
    assert number_of_workflows(session) - workflows == 1
    assert number_of_jobs(session) - jobs == 40


def test_exceptions_may_be_values(executor: ProminenceExecutor) -> None:
    first, second, third = executor.map(reciprocal, [1, 0, 2], chunksize=3, return_exceptions=True)

    assert (first, third) == (1.0, 0.5)
    assert isinstance(second, ZeroDivisionError)


def test_items_before_a_crash_are_not_lost(executor: ProminenceExecutor) -> None:
    def end_at(number: int) -> int:
        if number == 2:
            threading.Event().wait(0.2)  # what came before is written by then
            raise KeyError(number)
        if number == 3:
            os._exit(7)
        return number

    first, second, third, *others = executor.map(end_at, range(6), chunksize=6, return_exceptions=True)

    assert (first, second) == (0, 1)
    assert isinstance(third, KeyError)
    assert len(others) == 3
    assert all(isinstance(each, JobFailedError) for each in others)


@pytest.mark.parametrize("chunksize", [1, 2])
def test_what_an_item_raised_is_not_tried_again(
    executor: ProminenceExecutor, tmp_path: Path, chunksize: int
) -> None:
    def fail(number: int) -> None:
        with open(tmp_path / "runs", "a") as file:  # noqa: PTH123 - appending
            file.write(f"{number}\n")
        raise KeyError(number)

    trying = executor.with_options(retries=Retries(infrastructure=1, user=2))
    found = list(trying.map(fail, range(3), chunksize=chunksize, return_exceptions=True))

    assert [str(error) for error in found] == ["0", "1", "2"]
    assert sorted((tmp_path / "runs").read_text().split()) == ["0", "1", "2"]


def test_inputs_are_taken_at_the_call(executor: ProminenceExecutor) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(5):
            taken.append(number)
            yield number

    results = executor.map(abs, numbers())

    assert taken == [0, 1, 2, 3, 4]
    assert list(results) == taken


def test_a_buffer_takes_inputs_as_results_are_taken(executor: ProminenceExecutor) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    results = executor.map(abs, numbers(), buffersize=3)

    assert taken == [0, 1, 2]
    assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
    assert len(taken) == 7
    results.close()
    assert list(results) == []


def test_several_threads_take_each_result_once(executor: ProminenceExecutor) -> None:
    results = executor.map(abs, itertools.count(), buffersize=4)

    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda _: next(results), range(20)))
    results.close()

    assert sorted(taken) == list(range(20))


def test_closing_ends_it_for_a_thread_that_waits(executor: ProminenceExecutor) -> None:
    results = executor.map(wait_long, range(2))

    with ThreadPoolExecutor(1) as threads:
        rest = threads.submit(list, results)
        until(lambda: executor.stats().running)
        results.close()
        for future in executor._group.unfinished():
            future.kill()
        assert rest.result() == []


def test_a_timeout_is_raised_and_cancels_what_was_not_sent(session: Session) -> None:
    with ProminenceExecutor(max_workers=1, session=session) as executor:
        results = executor.map(wait_long, range(3), timeout=1, chunksize=1)

        with pytest.raises(TimeoutError):
            next(results)

        assert list(results) == []
        until(lambda: len(executor._group.unfinished()) == 1)
        (running,) = executor._group.unfinished()
        assert running.kill()


def test_progress_is_told_in_items(executor: ProminenceExecutor) -> None:
    told: list[tuple[int, int]] = []

    results = executor.map(
        abs, range(7), chunksize=3, progress=lambda done, total: told.append((done, total))
    )

    assert len(list(results)) == 7
    until(lambda: len(told) == 3)
    assert {total for _, total in told} == {7}
    assert max(done for done, _ in told) == 7


def test_a_deleted_workflow_ends_its_calls(executor: ProminenceExecutor, session: Session) -> None:
    before = {entry["id"] for entry in session.client.list_workflows(everything=True).entries}
    results = executor.map(wait_long, range(150), chunksize=1, return_exceptions=True)

    def new() -> int | None:
        ids = {entry["id"] for entry in session.client.list_workflows(everything=True).entries} - before
        return next(iter(ids), None)

    session.client.delete_workflow(until(new))

    found = list(results)
    assert len(found) == 150
    assert all(isinstance(each, JobFailedError) for each in found)


def test_what_cannot_be_pickled_is_raised_at_its_place(executor: ProminenceExecutor) -> None:
    with pytest.raises(TypeError, match="lock"):
        list(executor.map(abs, [threading.Lock()]))


def test_a_command_is_refused(executor: ProminenceExecutor) -> None:
    with pytest.raises(TypeError, match="map needs a function, not 'echo'"):
        executor.map("echo", range(3))  # type: ignore[arg-type]


def test_items_that_are_too_much_for_one_array_are_several(
    executor: ProminenceExecutor, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "ARRAY_FROM", 3)
    monkeypatch.setattr(submittable, "_MOST_BYTES_OF_ITEMS", 4_000)
    before = number_of_workflows(session)

    assert list(executor.map(len, [bytes(1_000)] * 6)) == [1_000] * 6
    assert number_of_workflows(session) - before == 2


def test_an_item_that_cannot_be_pickled_leaves_its_neighbours(
    executor: ProminenceExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "ARRAY_FROM", 3)

    found = list(executor.map(repr, [1, threading.Lock(), 3], return_exceptions=True))

    assert [found[0], type(found[1]), found[2]] == ["1", TypeError, "3"]


def test_no_items_are_no_jobs(executor: ProminenceExecutor, session: Session) -> None:
    before = number_of_jobs(session)

    assert list(executor.map(abs, [])) == []
    assert number_of_jobs(session) == before


def test_a_job_of_an_array_whose_machine_is_lost_is_tried_again_with_its_own_items(
    service: LocalService, session: Session, tmp_path: Path
) -> None:
    def wait_once(mark: str, number: int) -> int:
        if number == 1 and not os.path.exists(mark):  # noqa: PTH110 - runs elsewhere
            with open(mark, "w"):  # noqa: PTH123
                pass
            threading.Event().wait(600)
        return number

    mark = tmp_path / "was-begun"
    with ProminenceExecutor(session=session, retries=Retries(infrastructure=1)) as executor:
        futures = array_of(executor, partial(wait_once, str(mark)), range(3))
        until(mark.exists)
        lost = futures[1]
        claim = until(AttemptFiles(service.state.attempts / f"{until(lambda: lost.job.id)}-1").claimed_by)
        os.kill(claim.pid, 9)

        assert [value(future) for future in futures] == [0, 1, 2]
    assert [len(future.attempts) for future in futures] == [1, 2, 1]


class TestBehindFence:
    def test_chunks_claim_their_calls_and_commit_what_is_small(
        self, fenced: ProminenceExecutor, rough_session: Session
    ) -> None:
        before = rough_session.client.kv_values("prominence")

        assert list(fenced.map(pow, range(6), itertools.repeat(2), chunksize=3)) == [0, 1, 4, 9, 16, 25]

        assert fenced.guarantee == "fence"
        after = rough_session.client.kv_values("prominence")
        values = [after[key] for key in after.keys() - before.keys()]
        assert len(values) == 2
        assert all(value.count(":") == 2 and not value.endswith(":") for value in values)

    def test_what_is_too_large_to_commit_comes_as_a_file(self, fenced: ProminenceExecutor) -> None:
        results = list(fenced.map(bytes, [20_000, 3], chunksize=2))

        assert results == [bytes(20_000), bytes(3)]

    def test_an_item_that_fails_leaves_its_neighbours(self, fenced: ProminenceExecutor) -> None:
        results = list(fenced.map(reciprocal, range(4), chunksize=2, return_exceptions=True))

        assert isinstance(results[0], ZeroDivisionError)
        assert results[1:] == [1.0, 0.5, 1 / 3]


class TestAuto:
    def test_quick_items_share_a_few_jobs(self, executor: ProminenceExecutor, session: Session) -> None:
        before = number_of_jobs(session)

        assert list(executor.map(doubled, range(20_000), chunksize="auto")) == [2 * n for n in range(20_000)]

        assert number_of_jobs(session) - before <= 4 + 2 * 8

    def test_few_items_have_a_job_each(self, executor: ProminenceExecutor, session: Session) -> None:
        before = number_of_jobs(session)

        assert list(executor.map(doubled, range(6), chunksize="auto")) == [0, 2, 4, 6, 8, 10]

        assert number_of_jobs(session) - before == 6

    def test_the_rest_is_sent_though_nobody_looks(self, session: Session) -> None:
        told: list[tuple[int, int]] = []

        with ProminenceExecutor(session=session) as executor:
            results = executor.map(
                doubled, range(500), chunksize="auto", progress=lambda *numbers: told.append(numbers)
            )

        assert max(told) == (500, 500)
        assert list(results) == [2 * n for n in range(500)]

    def test_no_more_calls_are_taken_while_the_rest_waits(self, session: Session) -> None:
        executor = ProminenceExecutor(session=session)
        results = executor.map(doubled, range(200), chunksize="auto")
        executor.shutdown(wait=False)

        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(doubled, 1)
        assert list(results) == [2 * n for n in range(200)]

    def test_the_rest_can_be_cancelled(self, session: Session) -> None:
        executor = ProminenceExecutor(session=session)
        results = executor.map(doubled, range(300), chunksize="auto")

        executor.shutdown(cancel_futures=True)

        found = []
        with pytest.raises(CancelledError):
            found.extend(results)
        assert len(found) <= 4

    def test_an_item_of_the_sample_that_fails_is_told(self, executor: ProminenceExecutor) -> None:
        results = executor.map(reciprocal, range(150), chunksize="auto", return_exceptions=True)

        first, *others = results
        assert isinstance(first, ZeroDivisionError)
        assert others == [1 / n for n in range(1, 150)]
