"""Which service requests go to, where it is now, and with which token."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Final, Protocol

from prominence.client.tokens import FixedToken, LoginToken
from prominence.sharing import SharedFiles

if TYPE_CHECKING:
    from prominence.client.tokens import TokenSource
    from prominence.clock import Clock
    from prominence.local.directory import Endpoint
    from prominence.settings import LocalSettings, Settings


_SURE_FOR_S: Final = 1.0


class Service(Protocol):
    """A service as the transport sees it; safe to use from several threads."""

    @property
    def url(self) -> str:
        """Base URL of the API, without a slash at its end."""

    @property
    def token(self) -> str: ...

    @property
    def is_embedded(self) -> bool:
        """True for the service that this library runs on this machine."""

    @property
    def files(self) -> SharedFiles | None:
        """The service's files, where this process has the same and the service is known to tell of them."""

    def look_again(self) -> None:
        """Nothing listens at ``url``: find out whether the service is elsewhere by now."""

    def renew_token(self, refused: str) -> bool:
        """This token was refused; True when there is another one now."""


class RemoteService:
    """A service at a fixed address."""

    is_embedded = False
    files = None

    def __init__(self, url: str, tokens: TokenSource) -> None:
        self.url = url
        self._tokens = tokens

    def __repr__(self) -> str:
        return f"RemoteService(url={self.url!r})"

    @property
    def token(self) -> str:
        return self._tokens.token

    def look_again(self) -> None:
        return

    def renew_token(self, refused: str) -> bool:
        return self._tokens.renew(refused)


class EmbeddedService:
    """The service on this machine, started when its address is first asked for."""

    is_embedded = True

    def __init__(
        self, settings: LocalSettings, clock: Clock, *, announce: bool, announce_once: bool = False
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._announce = announce
        self._announce_once = announce_once
        self._lock = threading.Lock()
        self._endpoint: Endpoint | None = None
        self._checked = 0.0
        self._told_of_version = False

    @property
    def url(self) -> str:
        return self._found().url

    @property
    def token(self) -> str:
        return self._found().token

    @property
    def files(self) -> SharedFiles | None:
        key = self._found().files_key
        return SharedFiles(self._settings.directory, key) if key else None

    def look_again(self) -> None:
        with self._lock:
            self._endpoint = None

    def renew_token(self, refused: str) -> bool:
        self.look_again()
        return self.token != refused

    def _found(self) -> Endpoint:
        """The service that runs now: another program may listen where one has ended."""
        from prominence.local import daemon

        with self._lock:
            now = self._clock.monotonic()
            if self._endpoint is None or now - self._checked > _SURE_FOR_S:
                endpoint = daemon.running(self._settings) or daemon.ensure(self._settings)
                daemon.check_runtime(endpoint, self._settings)
                self._tell_of_version(daemon.version_notice(endpoint))
                self._endpoint = endpoint
                self._checked = now
            if self._announce and sys.stderr is not None:
                self._announce = False
                if self._is_news(self._endpoint):
                    sys.stderr.write(_announcement(self._endpoint, self._settings))
            return self._endpoint

    def _is_news(self, endpoint: Endpoint) -> bool:
        if not self._announce_once:
            return True
        from prominence.local import announced

        return announced.is_news(self._settings.directory, endpoint.pid)

    def _tell_of_version(self, notice: str | None) -> None:
        if notice is not None and not self._told_of_version and sys.stderr is not None:
            self._told_of_version = True
            sys.stderr.write(f"prominence: {notice}\n")


def _announcement(endpoint: Endpoint, settings: LocalSettings) -> str:
    text = (
        f"prominence: using the local service on this machine ({endpoint.cpus} cpus, "
        f"{endpoint.memory:g} GB); commands run {_how(endpoint.runtime)}; it ends after 10 idle minutes\n"
    )
    wanted = (settings.cpus or endpoint.cpus, settings.memory or endpoint.memory)
    if wanted != (endpoint.cpus, endpoint.memory):
        text += (
            f"prominence: it runs already, so {wanted[0]} cpus and {wanted[1]:g} GB as set now count "
            "from its next start (`prominence local stop`)\n"
        )
    return text


def _how(runtime: str) -> str:
    if runtime == "host":
        return "directly, without containers: they can read and write all that you can"
    if runtime == "auto":
        return "in containers if a program for that is installed"
    return f"in containers ({runtime})"


def service_for(settings: Settings, clock: Clock) -> Service:
    if settings.url is None or settings.token is None:
        return EmbeddedService(
            settings.local, clock, announce=settings.announce, announce_once=settings.announce_once
        )
    if settings.token_is_stored and settings.login is not None:
        return RemoteService(settings.url, LoginToken(settings.token, settings.login, clock))
    return RemoteService(settings.url, FixedToken(settings.token))
