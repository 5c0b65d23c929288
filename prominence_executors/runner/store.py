"""The service's key-value store as a job sees it: HTTP over plain sockets.

Some images have a Python without the ``http`` package, and some one without ``ssl``.
"""

from __future__ import annotations

import socket

LONGEST_VALUE = 15967  # bytes
_TIMEOUT_S = 30.0
_PORTS = {"http": 80, "https": 443}
_OK = (200, 201)
_NOT_FOUND = 404
_NOT_REPLACED = b"Atomic replacement not successful"
_SWITCHED_OFF = b"Functionality disabled"


class Away(Exception):
    """No usable answer; another attempt may bring one."""


class Unusable(Exception):
    """This job can never use the store."""


class Store:
    """Keys with text values; what is asked for may have been done although Away is raised."""

    def __init__(self, url: str, token: str) -> None:
        self._scheme, self._host, self._port, self._path = _parts_of(url)
        self._token = token

    def get(self, key: str) -> str | None:
        """The value of a key; None where there is none."""
        status, body = self._request("GET", f"/kv/{key}")
        if status == _NOT_FOUND and body.lstrip().startswith(b"{"):  # a page would come from a proxy
            return None
        _check(status, body)
        return body.decode()

    def swap(self, key: str, value: str, expected: str) -> bool:
        """Set a key that has the expected value; False where it has another, or none."""
        status, body = self._request("POST", f"/kv/{key}?prev={expected}", value.encode())
        if _NOT_REPLACED in body:
            return False
        _check(status, body)
        return True

    def _request(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        head = (
            f"{method} {self._path}{target} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            with self._connected() as connection:
                connection.sendall(head.encode("latin-1") + body)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError as error:
            raise Away(f"{type(error).__name__}: {error.strerror or error}") from error
        return _parsed(answer)

    def _connected(self) -> socket.socket:
        connection = socket.create_connection((self._host, self._port), _TIMEOUT_S)
        if self._scheme == "http":
            return connection
        try:
            import ssl

            context = ssl.create_default_context()
        except ImportError as error:
            connection.close()
            raise Unusable("this Python has no ssl module, and the service needs HTTPS") from error
        try:
            return context.wrap_socket(connection, server_hostname=self._host)
        except ssl.SSLCertVerificationError as error:
            raise Unusable(f"the service's certificate is not accepted: {error.verify_message}") from error


def _parts_of(url: str) -> tuple[str, str, int, str]:
    scheme, _, rest = url.partition("://")
    if scheme not in _PORTS or not rest:
        raise Unusable("PROMINENCE_URL, the service's address, is not set in this job")
    place, _, path = rest.rstrip("/").partition("/")
    host, colon, port = place.rpartition(":")
    if not colon or port.endswith("]"):  # of an IPv6 address
        host, port = place, str(_PORTS[scheme])
    return scheme, host.strip("[]"), int(port), f"/{path}" if path else ""


def _parsed(answer: bytes) -> tuple[int, bytes]:
    head, end_of_head, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    words = first.split(" ")
    if not end_of_head or len(words) < 2 or not words[1].isdigit():  # noqa: PLR2004 - version and status
        raise Away("the answer is incomplete")
    if fields.get("transfer-encoding", "").lower() == "chunked":
        body = _unchunked(body)
    elif len(body) != int(fields.get("content-length", len(body))):
        raise Away("the answer is incomplete")
    return int(words[1]), body


def _unchunked(body: bytes) -> bytes:
    pieces: list[bytes] = []
    while True:
        size_line, separator, body = body.partition(b"\r\n")
        try:
            size = int(size_line.partition(b";")[0], 16)
        except ValueError:
            raise Away("the answer is incomplete") from None
        if not separator or len(body) < size + 2:
            raise Away("the answer is incomplete")
        if size == 0:
            return b"".join(pieces)
        pieces.append(body[:size])
        body = body[size + 2 :]


def _check(status: int, body: bytes) -> None:
    if status in _OK:
        return
    text = f"the store answered {status}: {body[:200].decode('utf-8', 'replace').strip()}"
    raise Unusable(text) if _SWITCHED_OFF in body else Away(text)
