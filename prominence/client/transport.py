"""Requests on the wire: one pool of connections, a deadline on everything, retries by the table."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
import requests.adapters
import urllib3

from prominence.client import answers
from prominence.client.answers import Answer
from prominence.client.retry import Happened, Kind, RequestFailed, retrying
from prominence.exceptions import DeadlineExceeded, RequestFailure, ServiceUnavailable
from prominence.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    import tenacity

    from prominence.client.service import Service
    from prominence.clock import Clock

log = logging.getLogger(__name__)

DEADLINE_S: Final = 60.0
_CONNECT_S: Final = 10.0
_READ_S: Final = 30.0
_POOL: Final = 32
_CHUNK: Final = 65536
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class _Bearer(requests.auth.AuthBase):
    """Sets the token itself, so that no ``.netrc`` can."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


class _Session(requests.Session):
    """Carries nothing to where an answer redirects to; ``.netrc`` is not asked there either."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        del response
        prepared_request.headers.pop("Authorization", None)


@dataclass(frozen=True, slots=True)
class Request:
    """A call of the API: what is asked for, and whether it may be asked for again."""

    method: str
    path: str
    kind: Kind
    query: Mapping[str, str] | None = None
    body: bytes | None = None
    expect_json: bool = True
    longer: float = 0.0  # seconds that the server may take on purpose (long poll)

    def url(self, base: str) -> str:
        return f"{base}{self.path}" + (f"?{urlencode(self.query)}" if self.query else "")


class Transport:
    """Sends requests to one service; may be used by many threads at once."""

    def __init__(
        self, service: Service, ssl_verify: bool | str, clock: Clock, random: Random | None = None
    ) -> None:
        self.service = service
        self.clock = clock
        self.features: frozenset[str] = frozenset()  # what the service has beyond the API
        self._random = random or Random()  # noqa: S311 - jitter is no secret
        self._ssl_verify = ssl_verify
        self._session = _Session()
        self._session.headers["User-Agent"] = f"prominence-python/{__version__}"
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=_POOL, max_retries=0)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def close(self) -> None:
        self._session.close()

    def send(self, request: Request, deadline_s: float = DEADLINE_S) -> Answer:
        """The answer, if there is a usable one in time; otherwise a typed error.

        Raises ServiceError where the service says no, ServiceUnavailable (DeadlineExceeded when the
        time is used up) where nothing usable comes, and RequestFailed for a submission in doubt.
        """
        try:
            return self._tried(request, deadline_s + request.longer)
        except RequestFailed as failed:
            if request.kind is Kind.SUBMIT and failed.happened in {Happened.LOST, Happened.SERVER_ERROR}:
                raise
            raise failed.error from None  # the cause's text has the whole URL

    def download(self, url: str, deadline_s: float = DEADLINE_S) -> bytes:
        """The bytes behind a presigned URL; no token is sent with it."""
        request = Request("GET", "", Kind.READ, expect_json=False)
        try:
            return self._tried(request, deadline_s, url).body
        except RequestFailed as failed:
            raise failed.error from None

    def _tried(self, request: Request, deadline_s: float, url: str | None = None) -> Answer:
        """Attempts as the table of retries allows; to ``url`` without a token, else to the service."""
        started = self.clock.monotonic()
        deadline = started + deadline_s
        attempts, where = 0, url or ""

        def attempt() -> Answer:
            nonlocal attempts, where
            attempts += 1
            if url is not None:
                return self._exchange(request, url, deadline, auth=None)
            where = request.url(self.service.url)
            return self._ask_service(request, where, deadline)

        try:
            return retrying(request.kind, deadline, self.clock, self._random, _log_pause)(attempt)
        except RequestFailed as failed:
            if isinstance(failed.error, RequestFailure):
                failed.error.method = request.method
                failed.error.url = _without_query(where)
                failed.error.attempts = attempts
                failed.error.elapsed = self.clock.monotonic() - started
            raise

    def _ask_service(self, request: Request, url: str, deadline: float) -> Answer:
        try:
            return self._exchange(request, url, deadline, auth=_Bearer(self.service.token))
        except RequestFailed as failed:
            if failed.happened is Happened.NOT_SENT:
                self.service.look_again()
            raise

    def _exchange(self, request: Request, url: str, deadline: float, auth: _Bearer | None) -> Answer:
        left = deadline - self.clock.monotonic()
        if left <= 0:
            raise RequestFailed(Happened.NOT_SENT, DeadlineExceeded("no time left to send the request"))
        read_s = min(_READ_S + request.longer, left)
        try:
            with self._session.request(
                request.method,
                url,
                data=request.body,
                headers={"Content-Type": "application/json"} if request.body is not None else None,
                auth=auth or _no_auth,
                timeout=(min(_CONNECT_S, left), read_s),
                allow_redirects=auth is None,
                stream=True,
                verify=self._ssl_verify,  # said here, or REQUESTS_CA_BUNDLE would win
                **_direct(url),
            ) as response:
                body = self._read(response, deadline)
                answer = Answer(response.status_code, response.headers, body)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _unanswered(error, url) from error
        self.features = answer.features or self.features
        return answers.check(
            answer,
            _without_query(url),
            self.clock,
            expect_json=request.expect_json,
            is_api=auth is not None,
            secrets=_query_values(url) if auth is None else [auth.token],
        )

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        """The whole body; a server that sends it drop by drop does not outlive the deadline."""
        chunks = []
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            chunks.append(chunk)
            if self.clock.monotonic() > deadline:
                raise requests.ReadTimeout("the answer was not complete when the time was used up")
        return b"".join(chunks)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in _LOOPBACK


def _direct(url: str) -> dict[str, Any]:
    """Requests to this machine go to no proxy, whatever the environment says."""
    if is_loopback(url):
        return {"proxies": {"http": "", "https": ""}}
    return {}


def _unanswered(error: Exception, url: str) -> RequestFailed:
    happened = Happened.NOT_SENT if _never_sent(error) else Happened.LOST
    where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    failure: ServiceUnavailable
    if isinstance(error, requests.Timeout):
        failure = DeadlineExceeded(f"{where} did not answer in time")
    elif happened is Happened.NOT_SENT:
        hint = (
            "; if this is the local service, it has ended: `prominence local start`"
            if is_loopback(url)
            else ""
        )
        failure = ServiceUnavailable(f"{where} cannot be reached: {_plain(error)}{hint}")
    else:
        failure = ServiceUnavailable(f"the connection to {where} broke: {_plain(error)}")
    return RequestFailed(happened, failure)


def _never_sent(error: Exception) -> bool:
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.SSLError)):
        return True
    reason = error.args[0] if error.args else None
    cause = getattr(reason, "reason", reason)
    cause = getattr(cause, "original_error", cause)  # of a proxy that cannot be reached
    return isinstance(
        cause,
        (
            urllib3.exceptions.NewConnectionError,
            urllib3.exceptions.NameResolutionError,
            urllib3.exceptions.SSLError,
        ),
    )


def _plain(error: Exception) -> str:
    """The innermost cause in words, without the addresses of objects, queries or headers."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    return getattr(inner, "strerror", None) or type(inner).__name__


def _query_values(url: str) -> list[str]:
    return [value for _, value in parse_qsl(urlsplit(url).query)]


class _WithoutQueries(logging.Filter):
    """Takes the queries out of urllib3's log lines: those of presigned URLs are secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            shown = (_without_query(each) if isinstance(each, str) else each for each in record.args)
            record.args = tuple(shown)
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutQueries())


def _without_query(url: str) -> str:
    return url.partition("?")[0]


def _log_pause(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, RequestFailed):
        log.warning(
            "attempt %d failed (%s: %s), next in %.1f s",
            state.attempt_number,
            error.happened.name,
            error.error,
            state.upcoming_sleep,
        )
