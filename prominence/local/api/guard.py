"""Who may ask: programs on this machine with a token, and no web page that somebody looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prominence.clock import MACHINE_CLOCK, Clock
from prominence.local.api.answers import BASE, refused
from prominence.local.api.presigned import OBJECTS
from prominence.sharing import HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from prominence.local.tokens import Signer
    from prominence.sharing import SharedFiles

LOST: Final = "the state directory was removed: this service ends"
_LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "::1")
_FILES_HEADER: Final = HEADER.lower().encode()
_OPEN_PATHS: Final = (f"{BASE}/health", f"{BASE}/openapi.json")


def _needs_token(path: str) -> bool:
    return path not in _OPEN_PATHS and path != OBJECTS and not path.startswith(f"{OBJECTS}/")


class Guard:
    """An ASGI application in front of another, which finds in the scope what the client has proved.

    ``claims`` are the token's; ``shares_files`` is true of clients that have the service's own files.

    ``is_known`` tells paths that exist: any other is answered as such, whoever asks. Nothing is done once
    ``is_lost`` says that what is kept here is gone.
    """

    def __init__(
        self,
        app: ASGIApp,
        signer: Signer,
        is_known: Callable[[str], bool],
        is_lost: Callable[[], bool],
        files: SharedFiles | None = None,
        *,
        clock: Clock = MACHINE_CLOCK,
    ) -> None:
        self._app = app
        self._signer = signer
        self._is_known = is_known
        self._is_lost = is_lost
        self._files = files
        self._clock = clock
        self._last_request = self._clock.monotonic()

    def quiet_s(self) -> float:
        """For how long nothing was asked for."""
        return self._clock.monotonic() - self._last_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._last_request = self._clock.monotonic()
            headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
            if not _is_local(scope["headers"]):
                refusal = refused(403, "only programs on this machine may use the local service")
                await refusal(scope, receive, send)
                return
            if self._is_lost():
                await refused(503, LOST)(scope, receive, send)
                return
            if _needs_token(scope["path"]):
                _, _, token = headers.get(b"authorization", "").partition(" ")
                scope["claims"] = self._signer.accepted(token)
                if scope["claims"] is None and self._is_known(scope["path"]):
                    await refused(401, "Authentication failure")(scope, receive, send)
                    return
                scope["shares_files"] = self._files is not None and self._files.is_proved_by(
                    headers.get(_FILES_HEADER, "")
                )
        await self._app(scope, receive, send)


def _is_local(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if len(hosts) != 1 or any(name == b"origin" for name, _ in headers):
        return False
    return (hosts[0].rpartition(":")[0] or hosts[0]).strip("[]") in _LOOPBACK_NAMES
