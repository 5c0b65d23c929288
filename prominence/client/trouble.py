"""Trouble with a service, told when it begins and when it is over, however many threads meet it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from prominence.logs import logger

if TYPE_CHECKING:
    from prominence.clock import Clock

log = logger(__name__)

TOLD_EVERY_S: Final = 60.0
"""How often trouble that lasts, or that comes and goes, is told at most."""
_LONG_S: Final = 5.0

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Trouble:
    """Counts requests that bring no usable answer, from the first to the next that does.

    Of what is told here the first record is a warning; then there is one a minute, with the number of
    requests that failed, and all others are for debugging. That it is over is told where it was told at all.
    """

    def __init__(self, whose: str, clock: Clock) -> None:
        self._whose = whose
        self._clock = clock
        self._lock = threading.Lock()
        self._began: float | None = None
        self._failures = 0
        self._is_told = False
        self._told_at: float | None = None

    def failed(self) -> None:
        """A request brought no usable answer."""
        with self._lock:
            self._begin()
            self._failures += 1

    def tell(self, where: Logger, text: str, *arguments: object) -> None:
        """Log what the trouble keeps from being done."""
        with self._lock:
            now = self._begin()
            may_tell = self._told_at is None or now - self._told_at >= TOLD_EVERY_S
            level = logging.DEBUG
            if may_tell:
                level = logging.INFO if self._is_told else logging.WARNING
                self._is_told, self._told_at = True, now
            failures = self._failures
        if level == logging.INFO:
            text += f" ({failures} requests have failed since it began)"
        where.log(level, text, *arguments)

    def answered(self) -> None:
        """The service has answered."""
        if self._began is None:
            return
        with self._lock:
            if self._began is None:
                return
            lasted_s = self._clock.monotonic() - self._began
            failures, was_told = self._failures, self._is_told
            self._began, self._failures, self._is_told = None, 0, False
        if was_told:
            level = logging.WARNING if lasted_s >= _LONG_S else logging.INFO
            log.log(level, "%s answers again: %d requests failed in %.0f s", self._whose, failures, lasted_s)

    def _begin(self) -> float:
        now = self._clock.monotonic()
        self._began = now if self._began is None else self._began
        return now
