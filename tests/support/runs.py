"""Functions of which each run leaves a mark in a file; every job of theirs imports this module."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from support.until import until

if TYPE_CHECKING:
    from pathlib import Path


class Runs:
    """A file in which each run of a function leaves the number of its job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> str:
        job = os.environ["PROMINENCE_JOB_ID"]
        with self.path.open("a") as file:
            file.write(f"{job}\n")
        return job

    def first_waits(self) -> str:
        job = self()
        until(lambda: len(self.jobs()) > 1, 600)
        return job

    def of_call(self, _: int) -> int:
        return int(self())

    def first_of_all_waits(self, number: int) -> int:
        self()
        if len(self.jobs()) == 1:
            until(lambda: len(self.jobs()) > 1, 600)
        return number

    def first_fails(self) -> str:
        job = self()
        if len(self.jobs()) == 1:
            raise LookupError("the first run")
        return job

    def jobs(self) -> list[int]:
        return [int(line) for line in self.path.read_text().split()] if self.path.exists() else []


class Tries:
    """A function that fails as often as it was told, and counts."""

    def __init__(self, path: Path, failures: int) -> None:
        self.path = path
        self.failures = failures

    def __call__(self) -> int:
        with self.path.open("a") as file:
            file.write("x")
        number = len(self.path.read_text())
        if number <= self.failures:
            raise LookupError(f"try {number}")
        return number

    def sleep_first(self) -> int:
        number = self()
        if number == 1:
            time.sleep(600)
        return number

    def made(self) -> int:
        return len(self.path.read_text()) if self.path.exists() else 0
