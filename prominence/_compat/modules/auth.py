"""The public client's functions about logging in."""

from __future__ import annotations

from prominence.client.auth import obtain_token, register
from prominence.credentials import expiry_of
from prominence.exceptions import ConfigurationError
from prominence.settings import LoginSettings, Settings


def register_client() -> bool:
    """True once there is a client; raises as :func:`prominence.register`."""
    if not _has_client(LoginSettings.from_environment()):
        register()
    return True


def authenticate_user(create_client_if_needed: bool = True, token_in_file: bool = True) -> str | bool:
    """Log in; True once the token is kept, or the token itself with ``token_in_file=False``.

    Raises ConfigurationError without a client that may be used, else as :func:`prominence.login`.
    """
    settings = LoginSettings.from_environment()
    if not create_client_if_needed and not _has_client(settings):
        raise ConfigurationError("there is no client of the identity provider: register one")
    token = obtain_token(settings)
    if not token_in_file:
        return token.access_token
    settings.credentials.keep_token(token)
    return True


def get_client() -> tuple[str, str]:
    """Id and secret of the client at the identity provider; raises ConfigurationError without one."""
    settings = LoginSettings.from_environment()
    found = settings.client or settings.credentials.client(settings.oidc_url or "")
    if found is None:
        raise ConfigurationError("there is no client of the identity provider: register one")
    return found.client_id, found.client_secret


def get_token() -> str:
    """The token of the environment or of the last login; raises ConfigurationError without one."""
    token = Settings.from_environment().token
    if token is None:
        raise ConfigurationError("there is no token: set PROMINENCE_TOKEN or log in")
    return token


def get_expiry(token: str) -> float:
    """When the token says that it expires (Unix epoch); 0 where it does not say."""
    return expiry_of(token) or 0


def _has_client(settings: LoginSettings) -> bool:
    return bool(settings.client or settings.credentials.client(settings.oidc_url or ""))
