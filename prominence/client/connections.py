"""Connections that are kept, and what can be known of them.

Real services close connections after an answer, without saying so. A pool notices that when it takes a
connection up again, unless the news is still under way; then the request fails in a way that does not tell
whether it arrived. So the transport must know whether a request went over a kept connection, and must be
able to ask for a new one.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

KEPT: Final = 32


class _ThisRequest(threading.local):
    """A request is made by one thread from its connection to its answer."""

    wants_new = False
    is_on_kept = False
    is_connecting = False


_this_request = _ThisRequest()


def next_request(*, new_connection: bool) -> None:
    """Say how this thread's next request is to be connected."""
    _this_request.wants_new = new_connection
    _this_request.is_on_kept = False
    _this_request.is_connecting = False


def was_on_kept_connection() -> bool:
    """True when this thread's last request went over a connection that had carried another before."""
    return _this_request.is_on_kept


def was_connecting() -> bool:
    """True when this thread's last request failed while its TLS connection was still being made.

    Errors of TLS look alike then and later, when the request may have arrived.
    """
    return _this_request.is_connecting


class _KnownConnections:
    """A pool's part of the above."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)  # type: ignore[misc]  # of the pool
        if _this_request.wants_new:
            connection.close()  # it connects again when it is used
        _this_request.is_on_kept = getattr(connection, "sock", None) is not None
        return connection


class _Pool(_KnownConnections, HTTPConnectionPool):
    pass


class _TlsPool(_KnownConnections, HTTPSConnectionPool):
    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)
        _this_request.is_connecting = True
        return connection

    def _validate_conn(self, conn: Any) -> None:
        super()._validate_conn(conn)
        _this_request.is_connecting = False


class Adapter(HTTPAdapter):
    """The transport's connections to all hosts, also those behind proxies."""

    def __init__(self) -> None:
        super().__init__(pool_maxsize=KEPT, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        _use_known(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        _use_known(manager)
        return manager


def _use_known(manager: Any) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
