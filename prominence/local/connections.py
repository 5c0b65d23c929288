"""One connection of a client: HTTP as uvicorn speaks it, with bounds on what is read before a token is seen.

Any user of the machine can connect to a port on loopback. Neither a head of a request that never ends nor a
body that never comes may cost the service memory or a connection for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from asyncio.events import TimerHandle

MOST_HEAD_BYTES: Final = 64 * 1024  # a status request of 1,500 characters and a token need 4 kB
MOST_CONNECTIONS: Final = 600  # a process often may have no more than 1,024 open files
HEAD_TIME_S: Final = 20.0
BODY_PAUSE_S: Final = 60.0
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


class Connection(HttpToolsProtocol):
    """Closes itself on a head that is too large or too slow, and on a body that stops coming."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes: int | None = 0
        self._asked = False
        self._patience: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(HEAD_TIME_S)
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._refuse()
        elif self._patience is not None:
            self._wait(BODY_PAUSE_S)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        if self._patience is None:
            self._wait(HEAD_TIME_S)

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MOST_HEAD_BYTES:
            self._refuse()
            return
        self._asked = True
        self._wait(BODY_PAUSE_S)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._wait(None)
        if not self.transport.is_closing():
            super().on_message_complete()

    @property
    def is_idle(self) -> bool:
        return not self._asked or self.timeout_keep_alive_task is not None

    def _make_room(self) -> None:
        """Close a connection that waits for a request, which clients expect at any time; else this one."""
        idle = (each for each in self.connections if isinstance(each, Connection) and each.is_idle)
        next((each for each in idle if each is not self), self).transport.close()

    def _refuse(self) -> None:
        self._wait(None)
        self.transport.write(_TOO_LARGE)
        self.transport.close()

    def _wait(self, seconds: float | None) -> None:
        """Close the connection after so many seconds, unless told otherwise before."""
        if self._patience is not None:
            self._patience.cancel()
        self._patience = None if seconds is None else self.loop.call_later(seconds, self.transport.close)
