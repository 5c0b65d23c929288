"""How many items share a job with ``chunksize="auto"``, by what a sample of them took; in virtual time."""

from __future__ import annotations

import math
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.clock import VirtualClock

from prominence.exceptions import ServiceError
from prominence_executors.calls.results import ItemOutcome
from prominence_executors.chunks import SentChunk
from prominence_executors.measuring import SAMPLE, MeasuredChunks

if TYPE_CHECKING:
    from collections.abc import Callable

    from prominence.clock import AnyCondition


class PlannedFuture(Future[list[ItemOutcome]]):
    status = "idle"


class PlannedSender:
    """Runs items in virtual time: after ``overhead`` seconds each runs for ``seconds``."""

    is_cancelled = False
    walltime_s = math.inf

    def __init__(self, overhead: float, seconds: float) -> None:
        self.clock = SteppingClock(self)
        self.overhead, self.seconds = overhead, seconds
        self.sent: list[SentChunk] = []
        self.size = 0

    def send(self, _: list[Any]) -> SentChunk:
        self.sent.append(SentChunk(cast("Any", PlannedFuture()), 1))
        return self.sent[-1]

    def send_later(self, send: Callable[[], None]) -> None:
        send()

    def send_all(self, _: list[Any], size: int) -> list[SentChunk]:
        self.size = size
        return []

    def places(self) -> int:
        return 10

    def tick(self) -> None:
        now = self.clock.monotonic() - self.clock.start
        for chunk in self.sent:
            future = cast("PlannedFuture", chunk.future)
            if now >= self.overhead:
                future.status = "running"
            if now >= self.overhead + self.seconds and not future.done():
                future.set_result([ItemOutcome(seconds=self.seconds)])


class SteppingClock(VirtualClock):
    def __init__(self, sender: PlannedSender) -> None:
        super().__init__()
        self.start = self.monotonic()
        self._sender = sender

    def wait(self, condition: AnyCondition, timeout: float | None) -> bool:
        self.sleep(timeout or 0)
        self._sender.tick()
        return not condition


def size_for(sender: PlannedSender, items: int) -> int:
    measured = MeasuredChunks(cast("Any", sender), [(number,) for number in range(items)])
    measured.rest.result()
    return sender.size


@pytest.mark.parametrize(
    ("overhead", "seconds", "items", "size"),
    [
        (0.1, 0.0, 100_004, 5_000),  # work for every place twice
        (20.0, 1.0, 100_004, 81),  # four times as long as it took to get a place
        (1.0, 60.0, 1_004, 1),  # it is not waited for the end of what runs for long
        (20.0, 3600.0, 1_004, 1),
        (3600.0, 1.0, 50_004, 50),  # nothing is known after a minute
    ],
)
def test_sizes(overhead: float, seconds: float, items: int, size: int) -> None:
    sender = PlannedSender(overhead, seconds)

    assert size_for(sender, items) == pytest.approx(size, abs=1)
    assert sender.clock.monotonic() - sender.clock.start <= max(61.0, 6 * overhead if overhead < 60 else 0)


def test_a_chunk_is_far_from_the_walltime() -> None:
    sender = PlannedSender(30.0, 1.0)
    sender.walltime_s = 60.0

    assert size_for(sender, 100_000) == 15


def test_a_service_that_does_not_tell_its_places_is_taken_for_a_small_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> int:
        raise ServiceError("no")

    sender = PlannedSender(0.1, 0.0)
    monkeypatch.setattr(sender, "places", refuse)

    assert size_for(sender, 8_004) == 8_000 / (2 * SAMPLE)
