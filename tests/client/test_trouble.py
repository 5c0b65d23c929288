"""Trouble with a service as the log tells it: once, however many threads meet it."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.fake_service import FakeService, Received, Reply, page, says

from prominence.client.trouble import TOLD_EVERY_S, Trouble
from prominence.exceptions import SubmissionUncertain
from prominence.following import bearing_outages

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.clock import VirtualClock

    from prominence import ProminenceClient

log = logging.getLogger("prominence.of.a.test")


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "prominence")


def told(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


def away_for(seconds: float, clock: VirtualClock) -> Callable[[Received], Reply]:
    """Answers that the service is away for so long, from the first request on."""

    def answer(_: Received) -> Reply:
        return page(503) if clock.elapsed < seconds else says({"existing": []})

    return answer


def test_an_outage_that_many_threads_meet_is_told_once_with_a_count(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    fake.script("GET", "/resources", away_for(5, clock))

    with ThreadPoolExecutor(16) as threads:
        found = [threads.submit(bearing_outages, client.resources, client, 3600) for _ in range(64)]

    assert all(future.result() == {"existing": []} for future in found)
    failed = len(fake.received) - 64
    first, last = told(caplog)
    assert "503" in first
    assert "trying again" in first
    counted = re.match(r"the service answers again: (\d+) requests failed in", last)
    assert counted is not None
    assert 1 <= int(counted[1]) <= failed
    assert sum("trying again" in text for text in told(caplog, logging.DEBUG)) == failed


def test_an_outage_that_lasts_is_told_of_once_a_minute(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    trouble = Trouble("the service", clock)
    for _ in range(600):
        trouble.failed()
        trouble.tell(log, "no answer")
        clock.advance(1)
    trouble.answered()

    assert len(told(caplog, logging.WARNING)) == 2
    assert told(caplog)[1] == "no answer (61 requests have failed since it began)"
    assert len(told(caplog)) == 2 + 9
    assert told(caplog)[-1] == "the service answers again: 600 requests failed in 600 s"


def test_trouble_that_comes_and_goes_is_told_once_a_minute(
    clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    trouble = Trouble("the service", clock)
    for _ in range(int(3 * TOLD_EVERY_S)):
        trouble.failed()
        trouble.tell(log, "no answer")
        clock.advance(1)
        trouble.answered()

    assert told(caplog) == ["no answer", "the service answers again: 1 requests failed in 1 s"] * 3
    assert told(caplog, logging.WARNING) == ["no answer"] * 3


def test_failures_that_nobody_tells_are_not_told_when_they_are_over(
    fake: FakeService, client: ProminenceClient, caplog: pytest.LogCaptureFixture
) -> None:
    fake.script("PUT", "/jobs/7/clone", page(503), says({"id": 8}, 201))
    with pytest.raises(SubmissionUncertain):
        client.clone_job(7)
    client.clone_job(7)

    assert told(caplog) == []


def test_the_object_store_has_outages_of_its_own(
    fake: FakeService, client: ProminenceClient, caplog: pytest.LogCaptureFixture
) -> None:
    fake.script("POST", "/data/upload", says({"url": f"{fake.address}/store"}, 201))
    fake.script("PUT", "/store", page(429), page(429), Reply())
    client.upload_object("a.txt", b"content", checksum=False)

    first, last = told(caplog)
    assert "429" in first
    assert "the object store answers again: 2 requests failed" in last
