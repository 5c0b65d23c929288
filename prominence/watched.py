"""One job or workflow as it is followed: who listens, and how long its absence or hold is borne."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from prominence.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from prominence.exceptions import ProminenceError

_MISSING_TOLERANCE_S: Final = 120.0
_UNKNOWN_TOLERANCE_S: Final = 2.0  # of what is not known to exist
_HELD_S: Final = 120.0

S = TypeVar("S", bound=Snapshot)


class Watch(ABC, Generic[S]):
    """Somebody's interest in one job or workflow, until it is withdrawn or the job has ended."""

    __slots__ = ("_telling", "_told", "job_id")

    def __init__(self, job_id: int) -> None:
        self.job_id = job_id
        self._telling = threading.RLock()
        self._told: float = 0

    @abstractmethod
    def changed(self, snapshot: S) -> None:
        """There is a new state, which is the last one if it is an end."""

    @abstractmethod
    def failed(self, error: ProminenceError) -> None:
        """Nothing more can be learned."""

    def tell(self, order: int, snapshot: S) -> None:
        """Tell a state, unless another thread has told a later one meanwhile."""
        with self._telling:
            if order > self._told:
                self._told = order
                self.changed(snapshot)

    def tell_failure(self, error: ProminenceError) -> None:
        with self._telling:
            self._told = math.inf
            self.failed(error)


class CallbackWatch(Watch[S]):
    """Has two functions told."""

    __slots__ = ("_on_change", "_on_failure")

    def __init__(
        self,
        job_id: int,
        on_change: Callable[[S], None],
        on_failure: Callable[[ProminenceError], None],
    ) -> None:
        super().__init__(job_id)
        self._on_change = on_change
        self._on_failure = on_failure

    def changed(self, snapshot: S) -> None:
        self._on_change(snapshot)

    def failed(self, error: ProminenceError) -> None:
        self._on_failure(error)


@dataclass(slots=True)
class Watched(Generic[S]):
    """A job or workflow that somebody waits for, and what is known of it."""

    id: int
    since: float
    is_known: bool
    watches: tuple[Watch[S], ...] = ()
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
