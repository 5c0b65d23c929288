"""Functions for jobs, in a module that imports next to nothing, which every call of them would wait for."""

from __future__ import annotations

import time


def reciprocal(number: int) -> float:
    return 1 / number


def doubled(number: int) -> int:
    return number * 2


def wait_long(_: int) -> None:
    time.sleep(50)
