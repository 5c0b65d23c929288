"""Numbers of an executor's calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from prominence.progress import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prominence_executors.future import ProminenceFuture


@dataclass(frozen=True, slots=True)
class ExecutorStats:
    """Numbers of calls by what they are at: waiting here, queued at the service, running, or ended."""

    pending: int = 0
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.ended + self.pending + self.queued + self.running

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.cancelled

    @classmethod
    def of(cls, unfinished: Iterable[ProminenceFuture[Any]], ended: Mapping[str, int]) -> ExecutorStats:
        """From the calls that have not ended, and the numbers of those that have."""
        states = Counter(state_of(future) for future in unfinished)
        return cls(**(states + Counter(ended)))

    def __str__(self) -> str:
        return listed(asdict(self)) or "no calls"


def way_it_ended(future: ProminenceFuture[Any]) -> str:
    """The name of the number that counts a future which is done."""
    if future.cancelled():
        return "cancelled"
    return "succeeded" if future.exception() is None else "failed"


def state_of(future: ProminenceFuture[Any]) -> str:
    """The name of the number that counts a future."""
    if future.done():
        return way_it_ended(future)
    if future.job_id is None:
        return "pending"
    return "running" if future.status == "running" else "queued"
