"""Which token goes with a request, and how a program that runs for days comes by a newer one."""

from __future__ import annotations

import base64
import errno
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.clock import EPOCH, VirtualClock
from support.fake_service import FakeService, Received, Reply, refuses, says

from prominence import Job, ProminenceClient, Session
from prominence.client import service as service_module
from prominence.credentials import Credentials, OidcClient, StoredToken, expiry_of
from prominence.exceptions import AuthenticationError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.service import LocalService

REFUSAL = refuses("Authentication failure", 401)


def token_until(expiry: object) -> str:
    """A JSON Web Token, unsigned, with this expiry."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part({'exp': expiry, 'username': 'ada'})}.signature"


class Login:
    """The files of a login, the provider that it was made at, and clients that use it."""

    def __init__(self, provider: FakeService, clock: VirtualClock) -> None:
        self.credentials = Credentials(Path.home() / ".prominence")
        self.provider = provider
        self._clock = clock
        self._clients: list[ProminenceClient] = []

    def keep(self, access_token: str, refresh_token: str | None = None) -> None:
        """Keep a token as a login does, in this process or another."""
        self.credentials.keep_token(StoredToken(access_token, refresh_token))

    def connect(self) -> ProminenceClient:
        self._clients.append(ProminenceClient(clock=self._clock))
        return self._clients[-1]

    def renews(self, *replies: Reply) -> None:
        """Have the provider answer these when it is asked for another token."""
        self.credentials.keep_client(OidcClient("me", "client-secret"), self.provider.address)
        self.provider.script("POST", "/token", *replies)

    def close(self) -> None:
        for client in self._clients:
            client.close()


@pytest.fixture
def login(fake: FakeService, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Login]:
    with FakeService() as provider:
        monkeypatch.setenv("PROMINENCE_URL", fake.url)
        monkeypatch.setenv("PROMINENCE_OIDC_URL", provider.address)
        login = Login(provider, clock)
        yield login
        login.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def tokens_sent(fake: FakeService) -> list[str]:
    return [each.headers["Authorization"].removeprefix("Bearer ") for each in fake.received]


def accepts_only(*good: str) -> Callable[[Received], Reply]:
    """Answer as a service that takes these tokens."""

    def answer(request: Received) -> Reply:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        return says([]) if token in good else REFUSAL

    return answer


# ---- when a token expires


@pytest.mark.parametrize("expiry", [EPOCH, EPOCH + 0.5])
def test_the_expiry_is_read_from_the_token(expiry: float) -> None:
    assert expiry_of(token_until(expiry)) == expiry


@pytest.mark.parametrize(
    "token",
    [
        *("", "opaque", "a.b", "a.b.c", "a.!!.c", "a.bnVsbA.c", "a.W10.c"),
        *map(token_until, (None, True, "1800000000", -1, 1e300, 10**400, float("nan"))),
    ],
)
def test_a_token_that_does_not_tell_its_expiry_has_none(token: str) -> None:
    assert expiry_of(token) is None


def test_a_token_that_looks_expired_is_still_sent(fake: FakeService, login: Login) -> None:
    login.keep(token_until(EPOCH - 3600))
    fake.script("GET", "/jobs", says([]))
    login.connect().list_jobs()
    assert tokens_sent(fake) == [token_until(EPOCH - 3600)]


def test_a_refused_token_that_has_expired_is_an_error_that_says_so(
    fake: FakeService, clock: VirtualClock, login: Login
) -> None:
    login.keep(token_until(EPOCH + 10))
    fake.script("GET", "/jobs", REFUSAL)
    client = login.connect()
    with pytest.raises(AuthenticationError) as caught:
        client.list_jobs()
    assert caught.value.expired_at is None
    assert "expired" not in str(caught.value)
    clock.advance(60)
    with pytest.raises(
        AuthenticationError, match=r"expired on 2027-01-15 at 08:00 UTC: log in again"
    ) as caught:
        client.list_jobs()
    assert caught.value.expired_at == EPOCH + 10


# ---- the file is read again


def test_a_newer_token_is_taken_up_shortly_before_the_old_one_expires(
    fake: FakeService, clock: VirtualClock, login: Login
) -> None:
    old, new = token_until(EPOCH + 1000), token_until(EPOCH + 9000)
    login.keep(old)
    client = login.connect()
    fake.script("GET", "/jobs", says([]))
    login.keep(new)
    client.list_jobs()
    clock.advance(950)
    client.list_jobs()
    assert tokens_sent(fake) == [old, new]


def test_a_refused_token_is_replaced_by_a_newer_one_and_the_request_sent_once_more(
    fake: FakeService, login: Login
) -> None:
    login.keep("old-token")
    client = login.connect()
    login.keep("new-token")
    fake.script("PUT", "/jobs/7/clone", REFUSAL, says({"id": 8}, 201))
    assert client.clone_job(7) == 8
    assert tokens_sent(fake) == ["old-token", "new-token"]


def test_a_request_is_sent_once_more_at_most(fake: FakeService, login: Login) -> None:
    login.keep("old-token")
    client = login.connect()
    login.keep("new-token")
    fake.script("GET", "/jobs", REFUSAL)
    with pytest.raises(AuthenticationError):
        client.list_jobs()
    assert tokens_sent(fake) == ["old-token", "new-token"]


def test_a_refused_token_without_another_is_an_error_at_once(fake: FakeService, login: Login) -> None:
    login.keep("old-token")
    fake.script("GET", "/jobs", REFUSAL)
    with pytest.raises(AuthenticationError):
        login.connect().list_jobs()
    assert tokens_sent(fake) == ["old-token"]


@pytest.mark.parametrize("answer", [refuses("Functionality disabled", 401), refuses("not yours", 403)])
def test_what_is_refused_for_another_reason_is_no_matter_of_the_token(
    answer: Reply, fake: FakeService, login: Login
) -> None:
    login.keep("old-token")
    client = login.connect()
    login.keep("new-token")
    fake.script("GET", "/jobs", answer, says([]))
    with pytest.raises(Exception, match=r"disabled|not yours"):
        client.list_jobs()
    assert tokens_sent(fake) == ["old-token"]


def test_a_token_from_the_environment_is_not_replaced_by_the_file(
    fake: FakeService, monkeypatch: pytest.MonkeyPatch, login: Login
) -> None:
    login.keep("from-the-file")
    monkeypatch.setenv("PROMINENCE_TOKEN", "from-the-environment")
    fake.script("GET", "/jobs", REFUSAL)
    with pytest.raises(AuthenticationError):
        login.connect().list_jobs()
    assert tokens_sent(fake) == ["from-the-environment"]


@pytest.mark.parametrize("damage", [None, "{ not JSON"])
def test_a_file_that_is_of_no_use_any_more_does_not_stop_a_program_whose_token_is_good(
    damage: str | None, fake: FakeService, login: Login
) -> None:
    login.keep(token_until(EPOCH + 10))
    client = login.connect()
    path = login.credentials.directory / "token"
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage)
    fake.script("GET", "/jobs", says([]))
    assert client.list_jobs().entries == []


# ---- refresh tokens


def test_a_token_about_to_expire_is_renewed_at_the_provider_and_kept(fake: FakeService, login: Login) -> None:
    login.keep(token_until(EPOCH + 30), "refresh-1")
    new = token_until(EPOCH + 3600)
    login.renews(says({"access_token": new, "refresh_token": "refresh-2"}))
    fake.script("GET", "/jobs", says([]))
    client = login.connect()
    client.list_jobs()
    client.list_jobs()

    assert tokens_sent(fake) == [new, new]
    assert login.credentials.token() == StoredToken(new, "refresh-2")
    (asked,) = [each for each in login.provider.received if each.method == "POST"]
    assert asked.body == b"grant_type=refresh_token&refresh_token=refresh-1"
    assert base64.b64decode(asked.headers["Authorization"].removeprefix("Basic ")) == b"me:client-secret"


def test_a_provider_that_keeps_the_refresh_token_need_not_repeat_it(fake: FakeService, login: Login) -> None:
    login.keep("old-token", "refresh-1")
    login.renews(says({"access_token": "new-token"}))
    fake.script("GET", "/jobs", accepts_only("new-token"))
    login.connect().list_jobs()
    assert login.credentials.token() == StoredToken("new-token", "refresh-1")


def test_a_refresh_token_that_was_refused_is_not_tried_again(
    fake: FakeService, clock: VirtualClock, caplog: pytest.LogCaptureFixture, login: Login
) -> None:
    login.keep("old-token", "refresh-1")
    login.renews(says({"error": "invalid_grant", "error_description": "refresh-1 is revoked"}, 400))
    fake.script("GET", "/jobs", REFUSAL)
    client = login.connect()
    for _ in range(3):
        with pytest.raises(AuthenticationError, match="Authentication failure"):
            client.list_jobs()
        clock.advance(120)
    assert login.provider.sent.count(("POST", "/token")) == 1
    assert "cannot be renewed" in caplog.text
    assert "refresh-1" not in caplog.text


def test_a_provider_that_is_away_is_asked_again_after_a_minute(
    fake: FakeService, clock: VirtualClock, login: Login
) -> None:
    login.keep("old-token", "refresh-1")
    login.renews(refuses("busy", 503))
    fake.script("GET", "/jobs", accepts_only("new-token"))
    client = login.connect()
    with pytest.raises(AuthenticationError):
        client.list_jobs()
    asked = len(login.provider.received)
    with pytest.raises(AuthenticationError):
        client.list_jobs()
    assert len(login.provider.received) == asked
    login.renews(says({"access_token": "new-token"}))
    clock.advance(60)
    assert client.list_jobs().entries == []


def test_of_two_clients_one_renews_and_the_other_takes_what_it_kept(fake: FakeService, login: Login) -> None:
    login.keep("old-token", "refresh-1")
    login.renews(says({"access_token": "new-token", "refresh_token": "refresh-2"}))
    fake.script("GET", "/jobs", accepts_only("new-token"))
    for client in [login.connect(), login.connect()]:
        client.list_jobs()
    assert login.provider.sent.count(("POST", "/token")) == 1


def test_a_renewed_token_that_cannot_be_kept_is_used_all_the_same(
    fake: FakeService, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, login: Login
) -> None:
    login.keep("old-token", "refresh-1")
    login.renews(says({"access_token": "new-token"}))
    fake.script("GET", "/jobs", accepts_only("new-token"))
    client = login.connect()

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    client.list_jobs()
    assert login.credentials.token() == StoredToken("old-token", "refresh-1")
    assert "No space left" in caplog.text
    assert {path.name for path in login.credentials.directory.iterdir()} == {"client", "login.lock", "token"}


def test_a_directory_that_cannot_be_used_any_more_leaves_the_token_as_it_is(
    fake: FakeService, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, login: Login
) -> None:
    login.keep("old-token", "refresh-1")
    login.renews(says({"access_token": "new-token"}))
    fake.script("GET", "/jobs", REFUSAL)
    client = login.connect()

    def not_allowed(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", not_allowed)
    with pytest.raises(AuthenticationError):
        client.list_jobs()
    assert "Permission denied" in caplog.text
    assert not login.provider.received


def test_tokens_of_a_short_life_are_renewed_each_time(
    fake: FakeService, clock: VirtualClock, login: Login
) -> None:
    login.keep(token_until(EPOCH + 10), "refresh-1")
    tokens = [token_until(EPOCH + each) for each in (40, 70, 100)]
    login.renews(*(says({"access_token": each}) for each in tokens))
    fake.script("GET", "/jobs", says([]))
    client = login.connect()
    for _ in tokens:
        client.list_jobs()
        clock.advance(30)
    assert tokens_sent(fake) == tokens


# ---- the service on this machine


def test_a_service_that_has_lost_its_key_is_asked_for_its_new_token(
    own_service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "_SURE_FOR_S", 3600.0)
    with ProminenceClient(settings=own_service.settings()) as client:
        client.list_jobs()
        old = own_service.endpoint
        own_service.kill()
        (own_service.directory / "secret").unlink()
        own_service.start()
        assert own_service.endpoint.url == old.url
        assert own_service.request("GET", "/jobs", headers=bearer(old.token)).status_code == 401
        assert client.list_jobs().entries == []


# ---- waiting


def test_a_wait_goes_on_when_its_token_expires_and_the_user_logs_in_again(
    fake: FakeService, caplog: pytest.LogCaptureFixture, login: Login
) -> None:
    running, ended = (
        {"id": 7, "status": "running"},
        {"id": 7, "status": "completed", "events": {"endTime": 9}},
    )
    refused = 0

    def log_in_after_some_refusals(_: Received) -> Reply:
        nonlocal refused
        refused += 1
        if refused == 5:
            login.keep("new-token")
        return REFUSAL

    def answer(request: Received) -> Reply:
        if request.headers["Authorization"] != "Bearer new-token":
            return log_in_after_some_refusals(request)
        return says([{**ended, "execution": {"tasks": [{"exitCode": 0}]}}])

    login.keep("old-token")
    fake.script("GET", "/jobs/7", says([running]))
    fake.script("GET", "/jobs", says([running]), answer)
    with Session(client=login.connect()) as session:
        assert Job(id=7, session=session).wait() == "completed"
    assert "prominence login" in caplog.text


def test_a_wait_that_begins_with_a_bad_token_ends_at_once(
    fake: FakeService, clock: VirtualClock, login: Login
) -> None:
    login.keep("old-token")
    fake.script("GET", "/jobs/7", REFUSAL)
    fake.script("GET", "/jobs", REFUSAL)
    with Session(client=login.connect()) as session, pytest.raises(AuthenticationError):
        Job(id=7, session=session).wait()
    assert clock.elapsed < 60


# ---- the files


def test_files_are_the_users_alone(login: Login) -> None:
    login.credentials.directory.mkdir(mode=0o755)
    login.keep("a-token")
    login.credentials.keep_client(OidcClient("me", "secret"), "https://login.example")
    assert stat.S_IMODE(login.credentials.directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in login.credentials.directory.iterdir()}
    assert modes == {"token": 0o600, "client": 0o600}


def test_a_token_file_that_others_could_read_is_replaced_by_one_that_they_cannot(login: Login) -> None:
    login.credentials.directory.mkdir()
    path = login.credentials.directory / "token"
    path.touch(mode=0o644)
    login.keep("a-token")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_credentials_that_cannot_be_kept_are_an_error_that_leaves_nothing_behind(login: Login) -> None:
    (login.credentials.directory / "token").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        login.keep("a-token")
    assert [each.name for each in login.credentials.directory.iterdir()] == ["token"]


def test_a_client_of_another_provider_is_not_used(login: Login) -> None:
    login.credentials.keep_client(OidcClient("me", "secret"), "https://login.example")
    assert login.credentials.client("https://login.example") == OidcClient("me", "secret")
    assert login.credentials.client("https://other.example") is None


def test_a_client_file_of_another_program_counts_for_any_provider(login: Login) -> None:
    login.credentials.directory.mkdir()
    (login.credentials.directory / "client").write_text(
        '{"client_id": "me", "client_secret": "secret", "more": 1}'
    )
    assert login.credentials.client("https://login.example") == OidcClient("me", "secret")


@pytest.mark.parametrize("text", ["{", "[]", '{"client_id": "me"}'])
def test_a_client_file_that_is_not_understood_is_named(text: str, login: Login) -> None:
    login.credentials.directory.mkdir()
    (login.credentials.directory / "client").write_text(text)
    with pytest.raises(ConfigurationError, match="client_id") as caught:
        login.credentials.client("https://login.example")
    assert str(login.credentials.directory / "client") in str(caught.value)
