"""Logging in with the public client's functions: ``prominence.auth`` and ``authenticate_user``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_service import FakeService, says

from prominence import ProminenceClient, auth  # type: ignore[attr-defined]
from prominence.credentials import Credentials, OidcClient, StoredToken
from prominence.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = StoredToken("the-token")


@pytest.fixture
def credentials() -> Credentials:
    return Credentials(Path.home() / ".prominence")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    """A provider where every login is approved at once."""
    granted = {
        "device_code": "a-device-code",
        "user_code": "WDJB-MJHT",
        "verification_uri": "https://login.example/device",
        "expires_in": 600,
        "interval": 0.001,
    }
    with FakeService() as provider:
        monkeypatch.setenv("PROMINENCE_OIDC_URL", provider.address)
        provider.script("POST", "/register", says({"client_id": "new", "client_secret": "secret"}, 201))
        provider.script("POST", "/devicecode", says(granted))
        provider.script("POST", "/token", says({"access_token": TOKEN.access_token}))
        yield provider


def test_a_login_registers_if_need_be_shows_the_code_and_keeps_the_token(
    provider: FakeService, credentials: Credentials, capsys: pytest.CaptureFixture[str]
) -> None:
    assert auth.authenticate_user() is True
    assert credentials.token() == TOKEN
    assert credentials.client(provider.address) == OidcClient("new", "secret")
    assert "WDJB-MJHT" in capsys.readouterr().out


def test_a_login_may_give_the_token_to_the_script_alone(
    provider: FakeService, credentials: Credentials
) -> None:
    del provider
    assert auth.authenticate_user(token_in_file=False) == TOKEN.access_token
    assert credentials.token() is None


def test_a_login_may_be_kept_from_registering(provider: FakeService) -> None:
    with pytest.raises(ConfigurationError, match="register"):
        auth.authenticate_user(create_client_if_needed=False)
    assert not provider.received


def test_a_client_is_registered_once(provider: FakeService) -> None:
    assert auth.register_client() is True
    assert auth.register_client() is True
    assert provider.sent.count(("POST", "/register")) == 1
    assert auth.get_client() == ("new", "secret")


def test_a_client_from_the_environment_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="no client"):
        auth.get_client()
    monkeypatch.setenv("PROMINENCE_OIDC_CLIENT_ID", "me")
    monkeypatch.setenv("PROMINENCE_OIDC_CLIENT_SECRET", "secret")
    assert auth.get_client() == ("me", "secret")


def test_the_token_is_that_of_the_environment_or_of_the_login(
    credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="no token"):
        auth.get_token()
    monkeypatch.setenv("PROMINENCE_URL", "https://host.example/prominence/v1")
    credentials.keep_token(TOKEN)
    assert auth.get_token() == TOKEN.access_token
    monkeypatch.setenv("PROMINENCE_TOKEN", "another")
    assert auth.get_token() == "another"


def test_the_expiry_of_a_token_that_does_not_tell_is_0() -> None:
    assert auth.get_expiry("opaque") == 0
    assert auth.get_expiry("e30.eyJleHAiOiAxNzAwMDAwMDAwfQ.x") == 1_700_000_000


def test_a_client_goes_on_with_the_token_of_its_login_and_keeps_it_to_itself(
    provider: FakeService, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    del provider
    with FakeService() as service:
        service.script("GET", "/jobs", says([]))
        monkeypatch.setenv("PROMINENCE_URL", service.url)
        client: Any = ProminenceClient(authenticated=False)  # type: ignore[call-arg]
        client.authenticate_user()
        assert client.list_jobs() == []
        client.close()
        assert service.received[-1].headers["Authorization"] == f"Bearer {TOKEN.access_token}"
    assert credentials.token() is None
