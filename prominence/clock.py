"""The one source of time: everything that sleeps, waits or measures asks a :class:`Clock`.

Tests hand in a clock of their own, so that deadlines and back-off run in virtual time.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

Timeouts = tuple[float, float]


class AnyCondition(Protocol):
    """What a thread that holds it can wait on."""

    def wait(self, timeout: float | None = None) -> bool: ...


class Clock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since the Unix epoch; only for showing and for other machines' dates."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, condition: AnyCondition, timeout: float | None) -> bool:
        """Wait on a held condition; False when ``timeout`` seconds passed first."""
        return condition.wait(timeout)

    def socket_timeouts(self, timeouts: Timeouts) -> Timeouts:
        """Real seconds for a connection and for an answer, where they may take so many of this clock's."""
        return timeouts


MACHINE_CLOCK: Final = Clock()
