"""Requests to one service: a deadline on everything, retries by the table."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlencode

import requests

from prominence.client import answers, connections
from prominence.client.answers import Answer
from prominence.client.retry import Happened, Kind, RequestFailed, retrying
from prominence.client.trouble import Trouble
from prominence.client.unanswered import innermost, unanswered
from prominence.client.urls import is_loopback, without_query
from prominence.client.wire import Credentials, Wire, name_request, pieces_of
from prominence.credentials import expired_at
from prominence.exceptions import AuthenticationError, DeadlineExceeded, RequestFailure
from prominence.logs import logger
from prominence.notices import show_notices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import tenacity

    from prominence.client.service import Service
    from prominence.clock import Clock

log = logger(__name__)
show_notices()

T = TypeVar("T")

DEADLINE_S: Final = 60.0
SETTLE_REMOTE_S: Final = 120.0
SETTLE_LOCAL_S: Final = 5.0
_CONNECT_S: Final = 10.0
_READ_S: Final = 30.0
_FIRST_CONTACT_S: Final = 5.0  # for a service on this machine that is just being started
_TROUBLE: Final = frozenset(Happened) - {Happened.STALE, Happened.REFUSED}


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
        self,
        service: Service,
        ssl_verify: bool | str,
        clock: Clock,
        random: Random | None = None,
        *,
        settle_s: float | None = None,
    ) -> None:
        self.service = service
        self.clock = clock
        self.features: frozenset[str] = frozenset()  # what the service has beyond the API
        self.random = random or Random()  # noqa: S311 - jitter is no secret
        self._settle_s = settle_s
        self.wire = Wire(ssl_verify, clock)
        self.trouble = Trouble("the service", clock)
        self.trouble_of_storage = Trouble("the object store", clock)
        self._has_answered = False
        self._keeps_connections: bool | None = None  # None: not known yet

    @property
    def settle_s(self) -> float:
        """How long after an ambiguous failure a submission may still arrive, in seconds."""
        if self._settle_s is not None:
            return self._settle_s
        return SETTLE_LOCAL_S if self.service.is_embedded else SETTLE_REMOTE_S

    @property
    def has_answered(self) -> bool:
        """True once the service has answered anything, and so has told its features."""
        return self._has_answered

    def close(self) -> None:
        self.wire.close()

    def send(self, request: Request, deadline_s: float = DEADLINE_S) -> Answer:
        """The answer, if there is a usable one in time; otherwise a typed error.

        Raises ServiceError where the service says no, ServiceUnavailable (DeadlineExceeded when the
        time is used up) where nothing usable comes.
        """
        try:
            return self.attempt(request, deadline_s)
        except RequestFailed as failed:
            raise failed.error from None  # the cause's text has the whole URL

    def attempt(self, request: Request, deadline_s: float = DEADLINE_S) -> Answer:
        """As :meth:`send`, but a failure is RequestFailed, which also tells whether it may have arrived."""
        started = self.clock.monotonic()

        def once(deadline: float, is_stale: bool) -> Answer:
            is_new = is_stale or not self._may_use_kept(request.kind)
            return self._ask_service(request, started, deadline, new_connection=is_new)

        return self.retried(request.kind, once, deadline_s + request.longer)

    def retried(
        self,
        kind: Kind,
        once: Callable[[float, bool], T],
        deadline_s: float = DEADLINE_S,
        *,
        trouble: Trouble | None = None,
    ) -> T:
        """What ``once`` returns, called as often as the table of retries allows.

        It is given the deadline (monotonic) and whether it needs a new connection, since a kept one turned
        out to be closed; it raises RequestFailed where it brings nothing. ``trouble`` is that of the server
        which it asks, by default the service.
        """
        met = trouble or self.trouble
        started = self.clock.monotonic()
        attempts, is_stale = 0, False

        def attempt() -> T:
            nonlocal attempts, is_stale
            attempts += 1
            try:
                found = once(started + deadline_s, is_stale)
            except RequestFailed as failed:
                is_stale = failed.happened is Happened.STALE
                if failed.happened in _TROUBLE:
                    met.failed()
                elif not is_stale:
                    met.answered()
                raise
            met.answered()
            return found

        def before_pause(state: tenacity.RetryCallState) -> None:
            _log_pause(state, met)

        try:
            return retrying(kind, started + deadline_s, self.clock, self.random, before_pause)(attempt)
        except RequestFailed as failed:
            if isinstance(failed.error, RequestFailure):
                failed.error.attempts = attempts
                failed.error.elapsed = self.clock.monotonic() - started
            raise

    def _ask_service(
        self, request: Request, started: float, deadline: float, *, new_connection: bool
    ) -> Answer:
        url, token = request.url(self.service.url), self.service.token
        try:
            return self._exchange(request, url, deadline, token, new_connection=new_connection)
        except RequestFailed as failed:
            if failed.happened is Happened.NOT_SENT:
                self.service.look_again()
                if not self._has_answered and self._is_nobody_there(failed, url, started):
                    failed.happened = Happened.NOBODY_THERE
            if not isinstance(failed.error, AuthenticationError):
                raise
            if not self.service.renew_token(token):
                failed.error.expired_at = expired_at(token, self.clock.time())
                raise
        # It was refused, and so had no effect.
        return self._exchange(request, url, deadline, self.service.token, new_connection=new_connection)

    def _is_nobody_there(self, failed: RequestFailed, url: str, started: float) -> bool:
        """True where waiting would not help: no such name, a bad certificate, a port without a service."""
        cause = innermost(failed)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        if isinstance(cause, socket.gaierror):
            return cause.errno == socket.EAI_NONAME
        if not isinstance(cause, ConnectionRefusedError) or not is_loopback(url):
            return False
        left = started + _FIRST_CONTACT_S - self.clock.monotonic()
        failed.retry_within = max(0.0, left)
        return left <= 0

    def _may_use_kept(self, kind: Kind) -> bool:
        """What must not be done twice goes over a kept connection only where those are known to live on.

        Were it closed at that moment, nobody could tell whether the request had arrived. A submission can
        be looked up then, and what cannot is sent so to our own service alone.
        """
        if kind in {Kind.READ, Kind.REMOVE}:
            return True
        if kind is Kind.ONCE:
            return bool(self.features)
        return self._keeps_connections or (self._keeps_connections is None and bool(self.features))

    def _exchange(
        self, request: Request, url: str, deadline: float, token: str, *, new_connection: bool
    ) -> Answer:
        files = self.service.files
        files_key = "" if files is None else files.key
        try:
            left = self._time_left(deadline)
            with self.wire.open(
                request.method,
                url,
                body=request.body,
                headers={"Content-Type": "application/json"} if request.body is not None else None,
                auth=Credentials(token, files_key),
                timeouts_s=(min(_CONNECT_S, left), min(_READ_S + request.longer, left)),
                new_connection=new_connection,
            ) as response:
                answer = Answer(response.status_code, response.headers, self._read(response, deadline))
            self._learn(answer)
            return answers.check(
                answer,
                without_query(url),
                self.clock,
                expect_json=request.expect_json,
                secrets=[token, files_key],
            )
        except RequestFailed as failed:
            if failed.happened is Happened.STALE:
                self._keeps_connections = False
            name_request(failed, request.method, url)
            raise

    def _time_left(self, deadline: float) -> float:
        left = deadline - self.clock.monotonic()
        if left <= 0:
            raise RequestFailed(Happened.NOT_SENT, DeadlineExceeded("no time left to send the request"))
        return left

    def _learn(self, answer: Answer) -> None:
        self._has_answered = True
        self.features = answer.features or self.features
        if self._keeps_connections is None and connections.was_on_kept_connection():
            self._keeps_connections = True

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        """The whole body; a server that sends it drop by drop does not outlive the deadline."""
        pieces = []
        for piece in pieces_of(response):
            pieces.append(piece)
            if self.clock.monotonic() > deadline:
                late = requests.ReadTimeout("the answer was not complete when the time was used up")
                raise unanswered(Happened.LOST, late, response.url)
        return b"".join(pieces)


def _log_pause(state: tenacity.RetryCallState, trouble: Trouble) -> None:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, RequestFailed):
        text = "%s; trying again in %.1f s"
        if error.happened is Happened.STALE:
            log.debug(text, error.error, state.upcoming_sleep)
        else:
            trouble.tell(log, text, error.error, state.upcoming_sleep)
