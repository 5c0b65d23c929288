"""What a driver keeps of calls that are pending."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from support.until import until

from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prominence import Session

CALLS = 100
BYTES = 2_500


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prominence-")]


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_pending_calls_take_little_memory_and_one_thread(session: Session) -> None:
    with ProminenceExecutor(session=session, on_exit="cancel") as executor:
        warm = [executor.submit(time.sleep, 600) for _ in range(CALLS // 4)]
        until(lambda: all(future.last_snapshot for future in warm))
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()

        futures = [executor.submit(time.sleep, 600) for _ in range(CALLS)]
        until(lambda: all(future.last_snapshot for future in futures))
        until(lambda: threads() == ["prominence-watcher"])
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()

        assert (after - before) / CALLS < BYTES


def test_a_job_that_is_asked_for_is_whole_and_stays_the_same(executor: ProminenceExecutor) -> None:
    future = executor.submit(pow, 2, 3)
    until(lambda: future.job_id)

    job = future.job

    assert job is future.job
    assert (job.id, job.name) == (future.job_id, "pow")
    assert "prominence-call.bin" in [each.filename for each in job.input_files]
    assert future.result() == 8
    assert future.job is job
    assert job.succeeded
