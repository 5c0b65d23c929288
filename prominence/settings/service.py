"""Which service is used and how, who logs in where, and which plugins are left out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prominence.credentials import Credentials, OidcClient, checked_token
from prominence.exceptions import ConfigurationError
from prominence.settings.environment import FALSE, USER_IN_URL, home_directory, positive
from prominence.settings.local import LocalSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL: Final = "local"


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """Plugins that are not to be used, by name (``*`` for all), and whether calls of hooks are told."""

    disabled: frozenset[str] = frozenset()
    trace: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> PluginSettings:
        environ = os.environ if environ is None else environ
        names = environ.get("PROMINENCE_DISABLE_PLUGINS", "").split(",")
        trace = environ.get("PROMINENCE_TRACE_PLUGINS", "").lower()
        return cls(
            disabled=frozenset(name.strip() for name in names if name.strip()),
            trace=trace not in FALSE | {""},
        )


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """Where to log in, as which client, and where what comes of it is kept.

    ``oidc_url`` is the identity provider's address; ``client`` is set where the environment names one, which
    then takes the place of the registered one. ``is_overruled`` tells that the environment has a token, which
    wins over any that is kept.
    """

    credentials: Credentials
    oidc_url: str | None = None
    client: OidcClient | None = None
    ssl_verify: bool | str = True
    is_overruled: bool = False

    @classmethod
    def from_environment(
        cls, *, environ: Mapping[str, str] | None = None, home: Path | None = None
    ) -> LoginSettings:
        """Settings in force; unlike :class:`Settings` they need neither a service nor a token."""
        environ = os.environ if environ is None else environ
        home = home_directory() if home is None else home
        return cls(
            credentials=Credentials(home / ".prominence"),
            oidc_url=_oidc_url(environ),
            client=_oidc_client(environ),
            ssl_verify=_ssl_verify(environ.get("PROMINENCE_SSL_VERIFY", "")),
            is_overruled=bool(environ.get("PROMINENCE_TOKEN")),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """Which service is used, and how.

    ``url`` is None for the embedded service; ``announce`` tells whether a line on standard error says so,
    each time or, with ``announce_once``, once per terminal.
    ``token_is_stored`` tells that the token is that of the last login, and may be replaced by a newer one.
    ``settle_window`` (``PROMINENCE_SETTLE_WINDOW``) is how long, in seconds, a submission whose answer was
    lost may take to arrive; None means 120, and 5 for the embedded service.
    """

    url: str | None
    token: str | None = field(repr=False)
    local: LocalSettings
    login: LoginSettings | None = None
    token_is_stored: bool = False
    ssl_verify: bool | str = True
    announce: bool = False
    announce_once: bool = False
    settle_window: float | None = None

    @classmethod
    def from_environment(
        cls,
        url: str | None = None,
        token: str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        home: Path | None = None,
    ) -> Settings:
        """Settings in force; raises ConfigurationError where something is missing or contradicts."""
        environ = os.environ if environ is None else environ
        home = home_directory() if home is None else home
        url = (url or environ.get("PROMINENCE_URL") or "").rstrip("/") or None
        found = checked_token(token or environ.get("PROMINENCE_TOKEN") or "") or None
        login = LoginSettings.from_environment(environ=environ, home=home)
        by_name, is_stored = url == LOCAL, False
        if by_name:
            url = None
        elif url is not None and found is None:
            stored = login.credentials.token()
            found, is_stored = (stored.access_token, True) if stored else (None, False)
        _check_pair(url, found, by_name=by_name, environ=environ)
        return cls(
            url=url,
            token=None if url is None else found,
            local=LocalSettings.from_environment(environ, home),
            login=login,
            token_is_stored=is_stored,
            ssl_verify=login.ssl_verify,
            announce=url is None and not by_name,
            settle_window=positive("PROMINENCE_SETTLE_WINDOW", environ),
        )


def _check_pair(url: str | None, token: str | None, *, by_name: bool, environ: Mapping[str, str]) -> None:
    if url is not None and USER_IN_URL.search(url):
        raise ConfigurationError(
            "PROMINENCE_URL has a user name or password in it: leave it out, and set PROMINENCE_TOKEN"
        )
    if url is not None and not url.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"PROMINENCE_URL is {url!r}: it must be `local`, or begin with http:// or https:// "
            "(such as https://host.example/prominence/v1)"
        )
    if url is not None and token is None:
        raise ConfigurationError(
            f"PROMINENCE_URL is {url}, but there is no token: set PROMINENCE_TOKEN or log in "
            "(prominence.login()), or unset PROMINENCE_URL to use the service on this machine"
        )
    if url is None and token is not None and not by_name:
        raise ConfigurationError(
            "PROMINENCE_TOKEN is set, but PROMINENCE_URL is not: set it to the service's address, "
            "or unset PROMINENCE_TOKEN to use the service on this machine"
        )
    if url is None and "PROMINENCE_JOB_ID" in environ:
        raise ConfigurationError(
            "this is a PROMINENCE job without PROMINENCE_URL: no service is started inside of jobs"
        )


def _oidc_url(environ: Mapping[str, str]) -> str | None:
    given = environ.get("PROMINENCE_OIDC_URL", "").rstrip("/")
    if given and not given.startswith(("http://", "https://")):
        raise ConfigurationError(f"PROMINENCE_OIDC_URL is {given!r}: it must begin with http:// or https://")
    return given or None


def _oidc_client(environ: Mapping[str, str]) -> OidcClient | None:
    names = ("PROMINENCE_OIDC_CLIENT_ID", "PROMINENCE_OIDC_CLIENT_SECRET")
    client_id, secret = (environ.get(name, "") for name in names)
    if bool(client_id) != bool(secret):
        has, lacks = names if client_id else names[::-1]
        raise ConfigurationError(f"{has} is set, but {lacks} is not: set both, or none")
    return OidcClient(client_id, secret) if client_id else None


def _ssl_verify(text: str) -> bool | str:
    """True, False (``PROMINENCE_SSL_VERIFY=False``), or the path of a file of CA certificates."""
    if not text or text.lower() == "true":
        return True
    if text.lower() in FALSE:
        return False
    if not Path(text).exists():
        raise ConfigurationError(f"PROMINENCE_SSL_VERIFY is {text!r}: neither False nor an existing file")
    return text
