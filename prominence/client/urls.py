"""What is told of URLs, and which of them lead to this machine."""

from __future__ import annotations

import logging
from typing import Any, Final
from urllib.parse import urlsplit

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in _LOOPBACK


def direct(url: str) -> dict[str, Any]:
    """Requests to this machine go to no proxy, whatever the environment says."""
    if is_loopback(url):
        return {"proxies": {"http": "", "https": ""}}
    return {}


def without_query(url: str) -> str:
    return url.partition("?")[0]


class _WithoutQueries(logging.Filter):
    """Takes the queries out of urllib3's log lines: those of presigned URLs are secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            shown = (without_query(each) if isinstance(each, str) else each for each in record.args)
            record.args = tuple(shown)
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutQueries())
