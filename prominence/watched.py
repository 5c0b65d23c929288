"""One job or workflow as it is followed: who listens, and how long its absence or hold is borne."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from prominence.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from prominence.exceptions import ProminenceError

_MISSING_TOLERANCE_S: Final = 120.0
_UNKNOWN_TOLERANCE_S: Final = 2.0  # of what is not known to exist
_HELD_S: Final = 120.0

S = TypeVar("S", bound=Snapshot)


class Watch(Generic[S]):
    """Somebody's interest in one job or workflow, until it is withdrawn or the job has ended."""

    def __init__(
        self,
        job_id: int,
        on_change: Callable[[S], None],
        on_failure: Callable[[ProminenceError], None],
    ) -> None:
        self.job_id = job_id
        self._on_change = on_change
        self._on_failure = on_failure
        self._telling = threading.RLock()
        self._told: float = 0

    def tell(self, order: int, snapshot: S) -> None:
        """Tell a state, unless another thread has told a later one meanwhile."""
        with self._telling:
            if order > self._told:
                self._told = order
                self._on_change(snapshot)

    def tell_failure(self, error: ProminenceError) -> None:
        with self._telling:
            self._told = math.inf
            self._on_failure(error)


@dataclass
class Watched(Generic[S]):
    """A job or workflow that somebody waits for, and what is known of it."""

    id: int
    since: float
    is_known: bool
    watches: list[Watch[S]] = field(default_factory=list)
    latest: S | None = None
    asked_alone: float = 0.0
    missing_since: float | None = None
    held_since: float | None = None

    def is_lost(self, now: float) -> bool:
        """True when it has been missing for too long."""
        self.missing_since = now if self.missing_since is None else self.missing_since
        is_known = self.is_known or self.latest is not None
        return now - self.missing_since >= (_MISSING_TOLERANCE_S if is_known else _UNKNOWN_TOLERANCE_S)

    def is_held(self, snapshot: S, now: float) -> bool:
        """True while a state is to be looked at again before it counts as the end."""
        if not snapshot.may_come_back:
            self.held_since = None
            return False
        self.held_since = now if self.held_since is None else self.held_since
        return now - self.held_since < _HELD_S
