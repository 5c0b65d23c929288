"""The executor at a service that does to its clients what real ones do."""

from __future__ import annotations

import os
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


def test_children_that_a_call_forks_tell_nothing_of_it(executor: ProminenceExecutor, tmp_path: Path) -> None:
    made = tmp_path / "made"

    def fork(how_the_child_ends: str) -> int:
        with made.open("a") as file:
            file.write(f"{how_the_child_ends}\n")
        if os.fork() == 0:
            if how_the_child_ends == "exits":
                raise SystemExit(3)
            return -1 if how_the_child_ends == "returns" else 1 // 0
        _, status = os.wait()
        return os.waitstatus_to_exitcode(status)

    exit_codes = {"returns": 0, "raises": 1, "exits": 3}
    alone = {how: executor.submit(fork, how) for how in exit_codes}
    together = executor.map(fork, exit_codes, chunksize=3)

    assert {how: future.result() for how, future in alone.items()} == exit_codes
    assert list(together) == [*exit_codes.values()]
    assert sorted(made.read_text().split()) == sorted([*exit_codes, *exit_codes])
