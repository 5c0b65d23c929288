"""One driver per session: a lease in the key-value store, renewed by compare-and-swap.

The value is ``<driver>:<count>``, ``free`` after an orderly end. Clocks of several machines are not compared:
whoever wants a lease that is held watches its value, and takes it when that has not changed for ``LEASE_S``,
or at once when the holder was a process of this machine that is gone.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple

from prominence.exceptions import NotFound, ProminenceError, ServiceUnavailable, SessionInUse
from prominence.logs import logger
from prominence.threads import InterruptibleCondition

if TYPE_CHECKING:
    from collections.abc import Callable

    from prominence import ProminenceClient
    from prominence.clock import Clock

log = logger(__name__)

LEASE_S: Final = 60.0
RENEWED_EVERY_S: Final = 15.0
_LOOKED_AT_EVERY_S: Final = 1.0
FREE: Final = "free"


class Lease:
    """The right to send calls of a session; renewed in a thread until it is released or its owner is gone."""

    def __init__(self, client: ProminenceClient, key: str, driver: str, who_is: Callable[[str], str]) -> None:
        """``who_is`` says of a driver, for people, which process it is."""
        self._who_is = who_is
        self._client = client
        self._key = key
        self._driver = driver
        self._value = f"{driver}:0"
        self._renewed = _Moment.now(client.clock)
        self._condition = InterruptibleCondition()
        self._renewing = threading.Lock()
        self._is_over = False

    def acquire(self, is_alive: Callable[[str], bool | None]) -> None:
        """Return when the lease is ours.

        ``is_alive`` tells whether a driver's process still runs, None for one of another machine. Raises
        SessionInUse as soon as it is seen that another driver lives.
        """
        clock = self._client.clock
        seen: str | None = None
        seen_at = clock.monotonic()
        while (found := self._read()) != self._value:
            if found is None:
                self._client.kv_set(self._key, self._value)
                continue
            alive = False if found == FREE else is_alive(driver_of(found))
            if alive or (seen is not None and found not in {seen, FREE}):
                raise self._in_use(found)
            if found != seen:
                seen, seen_at = found, clock.monotonic()
            if alive is False or clock.monotonic() - seen_at >= LEASE_S:
                self._swap(found, self._value)
            else:
                clock.sleep(_LOOKED_AT_EVERY_S)
        self._is_over = False
        self._renewed = _Moment.now(clock)

    def keep(self, owner: object) -> None:
        """Renew it from now on in a thread, until it is released or ``owner`` is collected."""
        target = weakref.ref(owner)
        threading.Thread(target=self._keep, args=[target], name="prominence-lease", daemon=True).start()

    def check(self) -> None:
        """Raise SessionInUse where the lease is not ours any more, and so no call may be sent."""
        if self._renewed.age_s(self._client.clock) >= LEASE_S:  # this process did not run for a while
            self._renew()
        if self._is_over:
            raise self._in_use(self._read() or FREE)

    def confirm(self, is_alive: Callable[[str], bool | None]) -> None:
        """Return when the lease is ours for certain, taken again where it was released.

        Raises SessionInUse.
        """
        self._renew()
        if self._is_over:
            self.acquire(is_alive)

    def release(self) -> None:
        """Let others have it; what cannot be told to the service ends by itself after ``LEASE_S``."""
        with self._condition:
            was_over, self._is_over = self._is_over, True
            self._condition.notify_all()
        if was_over:
            return
        with self._renewing:
            try:
                self._swap(self._value, FREE)
            except ProminenceError as error:
                log.warning("the lease %s is not released: %s", self._key, error)

    def _keep(self, owner: weakref.ref[object]) -> None:
        while True:
            with self._condition:
                if not self._is_over:
                    self._client.clock.wait(self._condition, RENEWED_EVERY_S)
                if self._is_over:
                    return
            if owner() is None:
                self.release()
                return
            try:
                self._renew()
            except ProminenceError as error:
                text = "the lease %s could not be renewed at the moment: %s"
                self._client.trouble.tell(log, text, self._key, error)

    def _renew(self) -> None:
        with self._renewing:
            if self._is_over:
                return
            started = _Moment.now(self._client.clock)
            following = f"{self._driver}:{int(self._value.rpartition(':')[2]) + 1}"
            if self._swap(self._value, following) or self._read() == following:  # an answer may be lost
                self._value, self._renewed = following, started
                return
            with self._condition:
                self._is_over = True
            log.error("the lease %s was taken by another driver: nothing more is sent from here", self._key)

    def _in_use(self, value: str) -> SessionInUse:
        session, driver = self._key.split("/")[1], driver_of(value)
        who = self._who_is(driver) if driver else "now ended"
        return SessionInUse(
            f"session {session!r} is driven by another process ({who}): end that one, or wait for it to end, "
            "before its calls are taken over"
        )

    def _read(self) -> str | None:
        try:
            return self._client.kv_get(self._key)
        except NotFound:
            return None

    def _swap(self, expected: str, value: str) -> bool:
        try:
            return self._client.kv_swap(self._key, value, expected)
        except ServiceUnavailable:
            if self._read() == value:
                return True
            raise


class _Moment(NamedTuple):
    """Told by two clocks: one is set by people, the other stands still while the machine is suspended."""

    monotonic: float
    time: float

    @classmethod
    def now(cls, clock: Clock) -> _Moment:
        return cls(clock.monotonic(), clock.time())

    def age_s(self, clock: Clock) -> float:
        """The longer of what both say, so that a lease is rather renewed once too often."""
        return max(clock.monotonic() - self.monotonic, clock.time() - self.time)


def driver_of(value: str) -> str:
    return value.rpartition(":")[0]
