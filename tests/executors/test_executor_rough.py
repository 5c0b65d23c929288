"""The executor at a service that does to its clients what real ones do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.service import LocalService

from prominence import Session
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[ProminenceExecutor]:
    with LocalService(tmp_path / "service", cpus=16, memory=64, rough=True) as service:
        service.stir(seed=7, missing=0.3, backward=0.3, closed=0.3)
        with Session(service.settings()) as session, ProminenceExecutor(session=session) as executor:
            yield executor


def test_every_outcome_is_the_true_one(executor: ProminenceExecutor) -> None:
    values = [executor.submit(pow, number, 2) for number in range(6)]
    errors = [executor.submit(divmod, number, 0) for number in range(2)]
    commands = [executor.submit(["sh", "-c", f"echo {number}; exit {number}"]) for number in range(4)]

    assert [future.result() for future in values] == [number**2 for number in range(6)]
    assert [type(future.exception()) for future in errors] == [ZeroDivisionError] * 2
    assert commands[0].result().stdout == "0\n"
    for number, command in enumerate(commands[1:], start=1):
        assert f"ended with exit code {number}" in str(command.exception())
