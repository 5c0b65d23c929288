"""What an answer of the service means: usable, or which error.

The service says no in several shapes: JSON with an ``error``, HTML pages from the web server or a proxy
in front, a 401 that has nothing to do with the token, and a 200 that holds an error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

from prominence.client.retry import Happened, RequestFailed
from prominence.exceptions import (
    AuthenticationError,
    FeatureDisabled,
    NotFound,
    PermissionDenied,
    ServiceError,
    ServiceUnavailable,
    WrongService,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prominence.clock import Clock

E = TypeVar("E", ServiceError, ServiceUnavailable)
M = TypeVar("M")

_SUCCESS: Final = range(200, 300)
_REDIRECTION: Final = range(300, 400)
_NO_SUCH_ROUTE: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_PASSING: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY)  # said by proxies of what they wait for
_EXCERPT_CHARACTERS: Final = 500
_SHORTEST_SECRET: Final = 8
_IDENTITY_AWAY: Final = "Unable to connect to OIDC server"
_DISABLED: Final = "Functionality disabled"
_TAG: Final = re.compile(r"<[^>]*>|\s+")


class StoredObject(TypedDict):
    """An uploaded object as services list it: ``size`` in bytes, ``lastModified`` in words."""

    name: str
    size: int
    lastModified: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A usable answer. ``features`` and ``revision`` are what the embedded service adds to the API.

    What is read from it raises ServiceUnavailable where it has another shape.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def entries(self) -> list[dict[str, Any]]:
        """The jobs or workflows of a listing."""
        return self._listed(_is_entry)

    def objects(self) -> list[StoredObject]:
        return self._listed(_is_object)

    def keys(self) -> list[str]:
        return self._listed(lambda each: isinstance(each, str))

    def pairs(self) -> dict[str, str]:
        """The keys of a listing with their values."""
        return {key: value for entry in self._listed(_is_pairs) for key, value in entry.items()}

    def member(self, name: str, kind: type[M]) -> M:
        """What an object has under a name."""
        found = self.json()
        member = found.get(name) if isinstance(found, dict) else None
        if not isinstance(member, kind):
            raise _error(ServiceUnavailable, self, f"the answer has no {name}")
        return member

    def _listed(self, is_one: Callable[[object], bool]) -> list[Any]:
        found = self.json()
        if isinstance(found, list) and all(is_one(each) for each in found):
            return found
        raise _error(ServiceUnavailable, self, "the answer is not a listing")

    @property
    def features(self) -> frozenset[str]:
        return frozenset(self.headers.get("Prominence-Features", "").replace(",", " ").split())

    @property
    def revision(self) -> int | None:
        text = self.headers.get("Prominence-Revision", "")
        return int(text) if text.isdecimal() else None


def _is_pairs(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def _is_object(found: object) -> bool:
    """Whether it is an uploaded object of a listing."""
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(name), str) for name in ("name", "lastModified"))
        and isinstance(found.get("size"), int)
    )


def _is_entry(found: object) -> bool:
    """Whether it is a job or workflow of a listing: what is relied on has the right types."""
    if not isinstance(found, dict) or not isinstance(found.get("id"), int):
        return False
    objects = (found.get(name) for name in ("labels", "events", "execution"))
    return isinstance(found.get("status", ""), str) and all(
        each is None or isinstance(each, dict) for each in objects
    )


def check(
    answer: Answer,
    url: str,
    clock: Clock,
    *,
    expect_json: bool,
    is_api: bool = True,
    secrets: Iterable[str] = (),
) -> Answer:
    """The answer itself where it is usable; raises RequestFailed, without any of the secrets, where not."""
    if answer.status in _SUCCESS:
        if expect_json:
            _check_json(answer)
        return answer
    raise _failure(_without(secrets, answer), url, clock, is_api=is_api)


def _without(secrets: Iterable[str], answer: Answer) -> Answer:
    """Some servers repeat what they were sent."""
    body = answer.body
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            body = body.replace(secret.encode(), b"REDACTED")
    return replace(answer, body=body)


def _check_json(answer: Answer) -> None:
    try:
        found = answer.json()
    except ValueError:
        if b"<html" in answer.body[:1000].lower():
            error: ServiceError | ServiceUnavailable = _error(
                WrongService, answer, "the answer is a web page"
            )
            raise RequestFailed(Happened.REFUSED, error) from None
        error = _error(ServiceUnavailable, answer, "the answer is not complete JSON")
        raise RequestFailed(Happened.LOST, error) from None
    if isinstance(found, dict) and set(found) == {"error"}:
        raise RequestFailed(Happened.REFUSED, _error(ServiceError, answer, str(found["error"])))


def _failure(answer: Answer, url: str, clock: Clock, *, is_api: bool) -> RequestFailed:
    reason = _reason(answer)
    status = answer.status
    happened = Happened.REFUSED
    if status == HTTPStatus.UNAUTHORIZED and reason == _IDENTITY_AWAY:
        happened, kind = Happened.IDENTITY_AWAY, ServiceUnavailable
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        happened, kind = Happened.THROTTLED, ServiceUnavailable
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        happened, kind = Happened.SERVER_ERROR, ServiceUnavailable
    else:
        return RequestFailed(happened, _refusal(answer, url, reason, is_api=is_api))
    return RequestFailed(happened, _error(kind, answer, reason), _retry_after(answer, clock))


def _refusal(answer: Answer, url: str, reason: str, *, is_api: bool) -> ServiceError:
    status = answer.status
    if status == HTTPStatus.UNAUTHORIZED:
        kind = FeatureDisabled if reason == _DISABLED else AuthenticationError
        return _error(kind, answer, reason)
    if status == HTTPStatus.FORBIDDEN:
        return _error(PermissionDenied, answer, reason)
    is_page = "json" not in answer.headers.get("Content-Type", "")
    if status in _REDIRECTION or (status in _NO_SUCH_ROUTE and is_page and is_api):
        return _error(WrongService, answer, f"{url} is not part of a PROMINENCE API: {status} {reason}")
    return _error(NotFound if status == HTTPStatus.NOT_FOUND else ServiceError, answer, reason)


def _error(kind: type[E], answer: Answer, message: str) -> E:
    return kind(message, status=answer.status, body=_excerpt(answer))


def _reason(answer: Answer) -> str:
    try:
        found = answer.json()
    except ValueError:
        return _excerpt(answer) or f"status {answer.status} without a text"
    if isinstance(found, dict) and found.get("error"):
        return str(found["error"])[:_EXCERPT_CHARACTERS]
    return f"status {answer.status}: {_excerpt(answer)}"


def _excerpt(answer: Answer) -> str:
    text = _TAG.sub(" ", answer.body[: 4 * _EXCERPT_CHARACTERS].decode("utf-8", "replace"))
    return " ".join(text.split())[:_EXCERPT_CHARACTERS]


def _retry_after(answer: Answer, clock: Clock) -> float | None:
    """Seconds that the server asks to wait; it says seconds or a date (RFC 9110, section 10.2.3)."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - clock.time())
    except ValueError:
        return None
