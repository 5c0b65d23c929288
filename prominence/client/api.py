"""The client: one method per call of the REST API, in groups by what they are about."""

from __future__ import annotations

import secrets
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from prominence.client.job_calls import JobCalls
from prominence.client.store_calls import StoreCalls
from prominence.client.workflow_calls import WorkflowCalls
from prominence.clock import MACHINE_CLOCK
from prominence.exceptions import ConfigurationError
from prominence.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from prominence.client.transport import Transport
    from prominence.client.trouble import Trouble
    from prominence.clock import Clock


def _random_tag() -> str:
    return secrets.token_hex(16)


class ProminenceClient(JobCalls, WorkflowCalls, StoreCalls):
    """The service, call by call; safe to use from several threads, and a context manager.

    Without arguments the settings come from the environment; without any, the service on this machine is
    used, and started at the first call. Every method raises ServiceError where the service says no,
    ServiceUnavailable where no usable answer comes within 60 seconds. ``new_tag`` makes the text that names
    a submission, 1 to 512 hexadecimal digits that no other submission has; by default it is random.
    """

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """One for scripts of the public client 0.21, where it is called as that one was."""
        if options.keys() & {"authenticated", "timeout"} or isinstance(next(iter(arguments), None), bool):
            from prominence._compat.client import PublicClient

            return PublicClient(*arguments, **options)  # type: ignore[return-value]
        return super().__new__(cls)

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        new_tag: Callable[[], str] = _random_tag,
    ) -> None:
        from prominence.client.service import service_for
        from prominence.client.transport import Transport

        self.settings = settings or Settings.from_environment(url, token)
        self.clock = clock or MACHINE_CLOCK
        self.new_tag = new_tag
        self._transport: Transport = Transport(
            service_for(self.settings, self.clock),
            self.settings.ssl_verify,
            self.clock,
            random,
            settle_s=self.settings.settle_window,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections; the client may be used again."""
        self._transport.close()

    @property
    def url(self) -> str:
        """The service's base URL; starts the embedded service if that is the one."""
        return self._transport.service.url

    def login(self, *, show: Callable[[str], object] = print) -> None:
        """Log in as :func:`prominence.login` does, and go on with that token, whatever was used before."""
        from prominence.client.auth import obtain_token
        from prominence.client.service import service_for

        where = self.settings.login
        if self.settings.url is None or where is None:
            raise ConfigurationError("the service on this machine needs no login: set PROMINENCE_URL")
        token = obtain_token(where, show=show, clock=self.clock)
        where.credentials.keep_token(token)
        self.settings = replace(self.settings, token=token.access_token, token_is_stored=True)
        self._transport.service = service_for(self.settings, self.clock)

    @property
    def is_on_loopback(self) -> bool:
        """True when the service listens on this machine, or at the near end of a tunnel."""
        from prominence.client.urls import is_loopback

        return self._transport.service.is_embedded or is_loopback(self.url)

    @property
    def shares_files(self) -> bool:
        """True where uploads and outputs move as files, for the service is this user's own on this machine.

        Starts the embedded service if that is the one.
        """
        return self._transport.service.files is not None

    @property
    def is_own_service(self) -> bool:
        """True when the service is that of this library, which may have to be asked.

        Only that one names features, and it is only reached on this machine or through a tunnel.
        """
        if self._transport.service.is_embedded:
            return True
        if not self.features and self.is_on_loopback:
            self.resources()
        return bool(self.features)

    @property
    def settle_window(self) -> float:
        """Seconds in which a submission whose answer was lost may still arrive."""
        return self._transport.settle_s

    @property
    def recognises_submissions(self) -> bool:
        """True when a repeated submission is answered with the first one's id, by a service of this library.

        Such a service may have to be asked.
        """
        from prominence.client.submitting import IDEMPOTENT

        if not self._transport.has_answered and self.is_on_loopback:
            self.resources()
        return IDEMPOTENT in self.features

    @property
    def trouble(self) -> Trouble:
        """Through which trouble with the service is told."""
        return self._transport.trouble

    @property
    def features(self) -> frozenset[str]:
        """What the service said it has beyond the API; empty before its first answer."""
        return self._transport.features

    def is_healthy(self) -> bool:
        """True when all parts of the service are well; needs no token."""
        from prominence.exceptions import ServiceError

        try:
            self._get("/health", expect_json=False)
        except ServiceError as error:
            if error.status == HTTPStatus.CONFLICT:
                return False
            raise
        return True

    def resources(self) -> dict[str, Any]:
        """Capacity and what is free of it: cores and memory in GB, site by site."""
        answer = self._get("/resources")
        return {"existing": answer.member("existing", list)}

    def usage(
        self, start: str, end: str, *, by_group: bool = False, all_users: bool = False
    ) -> dict[str, Any]:
        """Number of jobs, CPU and wall time in hours, by user or group; dates are YYYY-MM-DD."""
        query = {"start": start, "end": end}
        query |= {"by_group": "true"} if by_group else {}
        query |= {"show_all_users": "true"} if all_users else {}
        return self._get("/accounting", query).member("usage", dict)
