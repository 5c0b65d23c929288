"""Waiting for something outside of the test's control, without guessing how long it takes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LIMIT_S = 60.0
_PAUSE = threading.Event()


def until(look: Callable[[], T | None], limit_s: float = LIMIT_S) -> T:
    """What ``look`` returns once that is true; fails when it does not become true in time."""
    end = time.monotonic() + limit_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"it did not come about in {limit_s:.0f} s"
        _PAUSE.wait(0.01)
