"""Requests on the wire: what is sent again, until when, with which secrets, and what errors tell."""

from __future__ import annotations

import socket
import ssl
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import requests.adapters
import urllib3
from support.clock import EPOCH, VirtualClock
from support.fake_service import (
    RESET,
    FakeService,
    Reply,
    cut_short,
    labelled,
    page,
    redirects,
    refuses,
    says,
    truncated,
)

from prominence import ProminenceClient, Settings, __version__
from prominence.client.retry import TABLE, Happened, Kind
from prominence.client.transport import Request
from prominence.description.rules import SUBMISSION_LABEL
from prominence.exceptions import (
    AuthenticationError,
    DeadlineExceeded,
    FeatureDisabled,
    NotFound,
    PermissionDenied,
    ProminenceError,
    RequestFailure,
    ServiceError,
    ServiceUnavailable,
    WrongService,
)
from prominence.settings import LocalSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGNATURE = "sIgNaTuRe0123456789"
QUERY = f"AWSAccessKeyId=AKIDKEY&Signature={SIGNATURE}&Expires=1"
IDENTITY_AWAY = refuses("Unable to connect to OIDC server", 401)
EXPIRED = refuses("Authentication failure", 401)
DISABLED = refuses("Functionality disabled", 401)

AGAIN, AT_ONCE = "is sent again", "is sent again at once"
LOOK, STOP = "is looked up", "is not sent again"
NEXT = {
    Kind.READ: {
        Happened.NOT_SENT: AGAIN,
        Happened.NOBODY_THERE: STOP,
        Happened.STALE: AT_ONCE,
        Happened.LOST: AGAIN,
        Happened.SERVER_ERROR: AGAIN,
        Happened.THROTTLED: AGAIN,
        Happened.IDENTITY_AWAY: AGAIN,
        Happened.REFUSED: STOP,
    },
    Kind.REMOVE: {
        Happened.NOT_SENT: AGAIN,
        Happened.NOBODY_THERE: STOP,
        Happened.STALE: AT_ONCE,
        Happened.LOST: AGAIN,
        Happened.SERVER_ERROR: AGAIN,
        Happened.THROTTLED: AGAIN,
        Happened.IDENTITY_AWAY: AGAIN,
        Happened.REFUSED: STOP,
    },
    Kind.SUBMIT: {
        Happened.NOT_SENT: AGAIN,
        Happened.NOBODY_THERE: STOP,
        Happened.STALE: LOOK,
        Happened.LOST: LOOK,
        Happened.SERVER_ERROR: LOOK,
        Happened.THROTTLED: AGAIN,
        Happened.IDENTITY_AWAY: AGAIN,
        Happened.REFUSED: STOP,
    },
    Kind.ONCE: {
        Happened.NOT_SENT: AGAIN,
        Happened.NOBODY_THERE: STOP,
        Happened.STALE: STOP,
        Happened.LOST: STOP,
        Happened.SERVER_ERROR: STOP,
        Happened.THROTTLED: AGAIN,
        Happened.IDENTITY_AWAY: AGAIN,
        Happened.REFUSED: STOP,
    },
}


@dataclass(frozen=True)
class Call:
    """A call of each kind, the request that it makes, and a good answer to that."""

    make: Callable[[ProminenceClient], Any]
    method: str
    path: str
    good: Reply


CALLS = {
    Kind.READ: Call(lambda client: client.list_jobs(), "GET", "/jobs", says([])),
    Kind.REMOVE: Call(lambda client: client.delete_job(7), "DELETE", "/jobs/7", says({})),
    Kind.SUBMIT: Call(lambda client: client.create_job({"name": "x"}), "POST", "/jobs", says({"id": 7}, 201)),
    Kind.ONCE: Call(
        lambda client: client._transport.send(Request("PUT", "/jobs/7/clone", Kind.ONCE)),
        "PUT",
        "/jobs/7/clone",
        says({"id": 8}, 201),
    ),
}

MISHAPS = {
    "no connection": (Happened.NOT_SENT, None),
    "reset before the request was read": (Happened.LOST, None),
    "reset after the request was read": (Happened.LOST, RESET),
    "answer cut short": (Happened.LOST, cut_short({"id": 1})),
    "truncated JSON": (Happened.LOST, truncated({"id": 1})),
    "500 page": (Happened.SERVER_ERROR, page(500)),
    "502 page": (Happened.SERVER_ERROR, page(502)),
    "503 page": (Happened.SERVER_ERROR, page(503)),
    "503 JSON": (Happened.SERVER_ERROR, refuses("busy", 503)),
    "429": (Happened.THROTTLED, page(429)),
    "identity provider away": (Happened.IDENTITY_AWAY, IDENTITY_AWAY),
    "token refused": (Happened.REFUSED, EXPIRED),
    "feature off": (Happened.REFUSED, DISABLED),
    "400": (Happened.REFUSED, refuses("no")),
    "403": (Happened.REFUSED, refuses("not yours", 403)),
    "404 page": (Happened.REFUSED, page(404)),
    "404 JSON": (Happened.REFUSED, refuses("No such key", 404)),
    "redirect": (Happened.REFUSED, redirects("http://127.0.0.1:9/")),
    "200 with an error": (Happened.REFUSED, refuses("invalid status specified", 200)),
}


def test_the_expectations_cover_the_whole_table() -> None:
    assert {(kind, happened) for kind, row in NEXT.items() for happened in row} == set(TABLE)
    mishaps = {happened for happened, _ in MISHAPS.values()}
    assert mishaps | {Happened.NOBODY_THERE, Happened.STALE} == set(Happened)


@pytest.mark.parametrize("mishap", MISHAPS)
@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_what_follows_a_failed_request(kind: Kind, mishap: str, token: str, clock: VirtualClock) -> None:
    happened, reply = MISHAPS[mishap]
    call = CALLS[kind]
    with (
        FakeService(listening=happened is not Happened.NOT_SENT) as fake,
        ProminenceClient(fake.url, token, clock=clock, random=Random(1)) as client,
    ):
        fake.script("GET", "/jobs", labelled(7))
        fake.script(call.method, call.path, *([reply] if reply else []), call.good)
        fake.reset_connections(1 if mishap == "reset before the request was read" else 0)
        clock.on_sleep = fake.listen
        before = [(call.method, call.path)] if reply else []

        if NEXT[kind][happened] is STOP:
            with pytest.raises(ProminenceError):
                call.make(client)
            assert fake.sent == before
            assert fake.connections == 1
        elif NEXT[kind][happened] is LOOK:
            assert call.make(client).id == 7
            assert fake.sent == [*before, ("GET", "/jobs")]
            assert fake.received[-1].query["constraint"].startswith(f"{SUBMISSION_LABEL}=")
        else:
            call.make(client)
            assert fake.sent == [*before, (call.method, call.path)]
            assert len({each.body for each in fake.received}) == 1


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_what_follows_when_a_kept_connection_ends_as_a_request_is_sent(
    kind: Kind, fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    call = CALLS[kind]
    fake.script("GET", "/jobs/1", says([]))
    client.describe_job(1)
    client.describe_job(1)  # this service keeps connections
    fake.received.clear()
    fake.script("GET", "/jobs", labelled(7))
    fake.script(call.method, call.path, RESET, call.good)

    if NEXT[kind][Happened.STALE] is STOP:
        with pytest.raises(ServiceUnavailable):
            call.make(client)
        assert fake.sent == [(call.method, call.path)]
    elif NEXT[kind][Happened.STALE] is LOOK:
        assert call.make(client).id == 7
        assert fake.sent == [(call.method, call.path), ("GET", "/jobs")]
    else:
        call.make(client)
        assert fake.sent == [(call.method, call.path)] * 2
        assert fake.connections == 2
        assert sum(clock.sleeps) == 0


@pytest.mark.parametrize(("kind", "then"), [(Kind.SUBMIT, 2), (Kind.ONCE, 3)])
def test_a_submission_has_a_connection_of_its_own_until_kept_ones_are_known_to_live_and_others_always(
    kind: Kind, then: int, fake: FakeService, client: ProminenceClient
) -> None:
    call = CALLS[kind]
    fake.script("GET", "/jobs/1", says([]))
    fake.script(call.method, call.path, call.good)
    client.describe_job(1)
    call.make(client)
    assert fake.connections == 2
    client.describe_job(1)
    call.make(client)
    assert fake.connections == then


def test_what_must_not_be_done_twice_avoids_kept_connections_once_one_was_closed(
    fake: FakeService, client: ProminenceClient
) -> None:
    fake.script("GET", "/jobs/1", says([]), says([]), RESET, says([]))
    fake.script("POST", "/jobs", says({"id": 7}, 201))
    for _ in range(4):
        client.describe_job(1)
    assert fake.connections == 2
    client.create_job({"name": "x"})
    assert fake.connections == 3


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_a_host_that_does_not_exist_is_not_asked_for_again(
    kind: Kind, token: str, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_such_host(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    with (
        ProminenceClient("http://prominense.test/prominence/v1", token, clock=clock) as client,
        pytest.raises(ServiceUnavailable, match="cannot be reached: Name or service") as caught,
    ):
        CALLS[kind].make(client)
    assert caught.value.attempts == 1
    assert clock.elapsed == 0


@pytest.fixture
def over_tls(fake: FakeService, token: str, clock: VirtualClock) -> Iterator[ProminenceClient]:
    """A client that expects TLS where there is none."""
    url = fake.url.replace("http:", "https:")
    with ProminenceClient(url, token, clock=clock, random=Random(1)) as client:
        yield client


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_a_tls_connection_that_cannot_be_made_leaves_no_doubt(
    kind: Kind, over_tls: ProminenceClient, fake: FakeService
) -> None:
    with pytest.raises(ServiceUnavailable, match="cannot be reached") as caught:
        CALLS[kind].make(over_tls)
    assert caught.value.attempts > 4
    assert fake.received == []


def test_a_certificate_that_is_not_accepted_is_told_at_once(
    over_tls: ProminenceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")

    monkeypatch.setattr(urllib3.connection.HTTPSConnection, "connect", refuse)
    with pytest.raises(ServiceUnavailable, match="certificate verify failed") as caught:
        over_tls.list_jobs()
    assert caught.value.attempts == 1


def test_a_tls_connection_that_breaks_after_a_submission_was_sent_leaves_a_doubt(
    over_tls: ProminenceClient, fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [ssl.SSLError(1, "[SSL] record layer failure"), None]
    plain = urllib3.connection.HTTPConnection

    def get(connection: Any) -> Any:
        if (error := answers.pop(0)) is not None:
            plain.getresponse(connection)
            connection.close()
            raise error
        return plain.getresponse(connection)

    def connect(connection: Any) -> None:
        plain.connect(connection)
        connection.is_verified = True

    monkeypatch.setattr(urllib3.connection.HTTPSConnection, "connect", connect)
    monkeypatch.setattr(urllib3.connection.HTTPSConnection, "getresponse", get)
    fake.script("POST", "/jobs", says({"id": 7}, 201))
    fake.script("GET", "/jobs", labelled(7))
    assert CALLS[Kind.SUBMIT].make(over_tls).id == 7
    assert fake.sent == [("POST", "/jobs"), ("GET", "/jobs")]


def test_a_name_that_cannot_be_looked_up_for_now_is_tried_again(
    fake: FakeService, token: str, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = socket.getaddrinfo
    failures = [socket.EAI_AGAIN, None, socket.EAI_NONAME, None]

    def look_up(*arguments: Any, **options: Any) -> Any:
        if (failure := failures.pop(0)) is not None:
            raise socket.gaierror(failure, "why")
        return known(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    fake.script("GET", "/jobs", says([]))
    with ProminenceClient(fake.url, token, clock=clock, random=Random(1)) as client:
        client.list_jobs()
        client.close()
        client.list_jobs()  # the name has been known: it will come back
    assert len(fake.received) == 2
    assert len(clock.sleeps) == 2


def test_a_port_of_this_machine_without_a_service_is_given_up_soon(token: str, clock: VirtualClock) -> None:
    with (
        FakeService(listening=False) as fake,
        ProminenceClient(fake.url, token, clock=clock, random=Random(1)) as client,
        pytest.raises(ServiceUnavailable, match="prominence local start"),
    ):
        client.list_jobs()
    assert clock.elapsed == pytest.approx(5)


def test_a_service_on_this_machine_that_has_answered_is_waited_for(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    fake.script("GET", "/jobs", says([], hang_up=True))
    client.list_jobs()
    fake.wait_until_unconnected()
    fake.close()
    with pytest.raises(ServiceUnavailable):
        client.list_jobs()
    assert clock.elapsed > 30


def test_retries_end_before_the_deadline(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    fake.script("GET", "/jobs", page(503))
    with pytest.raises(ServiceUnavailable) as caught:
        client.list_jobs()
    assert 30 < clock.elapsed < 60
    assert caught.value.elapsed == pytest.approx(clock.elapsed)
    assert caught.value.attempts == len(fake.received) == len(clock.sleeps) + 1
    assert caught.value.attempts > 4


def test_pauses_are_jittered_and_grow(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    fake.script("GET", "/jobs", page(503))
    with pytest.raises(ServiceUnavailable):
        client.list_jobs()
    longest = [min(15.0, 0.2 * 2**attempt) for attempt in range(len(clock.sleeps))]
    assert all(0 <= slept <= most for slept, most in zip(clock.sleeps, longest, strict=True))
    assert len(set(clock.sleeps)) == len(clock.sleeps)


def test_pauses_of_two_clients_differ(fake: FakeService, token: str) -> None:
    fake.script("GET", "/jobs", page(503), page(503), says([]), page(503), page(503), says([]))
    pauses = []
    for seed in (1, 2):
        clock = VirtualClock()
        with ProminenceClient(fake.url, token, clock=clock, random=Random(seed)) as client:
            client.list_jobs()
        pauses.append(clock.sleeps)
    assert pauses[0] != pauses[1]


def test_an_answer_that_comes_drop_by_drop_does_not_outlive_the_deadline(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    fake.script("GET", "/jobs", says([], midway=lambda: clock.advance(61)))
    with pytest.raises(DeadlineExceeded) as caught:
        client.list_jobs()
    assert isinstance(caught.value, TimeoutError)
    assert len(fake.received) == 1


def test_nothing_is_sent_when_no_time_is_left(fake: FakeService, client: ProminenceClient) -> None:
    with pytest.raises(DeadlineExceeded):
        client._transport.send(Request("GET", "/jobs", Kind.READ), deadline_s=0)
    assert fake.connections == 0


def test_a_long_poll_has_its_wait_on_top_of_the_deadline(
    fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    slow = page(503, headers={"Retry-After": "70"})
    fake.script("GET", "/jobs", slow, says([]))
    assert client.list_changed_jobs(5, wait=20).entries == []
    assert clock.elapsed == 70
    assert fake.received[0].query == {"since": "5", "wait": "20"}

    fake.script("GET", "/jobs", slow, says([]))
    with pytest.raises(ServiceUnavailable):
        client.list_jobs()


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("after", ["7", formatdate(EPOCH + 7, usegmt=True)], ids=["seconds", "date"])
def test_retry_after_is_the_least_pause(
    status: int, after: str, fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    fake.script("GET", "/jobs", page(status, headers={"Retry-After": after}), says([]))
    client.list_jobs()
    assert clock.sleeps == [7]


@pytest.mark.parametrize("after", ["", "soon", "-5", "0", formatdate(EPOCH - 7, usegmt=True)])
def test_a_retry_after_that_asks_for_nothing_leaves_the_usual_pause(
    after: str, fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    fake.script("GET", "/jobs", page(429, headers={"Retry-After": after}), says([]))
    client.list_jobs()
    assert len(clock.sleeps) == 1
    assert 0 < clock.sleeps[0] <= 0.2


@pytest.mark.parametrize("after", ["61", "9" * 400, formatdate(EPOCH + 61, usegmt=True)])
def test_a_retry_after_beyond_the_deadline_is_not_waited_for(
    after: str, fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    fake.script("GET", "/jobs", page(429, headers={"Retry-After": after}), says([]))
    with pytest.raises(ServiceUnavailable) as caught:
        client.list_jobs()
    assert caught.value.status == 429
    assert clock.elapsed == 0


@pytest.mark.parametrize(
    ("reply", "kind", "excerpt"),
    [
        (EXPIRED, AuthenticationError, "Authentication failure"),
        (DISABLED, FeatureDisabled, "Functionality disabled"),
        (IDENTITY_AWAY, ServiceUnavailable, "Unable to connect to OIDC server"),
        (page(401), AuthenticationError, "401 of the proxy"),
        (refuses("Not authorized", 403), PermissionDenied, "Not authorized"),
        (refuses("No such key", 404), NotFound, "No such key"),
        (page(404), WrongService, "404 of the proxy"),
        (page(405), WrongService, "405 of the proxy"),
        (redirects("https://elsewhere.example/login"), WrongService, ""),
        (page(200), WrongService, "200 of the proxy"),
        (refuses("Invalid constraint"), ServiceError, "Invalid constraint"),
        (page(400), ServiceError, "400 of the proxy"),
        (page(413), ServiceError, "413 of the proxy"),
        (refuses("invalid status specified", 200), ServiceError, "invalid status specified"),
        (page(502), ServiceUnavailable, "502 of the proxy"),
        (page(429), ServiceUnavailable, "429 of the proxy"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else getattr(value, "__name__", ""),
)
def test_an_error_says_what_was_asked_and_answered(
    reply: Reply, kind: type[RequestFailure], excerpt: str, fake: FakeService, client: ProminenceClient
) -> None:
    fake.script("GET", "/jobs", reply)
    with pytest.raises(RequestFailure) as caught:
        client.list_jobs(name="x")
    error = caught.value
    assert type(error) is kind
    assert (error.method, error.url, error.status) == ("GET", f"{fake.url}/jobs", reply.status)
    assert excerpt in error.body
    assert "<" not in error.body
    assert error.attempts == len(fake.received)
    assert f"[GET {fake.url}/jobs" in str(error)
    assert (f", {error.attempts} attempts" in str(error)) == (error.attempts > 1)


def test_a_long_body_is_only_shown_in_part(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("GET", "/jobs", refuses("x" * 100_000))
    with pytest.raises(ServiceError) as caught:
        client.list_jobs()
    assert 100 < len(caught.value.body) <= 500


def test_a_long_reason_does_not_make_a_long_error(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("GET", "/jobs", refuses("x" * 100_000))
    with pytest.raises(ServiceError) as caught:
        client.list_jobs()
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("reply", [RESET, cut_short([1, 2, 3]), truncated([1, 2, 3])])
def test_a_broken_answer_is_a_connection_error(
    reply: Reply, fake: FakeService, client: ProminenceClient
) -> None:
    fake.script("GET", "/jobs", reply)
    with pytest.raises(ConnectionError) as caught:
        client.list_jobs()
    assert isinstance(caught.value, ServiceUnavailable)
    assert caught.value.attempts == len(fake.received) > 1


def test_a_service_that_cannot_be_reached_is_named(token: str, clock: VirtualClock) -> None:
    with (
        FakeService(listening=False) as fake,
        ProminenceClient(fake.url, token, clock=clock, random=Random(1)) as client,
        pytest.raises(ServiceUnavailable, match="cannot be reached") as caught,
    ):
        client.list_jobs()
    assert fake.address in str(caught.value)
    assert caught.value.status is None
    assert caught.value.attempts > 4


# ---- secrets


def _everything_told(error: BaseException, log: pytest.LogCaptureFixture) -> str:
    traced = "".join(traceback.format_exception(error))
    return "\n".join([str(error), repr(error), repr(vars(error)), traced, log.text])


@pytest.mark.parametrize("mishap", MISHAPS)
@pytest.mark.parametrize("kind", [Kind.READ, Kind.ONCE], ids=lambda kind: kind.name)
def test_no_error_and_no_log_line_tells_the_token(
    kind: Kind, mishap: str, token: str, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    happened, reply = MISHAPS[mishap]
    call = CALLS[kind]
    with (
        FakeService(listening=happened is not Happened.NOT_SENT) as fake,
        ProminenceClient(fake.url, token, clock=clock, random=Random(1)) as client,
    ):
        fake.script(call.method, call.path, reply or RESET)
        with pytest.raises(ProminenceError) as caught:
            call.make(client)
    assert token not in _everything_told(caught.value, caplog)


def test_an_answer_that_repeats_the_token_does_not_get_it_into_the_error(
    fake: FakeService, client: ProminenceClient, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    fake.script("GET", "/jobs", lambda request: refuses(f"bad header {request.headers['Authorization']}"))
    with pytest.raises(ServiceError) as caught:
        client.list_jobs()
    assert token not in _everything_told(caught.value, caplog)


@pytest.mark.parametrize("token", ["a-secret\n", "a-secret\r\nX: y", "a-secret-\N{SNOWMAN}"])
def test_a_token_that_cannot_be_sent_is_a_typed_error_without_it(
    token: str, fake: FakeService, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    fake.script("GET", "/jobs", EXPIRED)
    with pytest.raises(ProminenceError) as caught:  # noqa: SIM117 - of making the client, or of its call
        with ProminenceClient(fake.url, token, clock=clock) as client:
            client.list_jobs()
    assert "a-secret" not in _everything_told(caught.value, caplog)


def test_objects_do_not_show_the_token(fake: FakeService, client: ProminenceClient, token: str) -> None:
    fake.script("GET", "/jobs", says([]))
    client.list_jobs()
    shown = [
        client,
        client.settings,
        client._transport,
        client._transport.service,
        client._transport.wire,
    ]
    assert token not in "".join(f"{each!r}{each}" for each in shown)
    assert repr(client.settings.url) in repr(client.settings)


DOWNLOAD_FAILURES = {
    "no connection": None,
    "reset": RESET,
    "cut short": Reply(body=b"0123456789", sent=4),
    "403": page(403),
    "404": page(404),
    "503": page(503),
}


@pytest.fixture(params=DOWNLOAD_FAILURES)
def download_error(
    request: pytest.FixtureRequest, token: str, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> RequestFailure:
    caplog.set_level("DEBUG")
    reply = DOWNLOAD_FAILURES[request.param]
    with (
        FakeService(listening=reply is not None) as fake,
        ProminenceClient(fake.url, token, clock=clock, random=Random(1)) as client,
    ):
        fake.script("GET", "/bucket/out.dat", reply or RESET)
        with pytest.raises(RequestFailure) as caught:
            client.download(f"{fake.address}/bucket/out.dat?{QUERY}")
    assert caught.value.url == f"{fake.address}/bucket/out.dat"
    return caught.value


def test_a_failed_download_does_not_tell_the_signature(download_error: RequestFailure) -> None:
    assert SIGNATURE not in f"{download_error} {download_error!r} {vars(download_error)}"


def test_the_traceback_of_a_failed_download_does_not_tell_the_signature(
    download_error: RequestFailure,
) -> None:
    assert SIGNATURE not in "".join(traceback.format_exception(download_error))


def test_our_log_lines_about_a_failed_download_do_not_tell_the_signature(
    download_error: RequestFailure, caplog: pytest.LogCaptureFixture
) -> None:
    assert download_error.attempts >= 1
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("prominence")]
    assert SIGNATURE not in "".join(ours)


def test_no_log_line_of_a_download_tells_the_signature(
    fake: FakeService, client: ProminenceClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    fake.script("GET", "/bucket/out.dat", Reply(body=b"bytes"))
    client.download(f"{fake.address}/bucket/out.dat?{QUERY}")
    assert SIGNATURE not in caplog.text


def test_an_object_store_that_repeats_the_signature_does_not_get_it_into_the_error(
    fake: FakeService, client: ProminenceClient, caplog: pytest.LogCaptureFixture
) -> None:
    text = (
        f"<Error><Code>SignatureDoesNotMatch</Code><SignatureProvided>{SIGNATURE}</SignatureProvided></Error>"
    )
    fake.script("GET", "/bucket/out.dat", Reply(403, text.encode(), "application/xml"))
    with pytest.raises(PermissionDenied) as caught:
        client.download(f"{fake.address}/bucket/out.dat?{QUERY}")
    told = f"{caught.value} {caught.value!r} {vars(caught.value)}"
    assert "SignatureDoesNotMatch" in told
    assert SIGNATURE not in told
    assert not [record for record in caplog.records if SIGNATURE in record.getMessage()]


# ---- downloads


def test_a_download_brings_the_bytes_and_sends_no_token(fake: FakeService, client: ProminenceClient) -> None:
    content = bytes(range(256)) * 1000
    fake.script("GET", "/bucket/out.dat", Reply(body=content, content_type="binary/octet-stream"))
    assert client.download(f"{fake.address}/bucket/out.dat?{QUERY}") == content
    assert "Authorization" not in fake.received[0].headers
    assert fake.received[0].query["Signature"] == SIGNATURE


def test_a_broken_download_is_tried_again_and_counted(fake: FakeService, client: ProminenceClient) -> None:
    whole = Reply(body=b"0123456789")
    fake.script("GET", "/bucket/out.dat", Reply(body=b"0123456789", sent=4), page(503), whole)
    assert client.download(f"{fake.address}/bucket/out.dat") == b"0123456789"

    fake.received.clear()
    fake.script("GET", "/bucket/out.dat", page(503))
    with pytest.raises(ServiceUnavailable) as caught:
        client.download(f"{fake.address}/bucket/out.dat")
    assert caught.value.attempts == len(fake.received) > 1


def test_an_object_that_does_not_exist_is_not_a_wrong_service(
    fake: FakeService, client: ProminenceClient
) -> None:
    text = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>"
    fake.script("GET", "/bucket/out.dat", Reply(404, text, "application/xml"))
    with pytest.raises(NotFound, match="NoSuchKey"):
        client.download(f"{fake.address}/bucket/out.dat")


def test_a_redirected_download_is_followed_without_a_token(
    fake: FakeService, client: ProminenceClient
) -> None:
    with FakeService() as other:
        other.script("GET", "/moved", Reply(body=b"bytes"))
        fake.script("GET", "/bucket/out.dat", redirects(f"{other.address}/moved"))
        assert client.download(f"{fake.address}/bucket/out.dat") == b"bytes"
    assert "Authorization" not in other.received[0].headers


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirected_call_goes_nowhere_else(
    status: int, fake: FakeService, client: ProminenceClient
) -> None:
    with FakeService() as other:
        fake.script("GET", "/jobs", redirects(f"{other.url}/jobs", status))
        with pytest.raises(WrongService):
            client.list_jobs()
    assert other.connections == 0


# ---- the surroundings


@pytest.fixture
def netrc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETRC", raising=False)
    path = Path.home() / ".netrc"
    path.write_text("machine 127.0.0.1 login somebody password else\n", encoding="utf-8")
    path.chmod(0o600)


@pytest.mark.usefixtures("netrc")
def test_netrc_does_not_win_over_the_token(fake: FakeService, client: ProminenceClient, token: str) -> None:
    fake.script("GET", "/jobs", says([]))
    client.list_jobs()
    assert fake.received[0].headers.get_all("Authorization") == [f"Bearer {token}"]


@pytest.mark.usefixtures("netrc")
def test_netrc_is_not_used_for_downloads(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("GET", "/bucket/out.dat", Reply(body=b"bytes"))
    client.download(f"{fake.address}/bucket/out.dat")
    assert "Authorization" not in fake.received[0].headers


@pytest.mark.usefixtures("netrc")
def test_netrc_is_not_used_for_redirected_downloads(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("GET", "/bucket/out.dat", redirects(f"{fake.address}/moved"))
    fake.script("GET", "/moved", Reply(body=b"bytes"))
    client.download(f"{fake.address}/bucket/out.dat")
    assert [each.headers.get("Authorization") for each in fake.received] == [None, None]


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    """A proxy that the environment names for everything."""
    with FakeService() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.address)
            monkeypatch.setenv(name.upper(), proxy.address)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield proxy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_reached_without_a_proxy(
    host: str, proxy: FakeService, fake: FakeService, token: str, clock: VirtualClock
) -> None:
    fake.script("GET", "/jobs", says([]))
    fake.script("GET", "/bucket/out.dat", redirects("/moved"))
    fake.script("GET", "/moved", Reply(body=b"bytes"))
    with ProminenceClient(fake.url.replace("127.0.0.1", host), token, clock=clock) as client:
        client.list_jobs()
        client.download(f"{fake.address}/bucket/out.dat".replace("127.0.0.1", host))
    assert len(fake.received) == 3
    assert proxy.connections == 0


def test_another_machine_is_reached_through_the_proxy(
    proxy: FakeService, token: str, clock: VirtualClock
) -> None:
    proxy.script("GET", "/jobs", says([{"id": 1}]))
    with ProminenceClient("http://prominence.test/prominence/v1", token, clock=clock) as client:
        assert client.list_jobs().entries == [{"id": 1}]
    assert proxy.received[0].headers["Host"] == "prominence.test"


def test_a_job_that_no_proxy_took_is_not_in_doubt(
    token: str, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with (
        FakeService(listening=False) as proxy,
        ProminenceClient("http://prominence.test/prominence/v1", token, clock=clock) as client,
    ):
        monkeypatch.setenv("http_proxy", proxy.address)
        with pytest.raises(ServiceUnavailable, match="cannot be reached"):
            client.create_job({"name": "x"})


@pytest.mark.parametrize("wanted", [False, "own.pem"])
def test_the_certificate_setting_wins_over_that_of_requests(
    wanted: bool | str, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(Exception):
        pass

    def send(_: object, __: object, **options: Any) -> None:
        raise Seen(options["verify"])

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/another/bundle.pem")
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    settings = Settings("https://prominence.test", token, LocalSettings(tmp_path), ssl_verify=wanted)
    with ProminenceClient(settings=settings) as client, pytest.raises(Seen) as seen:
        client.list_jobs()
    assert seen.value.args == (wanted,)


def test_requests_say_which_program_sends_them(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("GET", "/jobs", says([]))
    client.list_jobs()
    python = ".".join(str(part) for part in sys.version_info[:3])
    assert fake.received[0].headers["User-Agent"] == f"prominence-python/{__version__} Python/{python}"


# ---- connections


def test_a_connection_is_used_again(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("GET", "/jobs", refuses("no"), says([]))
    with pytest.raises(ServiceError):
        client.list_jobs()
    client.list_jobs()
    assert (len(fake.received), fake.connections) == (2, 1)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_a_connection_that_the_service_closed_without_a_word_fails_nothing(
    kind: Kind, fake: FakeService, client: ProminenceClient, clock: VirtualClock
) -> None:
    call = CALLS[kind]
    fake.script("GET", "/jobs/1", says([], hang_up=True))
    fake.script(call.method, call.path, call.good)
    client.describe_job(1)
    fake.wait_until_unconnected()
    call.make(client)
    assert fake.sent == [("GET", "/jobs/1"), (call.method, call.path)]
    assert clock.sleeps == []


def test_a_client_may_be_used_again_after_it_was_closed(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("GET", "/jobs", says([]))
    client.list_jobs()
    client.close()
    fake.wait_until_unconnected()
    client.list_jobs()
    assert fake.connections == 2


def test_many_threads_may_share_a_client(fake: FakeService, client: ProminenceClient) -> None:
    for job in range(64):
        fake.script("GET", f"/jobs/{job}", says([{"id": job}]))
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(client.describe_job, range(64)))
    assert [listing.entries for listing in found] == [[{"id": job}] for job in range(64)]
    assert fake.connections <= 16


def test_features_and_revision_are_read_from_the_headers(fake: FakeService, client: ProminenceClient) -> None:
    marked = says([], headers={"Prominence-Features": "wait, other", "Prominence-Revision": "12"})
    fake.script("GET", "/jobs", marked, says([]))
    assert client.features == frozenset()
    assert client.list_jobs().revision == 12
    assert client.list_jobs().revision is None
    assert client.features == {"wait", "other"}
