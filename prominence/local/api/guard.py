"""Who may ask: programs on this machine with a token, and no web page that somebody looks at."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from prominence.local.api.answers import BASE, refused
from prominence.local.api.presigned import OBJECTS
from prominence.local.errors import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from prominence.local.tokens import Signer

_LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "::1")
_OPEN_PATHS: Final = (f"{BASE}/health",)


class Guard:
    """An ASGI application in front of another; ``last_request`` is in the time of the monotonic clock."""

    def __init__(self, app: ASGIApp, signer: Signer) -> None:
        self._app = app
        self._signer = signer
        self.last_request = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.last_request = time.monotonic()
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            if (refusal := self._refuses(scope["path"], headers)) is not None:
                await refused(refusal.status, refusal.reason)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refuses(self, path: str, headers: dict[bytes, str]) -> Refusal | None:
        host = headers.get(b"host", "").rpartition(":")[0] or headers.get(b"host", "")
        if host.strip("[]") not in _LOOPBACK_NAMES or b"origin" in headers:
            return Refusal(403, "only programs on this machine may use the local service")
        if path in _OPEN_PATHS or path.startswith(f"{OBJECTS}/"):
            return None
        _, _, token = headers.get(b"authorization", "").partition(" ")
        if not self._signer.accepts(token):
            return Refusal(401, "Authentication failure")
        return None
