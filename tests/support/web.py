"""A web server on loopback that has what a test gives it, and nothing else."""

from __future__ import annotations

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


ENDLESS: Final = "/endless"
_BETWEEN_PIECES_S: Final = 0.01


class WebServer:
    """Answers GET for the paths in ``files`` with their bytes, for ENDLESS without end, else with 404."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.asked: list[str] = []
        self._ended = threading.Event()
        asked, ended = self.asked, self._ended

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                if self.path == ENDLESS:
                    self._send_endlessly()
                    return
                body = files.get(self.path.partition("?")[0])
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def _send_endlessly(self) -> None:
                self.send_response(200)
                self.end_headers()
                with suppress(ConnectionError):
                    while not ended.wait(_BETWEEN_PIECES_S):
                        self.wfile.write(b"more")

            def log_message(self, *_: object) -> None:
                """Tests read ``asked`` instead."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
