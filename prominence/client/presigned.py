"""Requests to presigned URLs: the signature in the URL is all the permission there is, and a secret.

No token is sent with them, and no error tells more of the URL than its path.
"""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from prominence.client import answers
from prominence.client.answers import Answer
from prominence.client.retry import RequestFailed
from prominence.client.urls import without_query
from prominence.client.wire import name_request, pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import requests

    from prominence.client.transport import Transport

STALL_S: Final = 30.0
"""Seconds without a byte after which a transfer is broken off, and taken up again."""

_MOST_OF_A_REFUSAL: Final = 65536


@contextmanager
def opened(
    transport: Transport,
    method: str,
    url: str,
    *,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    new_connection: bool,
) -> Iterator[requests.Response]:
    """A usable answer (2xx) whose body is not read yet; raises RequestFailed without one.

    ``secrets`` are what an error must not repeat, beside the values of the URL's query.
    """
    try:
        with transport.wire.open(
            method,
            url,
            body=body,
            headers=headers,
            timeouts_s=(STALL_S, STALL_S),
            new_connection=new_connection,
        ) as response:
            _check_status(transport, response, [*secrets, *_query_values(url), *_query_values(response.url)])
            yield response
    except RequestFailed as failed:
        name_request(failed, method, url)
        raise


def _check_status(transport: Transport, response: requests.Response, secrets: list[str]) -> None:
    if HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
        return
    body = b""
    for piece in pieces_of(response):
        body += piece
        if len(body) >= _MOST_OF_A_REFUSAL:
            break
    answers.check(
        Answer(response.status_code, response.headers, body),
        without_query(response.url),
        transport.clock,
        expect_json=False,
        is_api=False,
        secrets=secrets,
    )


def _query_values(url: str) -> list[str]:
    return [value for _, value in parse_qsl(urlsplit(url).query)]
