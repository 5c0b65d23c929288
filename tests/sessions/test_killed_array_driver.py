"""A driver of arrays is killed at random moments; another process has all that it sent, once."""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from support.killed_driver import kill_after
from support.service import LocalService

from prominence import Session
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVER = Path(__file__).parent / "array_driver.py"
ARRAYS, SIZE = 4, 5
LINES = ARRAYS + ARRAYS * SIZE + 1


@pytest.fixture
def service(is_rough: bool, tmp_path: Path) -> Iterator[LocalService]:
    with LocalService(tmp_path / "service", cpus=8, memory=64, rough=is_rough) as running:
        yield running


@pytest.mark.parametrize(
    ("is_rough", "moments"),
    [
        (True, 2),
        pytest.param(True, 20, marks=pytest.mark.full),
        pytest.param(False, 20, marks=pytest.mark.full),
    ],
)
def test_every_call_that_was_sent_is_there_once_and_the_others_are_named(
    service: LocalService, tmp_path: Path, moments: int
) -> None:
    random = Random(moments)
    counts: Counter[str] = Counter()
    for moment in range(moments):
        first, last = 1 + moment * LINES // moments, -(-(moment + 1) * LINES // moments)
        name, file = f"killed-{moments}-{moment}", tmp_path / f"{moment}"
        words = [name, str(ARRAYS * SIZE), str(SIZE), str(file)]
        kill_after(service, DRIVER, words, lines=random.randint(first, last))

        with Session(replace(service.settings(), settle_window=1.0)) as session:
            executor = ProminenceExecutor.attach(name, service=session)
            squares = [square for future in executor.attached for square in future.result(100)]
            jobs = {future.job.id for future in executor.attached}
            unsent = [call.number for call in executor.unsent]
            ran = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
            executor.close(delete=True)

        numbers = [math.isqrt(square) for square in squares]
        assert Counter(numbers) == Counter(int(number) for number, _ in ran), "each once"
        assert jobs == {int(job) for _, job in ran}
        assert sorted(numbers + unsent) == list(range(len(numbers + unsent))), "the first calls"
        counts.update(sent=len(numbers), unsent=len(unsent))
    sys.stdout.write(f"{moments} drivers killed: {dict(counts)}\n")
    assert counts["sent"]
