"""The token that goes with each request, and where another one comes from while a program runs for days."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Protocol

from prominence.credentials import StoredToken, expiry_of
from prominence.exceptions import AuthenticationError, ConfigurationError, ProminenceError
from prominence.logs import logger

if TYPE_CHECKING:
    from prominence.clock import Clock
    from prominence.settings import LoginSettings

log = logger(__name__)

_RENEW_BEFORE_S: Final = 60.0
_REFRESH_AGAIN_S: Final = 60.0


class TokenSource(Protocol):
    """Safe to use from several threads."""

    @property
    def token(self) -> str:
        """The token to send now, also where it looks expired: that is for the service to say."""

    def renew(self, refused: str) -> bool:
        """Look for another token than the refused one; True when :attr:`token` is another one now."""


class FixedToken:
    """A token from an argument or the environment: there is no other."""

    def __init__(self, token: str) -> None:
        self.token = token

    def renew(self, refused: str) -> bool:
        return refused != self.token


class LoginToken:
    """The token of the last login, whichever process made it.

    Its file is read again shortly before the token expires and whenever the service refuses it. Where the
    provider gave a refresh token, a new token is asked for then (RFC 6749, section 6).
    """

    def __init__(self, token: str, login: LoginSettings, clock: Clock) -> None:
        self._login = login
        self._clock = clock
        self._lock = threading.Lock()
        self._refresh_after = clock.monotonic()
        self._refused_refresh: str | None = None
        self._take(token)

    @property
    def token(self) -> str:
        is_due = self._renew_at is not None and self._clock.time() >= self._renew_at
        if is_due and self._lock.acquire(blocking=False):  # while one thread renews, others go on
            try:
                self._look()
            finally:
                self._lock.release()
        return self._token

    def renew(self, refused: str) -> bool:
        with self._lock:
            if self._token == refused:
                self._look()
            return self._token != refused

    def _take(self, token: str) -> None:
        self._token = token
        expiry = expiry_of(token)
        self._renew_at = None if expiry is None else expiry - _RENEW_BEFORE_S

    def _look(self) -> None:
        """Take a newer token, from the file or the provider; keep the one at hand where there is none."""
        try:
            stored = self._login.credentials.token()
            if stored is not None and stored.access_token == self._token and self._may_refresh(stored):
                stored = self._refreshed()
        except ConfigurationError as error:
            log.warning("the token of the last login cannot be read again: %s", error)
            return
        if stored is not None and stored.access_token != self._token:
            log.info("going on with a newer token")
            self._take(stored.access_token)

    def _may_refresh(self, stored: StoredToken) -> bool:
        return (
            stored.refresh_token is not None
            and stored.refresh_token != self._refused_refresh
            and self._login.oidc_url is not None
            and self._clock.monotonic() >= self._refresh_after
        )

    def _refreshed(self) -> StoredToken | None:
        """A token from the provider, kept for all processes; None where there is none to be had now."""
        from prominence.client.auth import refresh

        with self._login.credentials.locked():
            stored = self._login.credentials.token()
            if stored is None or stored.access_token != self._token or stored.refresh_token is None:
                return stored  # another process was quicker
            try:
                return refresh(self._login, stored.refresh_token)
            except AuthenticationError as error:
                self._refused_refresh = stored.refresh_token
                log.warning("the token cannot be renewed: %s", error)
            except ProminenceError as error:
                self._refresh_after = self._clock.monotonic() + _REFRESH_AGAIN_S
                log.warning("the token cannot be renewed at the moment: %s", error)
            return None
