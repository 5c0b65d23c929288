"""Record what the local service answers: ``python tests/record.py`` renews ``cassettes/local``.

Each of ``support.local_exchanges`` runs against a fresh service, over one connection. Nothing secret and
nothing of this machine is kept: a recording that holds any of it is not written.
"""

from __future__ import annotations

import getpass
import platform
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import yaml
from support import recordings
from support.local_exchanges import EXCHANGES
from support.service import LocalService
from vcr.request import Request

from prominence import ProminenceClient

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT_REQUEST_HEADERS: Final = {"content-type", "range"}
KEPT_HEADERS: Final = {"content-type", "prominence-features", "prominence-revision", "content-range"}


class Scrubber:
    """Takes out of exchanges what belongs to one service or one machine."""

    def __init__(self, service: LocalService) -> None:
        endpoint = service.endpoint
        parts = urlsplit(endpoint.url)
        self._replaced = {
            re.escape(f"{parts.scheme}://{parts.netloc}"): recordings.LOCAL_ADDRESS,
            re.escape(str(service.directory)): "/state",
            re.escape(platform.release()): "6.0",
            rf"""(?<=[/"]){re.escape(getpass.getuser())}(?=[/"])""": "user",
            r"(?<=[Ss]ignature=)[^&\"\s]+": "REDACTED",
        }
        self.forbidden = {
            "token": endpoint.token,
            "key of its files": endpoint.files_key,
            "address": parts.netloc,
            "state directory": str(service.directory),
            "home": str(Path.home()),
            "kernel": platform.release(),
        }

    def request(self, request: Any) -> Any:
        kept = {
            name: value for name, value in request.headers.items() if name.lower() in KEPT_REQUEST_HEADERS
        }
        uri = self._clean(request.uri.encode()).decode()
        return Request(request.method, uri, recordings.body_of(request), kept)

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        body = self._clean(response["body"]["string"])
        headers = {
            name: values for name, values in response["headers"].items() if name.lower() in KEPT_HEADERS
        }
        headers["Content-Length"] = [str(len(body))]
        return {**response, "headers": headers, "body": {"string": body}}

    def _clean(self, content: bytes) -> bytes:
        for pattern, replacement in self._replaced.items():
            content = re.sub(pattern.encode(), replacement.encode(), content)
        return content

    def check(self, recorded: bytes) -> None:
        """Raise ValueError where something is left; the text itself may break words over lines."""
        found = repr(yaml.safe_load(recorded))
        for what, secret in self.forbidden.items():
            if secret in found:
                raise ValueError(f"the recording holds the {what}")


def record(name: str, exchange: Callable[[ProminenceClient], None]) -> int:
    """Write the cassette of an exchange; the number of requests in it."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory) / "service"
        with LocalService(place, cpus=8, memory=64) as service:
            scrubber = Scrubber(service)
            kept = Path(directory) / f"{name}.yaml"
            with (
                recordings.recorded(kept, scrubber.request, scrubber.response) as cassette,
                ProminenceClient(settings=service.settings()) as client,
            ):
                exchange(client)
            scrubber.check(kept.read_bytes())
            (recordings.LOCAL / kept.name).write_bytes(kept.read_bytes())
            return len(cassette)


def main() -> None:
    for name, exchange in EXCHANGES.items():
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            print(f"{name}: {record(name, exchange)} exchanges")  # noqa: T201 - it is a program


if __name__ == "__main__":
    main()
