"""Futures that are awaited: by wrap_future, run_in_executor, in groups of tasks and with timeouts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from support.items import doubled
from support.until import until

from prominence.exceptions import JobDeleted, TaskExitError
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from prominence import Session
    from prominence_executors import ProminenceFuture


@pytest.fixture
def killing(executor: ProminenceExecutor) -> ProminenceExecutor:
    return executor.with_options(kill_when_cancelled=True)


def test_a_future_can_be_awaited(executor: ProminenceExecutor) -> None:
    async def both() -> list[int]:
        loop = asyncio.get_running_loop()
        return [
            await asyncio.wrap_future(executor.submit(doubled, 1)),
            await loop.run_in_executor(executor, doubled, 2),
        ]

    assert asyncio.run(both()) == [2, 4]


def test_a_cancelled_awaitable_can_end_the_job(killing: ProminenceExecutor) -> None:
    future = killing.submit("sleep 600")

    async def give_up() -> None:
        waiting = asyncio.wrap_future(future)
        await asyncio.to_thread(until, lambda: future.status == "running")
        waiting.cancel()
        await asyncio.sleep(0)

    asyncio.run(give_up())

    assert isinstance(future.exception(), JobDeleted)


def test_a_cancelled_awaitable_leaves_the_job_otherwise(executor: ProminenceExecutor) -> None:
    future = executor.submit("sleep 600")

    async def give_up() -> None:
        waiting = asyncio.wrap_future(future)
        await asyncio.to_thread(until, lambda: future.status == "running")
        waiting.cancel()
        await asyncio.sleep(0)

    asyncio.run(give_up())

    assert future.kill()


async def outcome_of(future: ProminenceFuture[Any]) -> Any:
    return await asyncio.wrap_future(future)


def test_an_error_is_raised_where_it_is_awaited(executor: ProminenceExecutor) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        asyncio.run(outcome_of(executor.submit(divmod, 1, 0)))

    assert "divmod" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_gathered_calls_keep_their_order(executor: ProminenceExecutor) -> None:
    async def gathered() -> list[int]:
        return await asyncio.gather(*(outcome_of(executor.submit(doubled, each)) for each in range(8)))

    assert asyncio.run(gathered()) == [2 * each for each in range(8)]


def test_a_call_that_fails_ends_the_jobs_of_its_group(killing: ProminenceExecutor) -> None:
    others = [killing.submit("sleep 600") for _ in range(2)]
    failing = killing.submit("false")

    async def all_or_none() -> None:
        async with asyncio.TaskGroup() as group:
            for future in (*others, failing):
                group.create_task(outcome_of(future))

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(all_or_none())

    assert [type(error) for error in caught.value.exceptions] == [TaskExitError]
    assert [type(future.exception()) for future in others] == [JobDeleted] * 2


@pytest.mark.parametrize("is_killed", [True, False])
def test_a_timeout_ends_the_job_where_that_is_chosen(
    executor: ProminenceExecutor, *, is_killed: bool
) -> None:
    future = executor.with_options(kill_when_cancelled=is_killed).submit("sleep 600")
    until(lambda: future.status == "running")

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(outcome_of(future), 0.05))

    if is_killed:
        assert isinstance(future.exception(), JobDeleted)
    else:
        assert not future.done()
        assert future.kill()


def test_what_was_not_sent_is_cancelled_with_its_task(session: Session) -> None:
    with ProminenceExecutor(max_workers=1, session=session) as narrow:
        first, second = narrow.submit("sleep 600"), narrow.submit(doubled, 1)

        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(outcome_of(second), 0.05))
        first.kill()

    assert second.cancelled()
    assert second.job.id is None
