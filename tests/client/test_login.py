"""Logging in by the device code flow: at a real identity provider, and at one that does what few do."""

from __future__ import annotations

import base64
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import pytest
import requests
from support.fake_service import RESET, FakeService, Received, Reply, page, redirects, refuses, says
from support.identity_provider import IdentityProvider
from support.programs import started

from prominence import ProminenceClient, login, register
from prominence.cli import main
from prominence.client.auth import refresh
from prominence.client.provider import Provider
from prominence.clock import Clock
from prominence.credentials import Credentials, OidcClient, StoredToken, expiry_of
from prominence.exceptions import (
    AuthenticationError,
    ConfigurationError,
    ProminenceError,
    ServiceUnavailable,
    WrongService,
)
from prominence.settings import LoginSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.clock import VirtualClock
    from support.service import LocalService

SECRET = "client-secret-that-nobody-may-see"
CODE = "device-code-that-nobody-may-see"
GRANTED = {
    "device_code": CODE,
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://login.example/device",
    "expires_in": 600,
    "interval": 7,
}
PENDING = refuses("authorization_pending")
SLOW_DOWN = refuses("slow_down")
TOKEN = says({"access_token": "the-token", "token_type": "Bearer"})


class Screen:
    """What a login shows, and what the user does on seeing it."""

    def __init__(self, then: Callable[[str], None] = lambda _: None) -> None:
        self.text = ""
        self._then = then

    def show(self, text: str) -> None:
        self.text += text
        self._then(text)


@pytest.fixture
def credentials() -> Credentials:
    return Credentials(Path.home() / ".prominence")


# ---- at a real identity provider


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with IdentityProvider(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture
def ada(running: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> IdentityProvider:
    monkeypatch.setenv("PROMINENCE_OIDC_URL", running.url)
    return running


def test_a_login_registers_a_client_and_keeps_the_token_of_the_user(
    ada: IdentityProvider, credentials: Credentials, clock: VirtualClock
) -> None:
    screen = Screen(ada.approve)
    login(show=screen.show, clock=clock)

    token = credentials.token()
    assert token is not None
    assert ada.user_of(token.access_token)["sub"] == "ada"
    assert expiry_of(token.access_token) is not None
    assert credentials.client(ada.url) is not None
    assert f"{ada.url}/device" in screen.text
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in credentials.directory.iterdir()}
    assert files == {"token": 0o600, "client": 0o600}
    assert stat.S_IMODE(credentials.directory.stat().st_mode) == 0o700


def test_a_login_waits_until_the_user_has_approved(
    ada: IdentityProvider, credentials: Credentials, clock: VirtualClock
) -> None:
    screen = Screen()

    def approve_at_the_third_look() -> None:
        if len(clock.sleeps) == 3:
            ada.approve(screen.text)

    clock.on_sleep = approve_at_the_third_look
    login(show=screen.show, clock=clock)
    assert credentials.token() is not None
    assert clock.sleeps == [1.0, 1.0, 1.0]


def test_a_login_that_the_user_denies_is_an_error_and_keeps_no_token(
    ada: IdentityProvider, credentials: Credentials, clock: VirtualClock
) -> None:
    with pytest.raises(AuthenticationError, match="access_denied"):
        login(show=Screen(ada.deny).show, clock=clock)
    assert credentials.token() is None


def test_a_code_that_expires_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "provider").mkdir()
    with IdentityProvider(tmp_path / "provider", code_valid_s=1) as provider:
        monkeypatch.setenv("PROMINENCE_OIDC_URL", provider.url)
        with pytest.raises(AuthenticationError, match="expired"):
            login(show=Screen().show, clock=Clock())


def test_a_second_login_uses_the_same_client(
    ada: IdentityProvider, credentials: Credentials, clock: VirtualClock
) -> None:
    made = register()
    login(show=Screen(ada.approve).show, clock=clock)
    assert credentials.client(ada.url) == made


def test_to_register_again_replaces_the_client(ada: IdentityProvider, credentials: Credentials) -> None:
    first, second = register(), register()
    assert first.client_id != second.client_id
    assert credentials.client(ada.url) == second


def test_a_client_from_the_environment_takes_the_place_of_the_file(
    ada: IdentityProvider, credentials: Credentials, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = register()
    (credentials.directory / "client").unlink()
    monkeypatch.setenv("PROMINENCE_OIDC_CLIENT_ID", made.client_id)
    monkeypatch.setenv("PROMINENCE_OIDC_CLIENT_SECRET", made.client_secret)
    login(show=Screen(ada.approve).show, clock=clock)
    assert credentials.token() is not None
    assert credentials.client(ada.url) is None


def test_a_client_that_the_provider_does_not_know_is_an_error_that_says_how_to_get_another(
    ada: IdentityProvider, credentials: Credentials, clock: VirtualClock
) -> None:
    credentials.keep_client(OidcClient("nobody", SECRET), ada.url)
    with pytest.raises(AuthenticationError, match=r"invalid_client.*prominence register") as caught:
        login(show=Screen().show, clock=clock)
    assert SECRET not in str(caught.value)


def test_a_client_that_the_public_client_registered_can_log_in(
    ada: IdentityProvider, credentials: Credentials, clock: VirtualClock
) -> None:
    wanted = {
        "redirect_uris": ["https://host.example/prominence/v1/redirect_url"],
        "client_name": "prominence-user-1",
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": "openid profile email",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"],
        "response_types": ["code"],
    }
    answer = requests.post(f"{ada.url}/register", json=wanted, timeout=30)
    credentials.directory.mkdir()
    (credentials.directory / "client").write_text(answer.text)
    login(show=Screen(ada.approve).show, clock=clock)
    token = credentials.token()
    assert token is not None
    assert ada.user_of(token.access_token)["sub"] == "ada"


def test_a_refresh_token_brings_another_token_and_is_good_once(
    ada: IdentityProvider, credentials: Credentials, clock: VirtualClock
) -> None:
    login(show=Screen(ada.approve).show, clock=clock)
    first = credentials.token()
    assert first is not None
    assert first.refresh_token is not None

    second = refresh(LoginSettings.from_environment(), first.refresh_token)
    assert credentials.token() == second
    assert second.access_token != first.access_token
    assert second.refresh_token not in {None, first.refresh_token}
    assert ada.user_of(second.access_token)["sub"] == "ada"
    with pytest.raises(AuthenticationError, match="invalid_grant") as caught:
        refresh(LoginSettings.from_environment(), first.refresh_token)
    assert first.refresh_token not in str(caught.value)


def test_a_client_goes_on_with_the_token_of_its_login(
    ada: IdentityProvider,
    fake: FakeService,
    credentials: Credentials,
    clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROMINENCE_URL", fake.url)
    monkeypatch.setenv("PROMINENCE_TOKEN", "an-old-token")
    fake.script("GET", "/jobs", says([]))
    with ProminenceClient(clock=clock) as client:
        client.login(show=Screen(ada.approve).show)
        client.list_jobs()
    token = credentials.token()
    assert token is not None
    assert fake.received[-1].headers["Authorization"] == f"Bearer {token.access_token}"


def test_the_command_logs_in_from_a_terminal(ada: IdentityProvider, credentials: Credentials) -> None:
    words = [sys.executable, "-u", "-m", "prominence", "login"]
    with started(words, stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        ada.approve(command.stdout.readline())
        assert command.stdout.read().endswith("Logged in.\n")
        assert command.wait() == 0
    token = credentials.token()
    assert token is not None
    assert ada.user_of(token.access_token)["sub"] == "ada"


def test_the_command_registers_a_client(
    ada: IdentityProvider, credentials: Credentials, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["register"])
    client = credentials.client(ada.url)
    assert client is not None
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert client.client_id in shown
    assert client.client_secret not in shown


# ---- at one that a test scripts


@pytest.fixture
def provider(credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    """A provider without a configuration of its own, where this program is registered."""
    with FakeService() as provider:
        monkeypatch.setenv("PROMINENCE_OIDC_URL", provider.address)
        credentials.keep_client(OidcClient("me", SECRET), provider.address)
        provider.script("POST", "/devicecode", says(GRANTED))
        yield provider


def sent_to(provider: FakeService, path: str) -> list[Received]:
    return [each for each in provider.received if each.path == path]


def log_in(clock: VirtualClock) -> str:
    """What is shown."""
    screen = Screen()
    login(show=screen.show, clock=clock)
    return screen.text


def test_without_a_configuration_the_fixed_paths_are_used(
    provider: FakeService, credentials: Credentials, clock: VirtualClock
) -> None:
    provider.script("POST", "/token", TOKEN)
    shown = log_in(clock)
    assert credentials.token() == StoredToken("the-token")
    assert "https://login.example/device" in shown
    assert "WDJB-MJHT" in shown
    assert "10 minutes" in shown

    (asked,) = sent_to(provider, "/devicecode")
    assert asked.body == b"client_id=me&scope=openid+profile+email"
    (polled,) = sent_to(provider, "/token")
    assert (
        polled.body
        == f"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code={CODE}".encode()
    )
    for each in (asked, polled):
        assert base64.b64decode(each.headers["Authorization"].split()[1]) == f"me:{SECRET}".encode()


def test_the_endpoints_of_the_configuration_are_used(
    provider: FakeService, credentials: Credentials, clock: VirtualClock
) -> None:
    provider.script(
        "GET",
        "/.well-known/openid-configuration",
        says(
            {
                "device_authorization_endpoint": f"{provider.address}/codes",
                "token_endpoint": f"{provider.address}/tokens",
                "scopes_supported": ["openid", "offline_access"],
            }
        ),
    )
    provider.script("POST", "/codes", says(GRANTED))
    provider.script("POST", "/tokens", TOKEN)
    log_in(clock)
    assert credentials.token() == StoredToken("the-token")
    assert sent_to(provider, "/codes")[0].body.endswith(b"scope=openid+profile+email+offline_access")


def test_a_client_that_may_not_ask_for_a_refresh_token_does_without(
    provider: FakeService, credentials: Credentials, clock: VirtualClock
) -> None:
    configuration = {"scopes_supported": ["openid", "offline_access"]}
    provider.script("GET", "/.well-known/openid-configuration", says(configuration))
    provider.script("POST", "/devicecode", refuses("invalid_scope"), says(GRANTED))
    provider.script("POST", "/token", TOKEN)
    log_in(clock)
    assert credentials.token() == StoredToken("the-token")
    wanted = [dict(parse_qsl(each.body.decode()))["scope"] for each in sent_to(provider, "/devicecode")]
    assert wanted == ["openid profile email offline_access", "openid profile email"]


@pytest.mark.parametrize("answer", [page(404), page(200), says([]), redirects("/elsewhere")])
def test_a_configuration_that_is_none_counts_for_none(
    answer: Reply, provider: FakeService, credentials: Credentials, clock: VirtualClock
) -> None:
    provider.script("GET", "/.well-known/openid-configuration", answer)
    provider.script("POST", "/token", TOKEN)
    log_in(clock)
    assert credentials.token() == StoredToken("the-token")


def test_a_client_is_registered_as_the_service_wants_it(
    provider: FakeService, credentials: Credentials
) -> None:
    provider.script("POST", "/register", says({"client_id": "new", "client_secret": SECRET}, 201))
    assert register() == OidcClient("new", SECRET)
    assert credentials.client(provider.address) == OidcClient("new", SECRET)

    (asked,) = sent_to(provider, "/register")
    assert "Authorization" not in asked.headers
    wanted = asked.json()
    assert wanted.pop("client_name").startswith("prominence-")
    assert wanted == {
        "redirect_uris": [f"{provider.address}/redirect_url"],
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": "openid profile email",
        "grant_types": ["urn:ietf:params:oauth:grant-type:device_code"],
        "response_types": ["code"],
    }


def test_the_address_with_the_code_in_it_is_shown_where_there_is_one(
    provider: FakeService, clock: VirtualClock
) -> None:
    complete = "https://login.example/device?user_code=WDJB-MJHT"
    provider.script("POST", "/devicecode", says({**GRANTED, "verification_uri_complete": complete}))
    provider.script("POST", "/token", TOKEN)
    assert complete in log_in(clock)


def test_a_token_in_the_environment_that_wins_over_the_login_is_told_of(
    provider: FakeService, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.script("POST", "/token", TOKEN)
    assert "PROMINENCE_TOKEN" not in log_in(clock)
    monkeypatch.setenv("PROMINENCE_TOKEN", "another")
    assert "PROMINENCE_TOKEN is set" in log_in(clock)


def test_a_provider_may_say_no_with_status_200(provider: FakeService, clock: VirtualClock) -> None:
    provider.script(
        "POST", "/token", says({"error": "authorization_pending"}), says({"error": "access_denied"})
    )
    with pytest.raises(AuthenticationError, match="access_denied"):
        log_in(clock)
    assert len(clock.sleeps) == 2


def test_a_configuration_that_has_moved_is_followed(
    provider: FakeService, credentials: Credentials, clock: VirtualClock
) -> None:
    provider.script("GET", "/.well-known/openid-configuration", redirects("/configuration"))
    provider.script("GET", "/configuration", says({"token_endpoint": f"{provider.address}/tokens"}))
    provider.script("POST", "/tokens", TOKEN)
    log_in(clock)
    assert credentials.token() == StoredToken("the-token")


def test_the_provider_says_how_often_it_may_be_asked(provider: FakeService, clock: VirtualClock) -> None:
    provider.script("POST", "/token", PENDING, SLOW_DOWN, PENDING, SLOW_DOWN, TOKEN)
    log_in(clock)
    assert clock.sleeps == [7.0, 7.0, 12.0, 12.0, 17.0]


@pytest.mark.parametrize("interval", [None, "often", 0, True])
def test_a_provider_that_does_not_say_is_asked_every_five_seconds(
    interval: object, provider: FakeService, clock: VirtualClock
) -> None:
    provider.script("POST", "/devicecode", says({**GRANTED, "interval": interval}))
    provider.script("POST", "/token", PENDING, TOKEN)
    log_in(clock)
    assert clock.sleeps == [5.0, 5.0]


@pytest.mark.parametrize("away", [RESET, page(502), page(503), refuses("slow", 429)])
def test_a_provider_that_does_not_answer_is_asked_less_and_less_often(
    away: Reply, provider: FakeService, credentials: Credentials, clock: VirtualClock
) -> None:
    provider.script("POST", "/token", away, away, away, away, PENDING, TOKEN)
    log_in(clock)
    assert clock.sleeps == [7.0, 14.0, 28.0, 56.0, 60.0, 7.0]
    assert credentials.token() == StoredToken("the-token")


@pytest.mark.parametrize("last", [PENDING, SLOW_DOWN, page(503)])
def test_a_login_ends_when_its_code_does(last: Reply, provider: FakeService, clock: VirtualClock) -> None:
    provider.script("POST", "/token", last)
    with pytest.raises(AuthenticationError, match="log in again"):
        log_in(clock)
    assert clock.elapsed == 600


@pytest.mark.parametrize(
    "reason", ["access_denied", "expired_token", "invalid_grant", "unauthorized_client", "something_new"]
)
def test_any_other_error_ends_a_login_and_is_told(
    reason: str, provider: FakeService, credentials: Credentials, clock: VirtualClock
) -> None:
    answer = {"error": reason, "error_description": f"no {CODE} for you"}
    provider.script("POST", "/token", PENDING, says(answer, 400))
    with pytest.raises(AuthenticationError, match=f"{reason}: no REDACTED for you") as caught:
        log_in(clock)
    assert caught.value.status == 400
    assert caught.value.url == f"{provider.address}/token"
    assert credentials.token() is None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refuses("invalid_client", 401), AuthenticationError),
        (refuses("invalid_scope"), AuthenticationError),
        (page(404), WrongService),
        (page(200), WrongService),
        (says([]), WrongService),
        (redirects("https://elsewhere.example/"), WrongService),
        (page(502), ServiceUnavailable),
        (RESET, ServiceUnavailable),
        (says({"device_code": CODE, "user_code": "WDJB-MJHT"}), WrongService),
        (says({**GRANTED, "user_code": ""}), WrongService),
    ],
)
def test_a_login_that_cannot_begin_says_why(
    answer: Reply, kind: type[ProminenceError], provider: FakeService, clock: VirtualClock
) -> None:
    provider.script("POST", "/devicecode", answer)
    with pytest.raises(kind) as caught:
        log_in(clock)
    assert SECRET not in str(caught.value)
    assert not sent_to(provider, "/token")


@pytest.mark.parametrize(
    "answer", [refuses("invalid_client_metadata"), page(502), says({"client_id": "x"}, 201)]
)
def test_a_registration_that_fails_is_an_error_and_keeps_the_earlier_client(
    answer: Reply, provider: FakeService, credentials: Credentials
) -> None:
    provider.script("POST", "/register", answer)
    with pytest.raises(ProminenceError):
        register()
    assert credentials.client(provider.address) == OidcClient("me", SECRET)


@pytest.mark.parametrize(
    "answer", [says({}), says({"access_token": ["x"]}), says({"access_token": "\u00e9"})]
)
def test_an_answer_without_a_token_that_can_be_sent_keeps_none(
    answer: Reply, provider: FakeService, credentials: Credentials, clock: VirtualClock
) -> None:
    provider.script("POST", "/token", answer)
    with pytest.raises(ProminenceError, match=r"access_token|characters"):
        log_in(clock)
    assert credentials.token() is None


def test_without_an_address_of_the_provider_the_error_names_the_setting() -> None:
    for call in (login, register):
        with pytest.raises(ConfigurationError, match="PROMINENCE_OIDC_URL"):
            call()


def test_a_provider_that_cannot_be_reached_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMINENCE_OIDC_URL", "http://127.0.0.1:9")
    with pytest.raises(ServiceUnavailable, match="identity provider"):
        login()


def test_no_secret_is_sent_unencrypted_where_the_provider_is_known_by_https(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = {"token_endpoint": "http://login.example/token"}
    monkeypatch.setattr(Provider, "_configuration", elsewhere)
    with pytest.raises(WrongService, match="unencrypted"):
        Provider("https://login.example", ssl_verify=True).ask("token", {}, OidcClient("me", SECRET))


def test_netrc_has_no_say(provider: FakeService) -> None:
    netrc = Path.home() / ".netrc"
    netrc.write_text("machine 127.0.0.1 login wrong password wrong\n")
    netrc.chmod(0o600)
    provider.script("POST", "/register", says({"client_id": "new", "client_secret": SECRET}, 201))
    register()
    assert "Authorization" not in sent_to(provider, "/register")[0].headers


def test_the_service_on_this_machine_needs_no_login(service: LocalService) -> None:
    with (
        ProminenceClient(settings=service.settings()) as client,
        pytest.raises(ConfigurationError, match="needs no login"),
    ):
        client.login()
