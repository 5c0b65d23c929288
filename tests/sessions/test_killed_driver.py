"""A driver is killed at random moments; another process attaches and has all that it sent, once."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from support.killed_driver import kill_after

from prominence import Session
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from support.service import LocalService

DRIVER = Path(__file__).parent / "driver.py"
CALLS = 10
LINES = 2 * CALLS + 1


@pytest.mark.parametrize("moments", [2, pytest.param(20, marks=pytest.mark.full)])
def test_every_call_that_was_sent_is_there_once_and_the_others_are_named(
    service: LocalService, tmp_path: Path, moments: int
) -> None:
    random = Random(moments)
    counts = {"sent": 0, "unsent": 0}
    for moment in range(moments):
        first, last = 1 + moment * LINES // moments, (moment + 1) * LINES // moments
        name, file = f"killed-{moments}-{moment}", tmp_path / f"{moment}"
        words = [name, str(CALLS), str(file)]
        kill_after(service, DRIVER, words, lines=random.randint(first, last))

        with Session(replace(service.settings(), settle_window=1.0)) as session:
            executor = ProminenceExecutor.attach(name, service=session)
            results = [future.result() for future in executor.attached]
            numbers = [int(str(future.job.name).removeprefix("call-")) for future in executor.attached]
            unsent = [int(call.name.removeprefix("call-")) for call in executor.unsent]
            ran = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
            executor.close(delete=True)

        assert results == [number * number for number in numbers]
        assert sorted(numbers) == sorted(int(number) for number, _ in ran)
        assert {future.job.id for future in executor.attached} == {int(job) for _, job in ran}
        assert sorted(numbers + unsent) == list(range(len(numbers + unsent))), "the first calls, each once"
        counts["sent"] += len(numbers)
        counts["unsent"] += len(unsent)
    sys.stdout.write(f"{moments} drivers killed: {counts}\n")
    assert counts["sent"]
