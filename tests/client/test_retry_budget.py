"""The retries of a whole process are few, and none is dropped for it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from support.clock import VirtualClock
from support.fake_service import FakeService, page, says

from prominence import ProminenceClient
from prominence.client.budget import RETRIES_AT_ONCE, RETRIES_PER_S, RetryBudget
from prominence.exceptions import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def clients(fake: FakeService, token: str, clock: VirtualClock) -> Iterator[list[ProminenceClient]]:
    """Two clients in one process."""
    with (
        ProminenceClient(fake.url, token, clock=clock, random=Random(1)) as one,
        ProminenceClient(fake.url, token, clock=clock, random=Random(2)) as other,
    ):
        yield [one, other]


def take(clock: VirtualClock, count: int) -> list[float]:
    budget = RetryBudget.of(clock)
    return [round(budget.pause(clock.monotonic(), 0.0, 60.0), 6) for _ in range(count)]


def test_after_so_many_at_once_retries_come_one_after_the_other(clock: VirtualClock) -> None:
    pauses = take(clock, RETRIES_AT_ONCE + 20)
    assert set(pauses[:RETRIES_AT_ONCE]) == {0.0}
    assert pauses[-1] == pytest.approx(20 / RETRIES_PER_S)


def test_a_quiet_time_gives_the_places_back(clock: VirtualClock) -> None:
    take(clock, RETRIES_AT_ONCE)
    clock.advance(3 / RETRIES_PER_S)
    assert take(clock, 4) == pytest.approx([0, 0, 0, 1 / RETRIES_PER_S])
    clock.advance(3600)
    assert set(take(clock, RETRIES_AT_ONCE)) == {0.0}


def test_a_retry_that_waits_long_anyway_does_not_delay_others(clock: VirtualClock) -> None:
    assert RetryBudget.of(clock).pause(clock.monotonic(), 50.0, 60.0) == 50.0
    assert take(clock, 1) == [0.0]


def test_all_clients_share_the_budget(
    clients: list[ProminenceClient], fake: FakeService, clock: VirtualClock
) -> None:
    take(clock, RETRIES_AT_ONCE + 200)
    fake.script("GET", "/jobs", page(503), says([]), page(503), says([]))
    for client in clients:
        client.list_jobs()
    assert len(fake.received) == 4
    assert clock.elapsed == pytest.approx(200 / RETRIES_PER_S, abs=1)


def test_first_attempts_never_pay(
    clients: list[ProminenceClient], fake: FakeService, clock: VirtualClock
) -> None:
    take(clock, RETRIES_AT_ONCE + 10_000)
    fake.script("GET", "/jobs", says([]))
    for client in clients:
        client.list_jobs()
    assert clock.elapsed == 0


def test_a_place_beyond_the_deadline_is_not_waited_for_and_not_taken(
    clients: list[ProminenceClient], fake: FakeService, clock: VirtualClock
) -> None:
    budget = RetryBudget.of(clock)
    for _ in range(RETRIES_AT_ONCE + 700):
        budget.pause(clock.monotonic(), 0.0, 1e9)
    fake.script("GET", "/jobs", page(503))
    with pytest.raises(ServiceUnavailable) as caught:
        clients[0].list_jobs()
    assert caught.value.attempts == 1
    assert clock.elapsed == 0
    assert take(clock, 1) == pytest.approx([701 / RETRIES_PER_S])


def test_clocks_have_budgets_of_their_own(clock: VirtualClock) -> None:
    take(clock, RETRIES_AT_ONCE + 100)
    assert take(VirtualClock(), 1) == [0.0]
