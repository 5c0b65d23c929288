"""A service on this machine that says what a test tells it to, or breaks off in the middle of it."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from email.message import Message

BASE = "/prominence/v1"
LIMIT_S = 30.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_PAGE = "<!DOCTYPE html>\n<html><head><title>{0}</title></head>\n<body><h1>{0}</h1><hr>proxy</body></html>\n"


@dataclass(frozen=True)
class Received:
    """A request as it arrived; ``path`` is below the API's base, if it was below it."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer, or a part of one.

    Only the first ``sent`` bytes of the body are sent, then the connection ends. ``reset`` ends it without
    any answer, ``hang_up`` after the whole answer, unannounced. ``midway`` is called when half of the body
    has been sent.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    reset: bool = False
    hang_up: bool = False
    midway: Callable[[], None] | None = None

    def head(self) -> bytes:
        lines = {"Content-Type": self.content_type, "Content-Length": str(len(self.body)), **self.headers}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"HTTP/1.1 {self.status} Some Reason\r\n{text}\r\n".encode("latin-1")


RESET = Reply(reset=True)


def says(value: object, status: int = 200, **options: Any) -> Reply:
    return Reply(status, json.dumps(value).encode() + b"\n", **options)


def refuses(text: str, status: int = 400, **options: Any) -> Reply:
    return says({"error": text}, status, **options)


def page(status: int, **options: Any) -> Reply:
    """A web page as servers and proxies make them for errors."""
    return Reply(status, _PAGE.format(f"{status} of the proxy").encode(), "text/html", **options)


def cut_short(value: object, **options: Any) -> Reply:
    """An answer whose connection ends before all of its announced length was sent."""
    return says(value, sent=5, **options)


def truncated(value: object, **options: Any) -> Reply:
    """An answer of the announced length that ends in the middle of its JSON."""
    whole = json.dumps(value).encode()
    return Reply(body=whole[: len(whole) // 2], **options)


def labelled(*ids: int, status: str = "idle", **options: Any) -> Callable[[Received], Reply]:
    """Answers a look-up by label: these ids have the one that is asked for."""

    def answer(look_up: Received) -> Reply:
        name, _, value = look_up.query["constraint"].partition("=")
        return says([{"id": each, "status": status, "labels": {name: value}} for each in ids], **options)

    return answer


def redirects(target: str, status: int = 302) -> Reply:
    return Reply(status, headers={"Location": target})


class FakeService:
    """Answers requests from a script and keeps a record of them.

    ``script(method, path, reply, ...)`` sets what is answered there: replies in turn, the last again and
    again; one may also be a function that makes a reply from the request. Anything else is a 404 page.
    """

    def __init__(self, *, listening: bool = True) -> None:
        self.received: list[Received] = []
        self._scripts: dict[tuple[str, str], deque[Reply | Callable[[Received], Reply]]] = {}
        self._server = _Server(self)
        self._thread: threading.Thread | None = None
        if listening:
            self.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return self.address + BASE

    @property
    def connections(self) -> int:
        """How many there have been."""
        return self._server.accepted

    @property
    def sent(self) -> list[tuple[str, str]]:
        """Method and path of each request."""
        return [(each.method, each.path) for each in self.received]

    def listen(self) -> None:
        """Accept connections; before, they are refused."""
        if self._thread is None:
            self._server.server_activate()
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,))
            self._thread.start()

    def refuse(self) -> None:
        """End all connections and accept no others, until :meth:`listen` is called."""
        self._stop()
        self._server.bind_again()
        self._server.wait_until_unconnected()

    def close_connections(self) -> None:
        """End all connections, unannounced, and return when they are closed."""
        self._server.close_connections()
        self._server.wait_until_unconnected()

    def close(self) -> None:
        self._stop()
        self._server.server_close()

    def _stop(self) -> None:
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.close_connections()

    def script(self, method: str, path: str, *replies: Reply | Callable[[Received], Reply]) -> None:
        self._scripts[method, path] = deque(replies)

    def reset_connections(self, count: int) -> None:
        """Reset the next connections when a request has arrived there, without reading it."""
        self._server.resets = count

    def wait_until_unconnected(self) -> None:
        """Return when this side of every connection is closed."""
        self._server.wait_until_unconnected()

    def answer(self, request: Received) -> Reply:
        self.received.append(request)
        replies = self._scripts.get((request.method, request.path))
        if replies is None:
            return page(404)
        reply = replies.popleft() if len(replies) > 1 else replies[0]
        return reply if isinstance(reply, Reply) else reply(request)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them

    def __init__(self, service: FakeService) -> None:
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=False)
        self.server_bind()
        self.service = service
        self.accepted = 0
        self.resets = 0
        self._open: set[socket.socket] = set()
        self._change = threading.Condition()

    def bind_again(self) -> None:
        """Keep the port without listening there: connections are refused."""
        self.socket.close()
        self.socket = socket.socket(self.address_family, self.socket_type)
        TCPServer.server_bind(self)

    def verify_request(self, request: Any, _client_address: Any) -> bool:
        """Called with each new connection; False ends it."""
        with self._change:
            self.accepted += 1
            self._open.add(request)
        if self.resets:
            self.resets -= 1
            request.recv(1, socket.MSG_PEEK)  # it is sent now; earlier, the client would see no connection
            self.make_reset(request)
            return False
        return True

    @staticmethod
    def make_reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def shutdown_request(self, request: Any) -> None:
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == _RESET_ON_CLOSE:
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def close_request(self, request: Any) -> None:
        super().close_request(request)
        with self._change:
            self._open.discard(request)
            self._change.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of this side."""

    def close_connections(self) -> None:
        with self._change:
            for connection in self._open:
                with suppress(OSError):  # the client has closed its side
                    connection.shutdown(socket.SHUT_RD)

    def wait_until_unconnected(self) -> None:
        with self._change:
            assert self._change.wait_for(lambda: not self._open, LIMIT_S), "connections stay open"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _answer(self) -> None:
        target = urlsplit(self.path)
        request = Received(
            self.command,
            target.path.removeprefix(BASE),
            dict(parse_qsl(target.query, keep_blank_values=True)),
            self.headers,
            self.rfile.read(int(self.headers.get("Content-Length", 0))),
        )
        reply = self.server.service.answer(request)
        if reply.reset:
            self.server.make_reset(self.connection)
            self.close_connection = True
            return
        self._send(reply)
        self.close_connection = self.close_connection or reply.hang_up or reply.sent is not None

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the base calls them so

    def _send(self, reply: Reply) -> None:
        body = reply.body[: reply.sent]
        half = len(body) // 2 if reply.midway else len(body)
        self.wfile.write(reply.head() + body[:half])
        if reply.midway:
            reply.midway()
            self.wfile.write(body[half:])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base's
        """Say nothing."""
