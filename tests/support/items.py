"""Functions for jobs, in a module that imports next to nothing, which every call of them would wait for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def reciprocal(number: int) -> float:
    return 1 / number


def doubled(number: int) -> int:
    return number * 2


def wait_long(_: int) -> None:
    time.sleep(600)


def wait_for(file: Path, *others: Any) -> int:
    while not file.exists():
        time.sleep(0.02)
    return len(others)


def add_up(values: Any, more: float = 0) -> float:
    return float(sum(values)) + more


def plus_length(value: Any, number: int) -> int:
    return len(value) + number
