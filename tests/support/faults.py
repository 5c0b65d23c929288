"""Which faults a proxy injects, in which order: drawn from a seed, counted by kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Fault(Enum):
    """What happens to a request on its way, or to its answer."""

    NONE = "none"
    REFUSED = "connection refused"
    DROPPED_BEFORE = "dropped before it reached the service"
    DROPPED_AFTER = "dropped after it reached the service"
    CUT = "answer cut"
    TRUNCATED = "answer with truncated JSON"
    BAD_GATEWAY = "502, not passed on"
    BAD_GATEWAY_AFTER = "502, though passed on"
    UNAVAILABLE = "503 with Retry-After, not passed on"
    UNAVAILABLE_AFTER = "503, though passed on"
    THROTTLED = "429 with Retry-After"
    DELAYED = "answer later than the time-out"
    LATE = "dropped, and reached the service later"
    HUNG_UP = "connection closed after the answer, unannounced"


EVEN: Mapping[Fault, float] = {fault: 0.045 for fault in Fault if fault is not Fault.NONE}
"""Every other request meets a fault, of each kind equally often."""


@dataclass
class FaultPlan:
    """A sequence of faults; late requests reach the service so many seconds after they were sent."""

    seed: int
    late_s: tuple[float, float]
    rates: Mapping[Fault, float] = field(default_factory=lambda: EVEN)
    injected: Counter[Fault] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._is_over = False

    def next(self) -> Fault:
        if self._is_over:
            return Fault.NONE
        faults = [Fault.NONE, *self.rates]
        weights = [1 - sum(self.rates.values()), *self.rates.values()]
        (fault,) = self._random.choices(faults, weights)
        self.injected[fault] += 1
        return fault

    def lateness(self) -> float:
        return self._random.uniform(*self.late_s)

    def end(self) -> None:
        """From now on nothing happens to requests."""
        self._is_over = True
