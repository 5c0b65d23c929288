"""What it means that a request brought no answer, or one that broke off."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import requests
import urllib3

from prominence.client import connections
from prominence.client.retry import Happened, RequestFailed
from prominence.client.urls import is_loopback
from prominence.exceptions import DeadlineExceeded, ServiceUnavailable

BROKEN: Final = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


def unanswered(happened: Happened, error: Exception, url: str) -> RequestFailed:
    """The failure as callers are told it: with the server's address, and no more of the URL."""
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


def before_an_answer(error: Exception) -> Happened:
    """What happened to this thread's last request, of which no answer has come at all."""
    if _never_sent(error):
        return Happened.NOT_SENT
    if connections.was_on_kept_connection() and isinstance(innermost(error), ConnectionError):
        return Happened.STALE
    return Happened.LOST


def _never_sent(error: Exception) -> bool:
    if isinstance(error, requests.ConnectTimeout) or connections.was_connecting():
        return True
    reason = error.args[0] if error.args else None
    cause = getattr(reason, "reason", reason)
    cause = getattr(cause, "original_error", cause)  # of a proxy that cannot be reached
    return isinstance(
        cause,
        (urllib3.exceptions.NewConnectionError, urllib3.exceptions.NameResolutionError),
    )


def _plain(error: Exception) -> str:
    """The innermost cause in words, without the addresses of objects, queries or headers."""
    inner = innermost(error)
    return getattr(inner, "strerror", None) or type(inner).__name__


def innermost(error: BaseException) -> BaseException:
    """What requests and urllib3 have wrapped, perhaps several times."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error
