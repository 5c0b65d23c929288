"""Logging in at an OpenID Connect provider by the device code flow (RFC 8628): no browser is needed here.

::

    login --> register, once (RFC 7591) --> ~/.prominence/client
          --> ask for a code, show it and where to enter it
          --> ask for the token until the user has approved --> ~/.prominence/token
    refresh --> another token for a refresh token (RFC 6749, section 6) --> ~/.prominence/token

Endpoints are those of the provider's ``/.well-known/openid-configuration``; where it has none, or does not
name one, they are ``/register``, ``/devicecode`` and ``/token``.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from prominence.clock import MACHINE_CLOCK
from prominence.credentials import OidcClient, StoredToken, checked_token
from prominence.exceptions import AuthenticationError, ConfigurationError, ServiceUnavailable
from prominence.logs import logger
from prominence.settings import LoginSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from prominence.client.provider import Provider
    from prominence.clock import Clock

log = logger(__name__)

_DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_REFRESH_GRANT: Final = "refresh_token"
_SCOPES: Final = "openid profile email"
_LONG_SCOPE: Final = "offline_access"  # with it, providers give a refresh token
_INTERVAL_S: Final = 5.0  # where the provider does not say (RFC 8628, section 3.2)
_SLOWER_S: Final = 5.0  # what `slow_down` adds (section 3.5)
_LONGEST_PAUSE_S: Final = 60.0
_VALID_S: Final = 600.0


def login(
    settings: LoginSettings | None = None,
    *,
    show: Callable[[str], object] = print,
    clock: Clock | None = None,
) -> None:
    """Log in: show a code and where to enter it, wait for the approval, and keep the token.

    The token is kept in ``~/.prominence/token``, for all programs of the user, also those that run already.
    ``show`` is given the text for the user. Raises ConfigurationError where ``PROMINENCE_OIDC_URL`` is not
    set, AuthenticationError where the provider or the user refuses or the code expires, ServiceUnavailable
    where the provider gives no usable answer.
    """
    settings = settings or LoginSettings.from_environment()
    settings.credentials.keep_token(obtain_token(settings, show=show, clock=clock))
    if settings.is_overruled:
        show("PROMINENCE_TOKEN is set, and wins over this login: unset it to use the new token.")


def register(settings: LoginSettings | None = None) -> OidcClient:
    """Make a client at the provider and keep it in ``~/.prominence/client``, in place of an earlier one.

    :func:`login` does so where there is none. Raises as :func:`login`.
    """
    settings = settings or LoginSettings.from_environment()
    return _register(_provider(settings), settings)


def obtain_token(
    settings: LoginSettings, *, show: Callable[[str], object] = print, clock: Clock | None = None
) -> StoredToken:
    """The token of a login that nobody else is to know of; raises as :func:`login`."""
    clock = clock or MACHINE_CLOCK
    provider = _provider(settings)
    client = settings.client or settings.credentials.client(provider.url) or _register(provider, settings)
    granted = _granted(provider, client)
    valid_s = _seconds(granted.get("expires_in"), _VALID_S)
    show(_instructions(provider, granted, valid_s))
    poll = {"grant_type": _DEVICE_GRANT, "device_code": provider.text(granted, "device_code")}
    return _token(
        provider,
        _when_approved(
            lambda: provider.ask("token", poll, client),
            interval_s=_seconds(granted.get("interval"), _INTERVAL_S),
            end=clock.monotonic() + valid_s,
            clock=clock,
        ),
    )


def refresh(settings: LoginSettings, refresh_token: str) -> StoredToken:
    """Another token, kept like that of a login where that is possible.

    Raises AuthenticationError where only a new login helps, ServiceUnavailable where a later try may.
    """
    provider = _provider(settings)
    client = settings.client or settings.credentials.client(provider.url)
    if client is None:
        raise AuthenticationError(f"there is no client for {provider.url} any more: log in again")
    form = {"grant_type": _REFRESH_GRANT, "refresh_token": refresh_token}
    found = _token(provider, provider.ask("token", form, client), refresh_token)
    try:
        settings.credentials.keep_token(found)
    except ConfigurationError as error:  # the token is good, and the one before may not be any more
        log.warning("the renewed token is lost when this program ends: %s", error)
    return found


def _provider(settings: LoginSettings) -> Provider:
    from prominence.client.provider import Provider

    if settings.oidc_url is None:
        raise ConfigurationError(
            "PROMINENCE_OIDC_URL is not set: set it to the address of the service's identity provider"
        )
    return Provider(settings.oidc_url, settings.ssl_verify)


def _register(provider: Provider, settings: LoginSettings) -> OidcClient:
    grants = [_DEVICE_GRANT]
    if _REFRESH_GRANT in provider.supported("grant_types"):
        grants.append(_REFRESH_GRANT)
    wanted = {
        "client_name": f"prominence-{secrets.token_hex(8)}",
        "redirect_uris": [f"{provider.url}/redirect_url"],  # never used, but some providers want one
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": _scopes(provider),
        "grant_types": grants,
        "response_types": ["code"],  # what the service's own client says, and its provider takes
    }
    found = provider.ask("registration", wanted)
    client = OidcClient(provider.text(found, "client_id"), provider.text(found, "client_secret"))
    settings.credentials.keep_client(client, provider.url)
    return client


def _granted(provider: Provider, client: OidcClient) -> dict[str, Any]:
    """A code for the user; without a refresh token to come where the client was registered for none."""
    from prominence.client.provider import Refusal

    form = {"client_id": client.client_id, "scope": _scopes(provider)}
    try:
        return provider.ask("device_authorization", form, client)
    except Refusal as refusal:
        if refusal.reason != "invalid_scope" or form["scope"] == _SCOPES:
            raise
    return provider.ask("device_authorization", {**form, "scope": _SCOPES}, client)


def _scopes(provider: Provider) -> str:
    return f"{_SCOPES} {_LONG_SCOPE}" if _LONG_SCOPE in provider.supported("scopes") else _SCOPES


def _instructions(provider: Provider, granted: dict[str, Any], valid_s: float) -> str:
    text = (
        f"To log in, open {provider.text(granted, 'verification_uri')} in a browser, on any machine, and "
        f"enter the code {provider.text(granted, 'user_code')} (valid for {valid_s / 60:.0f} minutes)."
    )
    complete = granted.get("verification_uri_complete")
    return f"{text}\nThe code is already in this address: {complete}" if complete else text


def _when_approved(
    ask: Callable[[], dict[str, Any]], *, interval_s: float, end: float, clock: Clock
) -> dict[str, Any]:
    """The answer with the token, once the user has approved; asks as often as the provider allows."""
    from prominence.client.provider import Refusal

    pause = interval_s
    while (left := end - clock.monotonic()) > 0:
        clock.sleep(min(pause, left))
        try:
            return ask()
        except ServiceUnavailable as error:
            pause = min(2 * pause, max(interval_s, _LONGEST_PAUSE_S))
            log.warning("the identity provider does not answer, next try in %.0f s: %s", pause, error)
        except Refusal as refusal:
            if refusal.reason not in {"authorization_pending", "slow_down"}:
                raise
            interval_s += _SLOWER_S if refusal.reason == "slow_down" else 0.0
            pause = interval_s
    raise AuthenticationError("nobody approved the login before its code expired: log in again")


def _token(provider: Provider, found: dict[str, Any], refresh_token: str | None = None) -> StoredToken:
    renewed = found.get("refresh_token")
    token = checked_token(provider.text(found, "access_token"))
    return StoredToken(token, str(renewed) if renewed else refresh_token)


def _seconds(given: object, default: float) -> float:
    is_amount = isinstance(given, int | float) and not isinstance(given, bool) and given > 0
    return float(given) if is_amount else default  # type: ignore[arg-type]  # it is a number then
