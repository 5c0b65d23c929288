"""What goes over the wire: a request, and its answer as it arrives; one pool of connections for all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import requests

from prominence.client import connections
from prominence.client.retry import Happened, RequestFailed
from prominence.client.unanswered import BROKEN, before_an_answer, unanswered
from prominence.client.urls import direct, is_loopback, without_query
from prominence.exceptions import RequestFailure
from prominence.sharing import HEADER
from prominence.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prominence.clock import Clock, Timeouts

_PIECE: Final = 65536  # bytes read at once, at most
_USER_AGENT: Final = (
    f"prominence-python/{__version__} Python/{'.'.join(str(part) for part in sys.version_info[:3])}"
)


class Credentials(requests.auth.AuthBase):
    """Sets the token itself, so that no ``.netrc`` can, and what proves that files are shared."""

    def __init__(self, token: str, files_key: str) -> None:
        self._token = token
        self._files_key = files_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        if self._files_key:
            request.headers[HEADER] = self._files_key
        return request


class _Requests(requests.Session):
    """Carries nothing to where an answer redirects to; ``.netrc`` is not asked there either."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        del response
        prepared_request.headers.pop("Authorization", None)

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Proxies are looked up only where they count: that takes long in a large environment."""
        if is_loopback(url):
            return {"proxies": proxies, "stream": stream, "verify": verify, "cert": cert}
        return super().merge_environment_settings(url, proxies, stream, verify, cert)


class Wire:
    """Connections to any server; may be used by many threads at once."""

    def __init__(self, ssl_verify: bool | str, clock: Clock) -> None:
        self._ssl_verify = ssl_verify
        self._clock = clock
        self._requests = _Requests()
        self._requests.headers["User-Agent"] = _USER_AGENT
        adapter = connections.Adapter()
        for scheme in ("http://", "https://"):
            self._requests.mount(scheme, adapter)

    def close(self) -> None:
        self._requests.close()

    def open(
        self,
        method: str,
        url: str,
        *,
        timeouts_s: Timeouts,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        auth: requests.auth.AuthBase | None = None,
        new_connection: bool = False,
    ) -> requests.Response:
        """An answer whose body is not read yet, for the caller to close; raises RequestFailed without one.

        Without ``auth`` no token is sent, and a GET follows redirections. The time-outs are that to connect
        (and to send a piece of the body) and that between two pieces of the answer.
        """
        connections.next_request(new_connection=new_connection)
        try:
            return self._requests.request(
                method,
                url,
                data=body,
                headers=headers,
                auth=auth or _no_auth,
                timeout=self._clock.socket_timeouts(timeouts_s),
                allow_redirects=auth is None and method == "GET",
                stream=True,
                verify=self._ssl_verify,  # said here, or REQUESTS_CA_BUNDLE would win
                **direct(url),
            )
        except BROKEN as error:
            raise unanswered(before_an_answer(error), error, url) from error


def pieces_of(
    response: requests.Response, size: int = _PIECE, *, decode_content: bool = True
) -> Iterator[bytes]:
    """The body as it arrives, at most ``size`` bytes at once.

    Raises RequestFailed where it breaks off before its announced end.
    """
    try:
        while piece := response.raw.read1(size, decode_content=decode_content):
            yield piece
    except BROKEN as error:
        raise unanswered(Happened.LOST, error, response.url) from error


def name_request(failed: RequestFailed, method: str, url: str) -> None:
    """Let the error say which request it was."""
    if isinstance(failed.error, RequestFailure):
        failed.error.method, failed.error.url = method, without_query(url)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
