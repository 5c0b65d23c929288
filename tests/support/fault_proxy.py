"""A proxy on loopback between one client in virtual time and a real service; it does harm by a plan.

It serves one thread of one client, and takes part in its clock: before each request it is asked how long a
socket may really be waited for, and decides then what is to happen; whenever the clock has moved, requests
that it held back reach the service.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from support.fake_service import LIMIT_S, RESET, Received, Reply, page
from support.faults import Fault
from support.relay import Relay

if TYPE_CHECKING:
    from support.clock import VirtualClock
    from support.faults import FaultPlan

    from prominence.clock import Timeouts

_IMPATIENT_S: Final = 0.05  # real time that a client waits for an answer that will not come
_PASSED_ON: Final = frozenset(
    {
        Fault.NONE,
        Fault.DROPPED_AFTER,
        Fault.CUT,
        Fault.TRUNCATED,
        Fault.BAD_GATEWAY_AFTER,
        Fault.UNAVAILABLE_AFTER,
        Fault.DELAYED,
        Fault.HUNG_UP,
    }
)
_RETRY_AFTER: Final = {"Retry-After": "3"}


@dataclass(frozen=True)
class _Held:
    due: float
    request: Received


class FaultProxy(Relay):
    """``url`` takes the place of the service's; requests carry the service's own token."""

    def __init__(self, service_url: str, plan: FaultPlan, clock: VirtualClock) -> None:
        self._plan = plan
        self._clock = clock
        self._next: Fault | None = None
        self._held: list[_Held] = []
        self._patience_s = 0.0
        self._hangs_up = False
        self._arrived = threading.Event()
        self._arrived.set()
        self._client_went_on = threading.Event()
        super().__init__(service_url)
        clock.before_request = self._before_a_request
        clock.on_sleep = self._after_a_pause

    def close(self) -> None:
        self._client_went_on.set()
        super().close()

    def settle(self, seconds: float) -> None:
        """End the harm, and let the time pass in which late requests arrive."""
        self._plan.end()
        self._clock.sleep(seconds)
        assert not self._held
        self._next = None

    def answer(self, request: Received) -> Reply:
        self.received.append(request)
        fault, self._next = self._next or Fault.NONE, None
        if fault is Fault.LATE:
            self._held.append(_Held(self._clock.elapsed + self._plan.lateness(), request))
        reply = self.pass_on(request) if fault in _PASSED_ON else RESET
        self._hangs_up = fault is Fault.HUNG_UP
        if fault is Fault.DELAYED:
            self._clock.advance(self._patience_s)
            self._arrived.set()
            assert self._client_went_on.wait(LIMIT_S)
        return _harmed(reply, fault)

    def _before_a_request(self, timeouts: Timeouts) -> Timeouts:
        self._go_on()
        if self._hangs_up:
            self._hangs_up = False
            self.close_connections()
        if self._next is None:
            self._next = self._plan.next()
            if self._next is Fault.REFUSED:
                self.refuse()
        if self._next is not Fault.DELAYED:
            return (LIMIT_S, LIMIT_S)
        self._patience_s = timeouts[1]
        self._arrived.clear()
        self._client_went_on.clear()
        return (LIMIT_S, _IMPATIENT_S)

    def _after_a_pause(self) -> None:
        self._go_on()
        if self._next is Fault.REFUSED:
            self._next = None
            self.listen()

    def _go_on(self) -> None:
        """The client has given up what was delayed; in real time that may not even have arrived here."""
        assert self._arrived.wait(LIMIT_S)
        self._client_went_on.set()
        due = [each for each in self._held if each.due <= self._clock.elapsed]
        for each in due:
            self._held.remove(each)
            self.pass_on(each.request)


def _harmed(reply: Reply, fault: Fault) -> Reply:
    half = len(reply.body) // 2
    if fault in {Fault.BAD_GATEWAY, Fault.BAD_GATEWAY_AFTER}:
        return page(502)
    if fault in {Fault.UNAVAILABLE, Fault.UNAVAILABLE_AFTER}:
        return page(503, headers=_RETRY_AFTER)
    kept = {
        Fault.NONE: reply,
        Fault.HUNG_UP: reply,  # before the next request
        Fault.CUT: replace(reply, sent=half),
        Fault.TRUNCATED: replace(reply, body=reply.body[:half]),
        Fault.THROTTLED: page(429, headers=_RETRY_AFTER),
    }
    return kept.get(fault, RESET)
