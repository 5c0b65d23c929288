"""An OpenID Connect provider: its endpoints, and what its answers mean."""

from __future__ import annotations

from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import requests
from requests.auth import HTTPBasicAuth

from prominence.client.urls import direct
from prominence.exceptions import AuthenticationError, ServiceUnavailable, WrongService
from prominence.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prominence.credentials import OidcClient

_TIMEOUT_S: Final = (10.0, 30.0)  # to connect, between bytes
_FIXED: Final = {
    "registration": "/register",
    "device_authorization": "/devicecode",
    "token": "/token",
}
_NOT_NOW: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT)
_SECRET: Final = ("device_code", "refresh_token")
_SHOWN: Final = 300


class Refusal(AuthenticationError):
    """The provider said no; ``reason`` is its word for why, such as ``access_denied``."""

    reason = ""


class Provider:
    """Nothing is asked twice: who logs in can try again, and a code is waited for with pauses anyway."""

    def __init__(self, url: str, ssl_verify: bool | str) -> None:
        self.url = url
        self._ssl_verify = ssl_verify

    def supported(self, what: str) -> list[str]:
        """What the provider says that it supports: ``scopes``, ``grant_types``; empty where it does not."""
        found = self._configuration.get(f"{what}_supported")
        return [str(each) for each in found] if isinstance(found, list) else []

    def ask(
        self, endpoint: str, content: Mapping[str, Any], client: OidcClient | None = None
    ) -> dict[str, Any]:
        """The JSON object that an endpoint answers to a form of the client, or to JSON of nobody.

        Raises Refusal where it says no, ServiceUnavailable where it says nothing of use.
        """
        url = self._endpoint(endpoint)
        if client is None:
            return self._exchange("POST", url, _nobody, json=content)
        # encoded as RFC 6749, section 2.3.1, has it
        auth = HTTPBasicAuth(quote(client.client_id, safe=""), quote(client.client_secret, safe=""))
        return self._exchange("POST", url, auth, data=content)

    def text(self, found: Mapping[str, Any], name: str) -> str:
        """A member that the answer must have; raises WrongService where it has not."""
        value = found.get(name)
        if not isinstance(value, str) or not value:
            raise WrongService(f"the answer of the identity provider {self.url} has no {name}")
        return value

    @cached_property
    def _configuration(self) -> dict[str, Any]:
        """What the provider tells of itself; empty for one that does not."""
        try:
            return self._exchange("GET", f"{self.url}/.well-known/openid-configuration", _nobody)
        except (Refusal, WrongService):
            return {}

    def _endpoint(self, name: str) -> str:
        found = self._configuration.get(f"{name}_endpoint")
        url = found if isinstance(found, str) else self.url + _FIXED[name]
        if urlsplit(self.url).scheme == "https" and urlsplit(url).scheme != "https":
            raise WrongService(
                f"the identity provider {self.url} would have secrets sent to {url}, unencrypted"
            )
        return url

    def _exchange(self, method: str, url: str, auth: Callable[..., Any], **content: Any) -> dict[str, Any]:
        form = content.get("data", {})
        try:
            response = requests.request(
                method,
                url,
                auth=auth,
                headers={"Accept": "application/json", "User-Agent": f"prominence-python/{__version__}"},
                timeout=_TIMEOUT_S,
                allow_redirects=method == "GET",  # what is posted is for nobody else
                verify=self._ssl_verify,
                **direct(url),
                **content,
            )
        except requests.RequestException as error:
            why = type(error).__name__  # its text has the whole URL
            raise ServiceUnavailable(
                f"the identity provider gives no answer ({why})", method=method, url=url
            ) from error
        return _checked(response, secrets=[form[each] for each in _SECRET if each in form])


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from looking into ``.netrc``."""
    return request


def _checked(response: requests.Response, secrets: list[str]) -> dict[str, Any]:
    found = _object(response)
    status = response.status_code
    about: dict[str, Any] = {"method": response.request.method, "url": response.url, "status": status}
    if response.ok and found is not None and not found.get("error"):
        return found
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _NOT_NOW:
        raise ServiceUnavailable(f"the identity provider answers with status {status}", **about)
    if found is None or not found.get("error"):
        raise WrongService(f"this is no answer of an OpenID Connect provider (status {status})", **about)
    parts = [str(found["error"]), str(found.get("error_description") or "")]
    text = ": ".join(filter(None, parts))
    for secret in secrets:
        text = text.replace(secret, "REDACTED")
    text = text[:_SHOWN]
    if parts[0] == "invalid_client":
        text += "; check PROMINENCE_OIDC_CLIENT_ID, or register again: prominence register"
    refusal = Refusal(f"the identity provider refuses: {text}", **about)
    refusal.reason = parts[0]
    raise refusal


def _object(response: requests.Response) -> dict[str, Any] | None:
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
