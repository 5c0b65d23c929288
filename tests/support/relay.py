"""Between a client and a real service: what is asked passes on, or is held up for as long as a test wants."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import requests
from support.fake_service import LIMIT_S, FakeService, Received, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

_PASSED_ON = ("Authorization", "Content-Type")


class Relay(FakeService):
    """``url`` takes the place of the service's; requests carry the service's own token."""

    def __init__(self, service_url: str) -> None:
        self._service_url = service_url
        self._upstream = requests.Session()
        self._upstream.trust_env = False
        super().__init__()

    def close(self) -> None:
        super().close()
        self._upstream.close()

    def answer(self, request: Received) -> Reply:
        self.received.append(request)
        return self.pass_on(request)

    def pass_on(self, request: Received) -> Reply:
        answer = self._upstream.request(
            request.method,
            self._service_url + request.path,
            params=request.query,
            data=request.body or None,
            headers={name: request.headers[name] for name in _PASSED_ON if name in request.headers},
            timeout=LIMIT_S,
        )
        return Reply(answer.status_code, answer.content, answer.headers.get("Content-Type", ""))


class Gate(Relay):
    """Holds requests, or where ``has_passed`` their answers, until :meth:`open` is called."""

    def __init__(self, service_url: str, holds: Callable[[Received], bool], *, has_passed: bool) -> None:
        self._holds = holds
        self._has_passed = has_passed
        self.is_reached = threading.Event()
        self._is_open = threading.Event()
        super().__init__(service_url)

    def close(self) -> None:
        self.open()
        super().close()

    def open(self) -> None:
        self._is_open.set()

    def answer(self, request: Received) -> Reply:
        if self._is_open.is_set() or not self._holds(request):
            return super().answer(request)
        reply = super().answer(request) if self._has_passed else None
        self.is_reached.set()
        assert self._is_open.wait(2 * LIMIT_S)
        return reply or super().answer(request)
