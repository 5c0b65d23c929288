"""What strangers can do to the service, and one job to another's files: nothing."""

from __future__ import annotations

import os
import socket
import tarfile
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import jwt
import pytest
import requests
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from support.clock import VirtualClock
from support.service import job
from support.until import until

from prominence.exceptions import LocalServiceError
from prominence.local import connections, daemon
from prominence.local.connections import Connection
from prominence.local.directory import Endpoint, StateDirectory
from prominence.local.tokens import Signer
from prominence.settings import LocalSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send
    from support.service import LocalService


@pytest.fixture
def wire(service: LocalService) -> Iterator[socket.socket]:
    """A connection to the service on which a test says what it likes."""
    parts = urlsplit(service.endpoint.url)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=20) as connection:
        yield connection


@contextmanager
def _served_here(app: ASGIApp) -> Iterator[int]:
    """An application behind the service's kind of connection, in a thread of this process; its port."""
    server = uvicorn.Server(uvicorn.Config(app, http=Connection, lifespan="off", log_config=None))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    until(lambda: server.started)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join()


def _answer(connection: socket.socket) -> bytes:
    """All that comes until the service closes the connection, or until a full answer without body."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        received += piece
    return received


# --- who may ask


def test_it_listens_on_loopback_alone(service: LocalService) -> None:
    port = urlsplit(service.endpoint.url).port
    with open("/proc/net/tcp", encoding="ascii") as table:  # noqa: PTH123 - a file of the kernel's
        listening = [line.split()[1] for line in table if line.split()[3] == "0A"]

    assert [each for each in listening if each.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "example.org"},
        {"Host": "example.org:80"},
        {"Host": "127.0.0.1.example.org"},
        {"Host": "127.0.0.1:80:example.org"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Origin": "null"},
    ],
)
def test_web_pages_are_refused_even_with_the_token(service: LocalService, headers: dict[str, str]) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = service.request(method, "/jobs", headers=headers)

        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_two_hosts_are_no_host(service: LocalService) -> None:
    address = urlsplit(service.endpoint.url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=30)
    connection.putrequest("GET", f"{address.path}/jobs", skip_host=True)
    for name, value in (("Host", "example.org"), ("Host", "localhost")):
        connection.putheader(name, value)
    connection.putheader("Authorization", f"Bearer {service.endpoint.token}")
    connection.endheaders()

    assert connection.getresponse().status == 403
    connection.close()


def _forged(service: LocalService, **changes: object) -> str:
    claims = {**jwt.decode(service.endpoint.token, options={"verify_signature": False}), **changes}
    return jwt.encode(claims, "another secret of at least 32 bytes, so that no warning is given")


def test_only_the_services_own_tokens_are_accepted(service: LocalService) -> None:
    token = service.endpoint.token
    unsigned = jwt.encode(jwt.decode(token, options={"verify_signature": False}), None, algorithm="none")
    head, body, signature = token.split(".")
    wrong = ["", "x", token[:-1], f"{head}.{body}.", f"{head}..{signature}", unsigned, _forged(service)]

    for each in [*wrong, "x" * 10_000]:
        answer = requests.get(
            f"{service.endpoint.url}/jobs", headers={"Authorization": f"Bearer {each}"}, timeout=10
        )
        assert (answer.status_code, answer.json()) == (401, {"error": "Authentication failure"}), each


def test_a_token_expires_and_is_then_refused_though_it_was_known() -> None:
    clock = VirtualClock()
    signer = Signer("s" * 64, clock)
    token = signer.user_token()
    assert signer.accepted(token)
    assert not signer.wears_out(token)

    clock.advance(200 * 86400)
    assert signer.accepted(token)
    assert signer.wears_out(token)
    clock.advance(200 * 86400)
    assert signer.accepted(token) is None
    assert signer.wears_out(token)


def test_refused_tokens_are_not_remembered() -> None:
    signer = Signer("s" * 64)
    good = signer.user_token()
    assert signer.accepted(good)

    for number in range(3000):
        assert signer.accepted(f"{good}{number}") is None

    assert len(signer._known) == 1


# --- what is read before anybody is known


def test_a_head_without_end_is_cut_off(wire: socket.socket) -> None:
    wire.sendall(b"GET /prominence/v1/health HTTP/1.1\r\nHost: localhost\r\n")
    line = b"X-Long: " + b"x" * 8000 + b"\r\n"
    try:
        for _ in range(100):
            wire.sendall(line)
    except OSError:
        pass  # it does not have to listen to the end
    else:
        assert _answer(wire).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("long_part", ["path", "header"])
def test_a_large_head_in_one_piece_is_refused(service: LocalService, long_part: str) -> None:
    filler = "x" * (connections.MOST_HEAD_BYTES + 1)
    query = filler if long_part == "path" else ""
    headers = {"X-Long": filler} if long_part == "header" else {}

    try:
        answer = service.request("GET", f"/jobs?name={query}", headers=headers)
    except requests.ConnectionError:
        return  # cut off while it was still sending
    assert answer.status_code == 431


def test_a_head_at_the_limit_is_read(service: LocalService) -> None:
    answer = service.request("GET", "/jobs", headers={"X-Long": "x" * (connections.MOST_HEAD_BYTES - 4000)})

    assert answer.status_code == 200


def test_a_body_above_the_limit_is_refused(service: LocalService) -> None:
    answer = service.request("POST", "/jobs", data=b'"' + b"x" * 2_000_000 + b'"')

    assert answer.status_code == 413


async def _read_and_answer(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    try:
        await request.body()
    except ClientDisconnect:
        return
    await Response(b"")(scope, receive, send)


class TestSlowClients:
    """With the times shortened in a server of the test's own process."""

    @pytest.fixture
    def hurried(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
        monkeypatch.setattr(connections, "HEAD_TIME_S", 0.2)
        monkeypatch.setattr(connections, "BODY_PAUSE_S", 0.2)
        monkeypatch.setattr(connections, "MOST_CONNECTIONS", 8)
        with _served_here(_read_and_answer) as port:
            yield port

    @pytest.mark.parametrize(
        "said",
        [
            b"",
            b"GET /prominence/v1/health HT",
            b"GET /prominence/v1/health HTTP/1.1\r\nHost: localhost\r\n",
            b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nbegin",
        ],
        ids=["nothing", "half a line", "half a head", "half a body"],
    )
    def test_who_stops_in_the_middle_is_cut_off(self, hurried: int, said: bytes) -> None:
        with socket.create_connection(("127.0.0.1", hurried), timeout=20) as connection:
            connection.sendall(said)

            assert _answer(connection) == b""

    def test_one_byte_at_a_time_is_not_enough(self, hurried: int) -> None:
        with socket.create_connection(("127.0.0.1", hurried), timeout=20) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n")

            def is_cut_off() -> bool:
                try:
                    connection.sendall(b"X: y\r\n")
                except OSError:
                    return True
                return False

            until(is_cut_off)

    def test_idle_connections_make_room_for_new_ones(self, hurried: int) -> None:
        crowd = [socket.create_connection(("127.0.0.1", hurried), timeout=20) for _ in range(30)]

        answer = requests.get(f"http://127.0.0.1:{hurried}/", timeout=10)

        assert answer.status_code == 200
        for each in crowd:
            each.close()


# --- one job and the files of another


def test_no_path_of_the_api_leads_out_of_a_jobs_scratch(service: LocalService, tmp_path: Path) -> None:
    gate, secret = tmp_path / "gate", tmp_path / "secret"
    secret.write_text("secret")
    wait = f"while ! test -e {gate}; do sleep 0.02; done"
    victim = service.post_job(f'sh -c "echo private > private.txt; echo ready; {wait}"')
    script = f"ln -s {secret} link; ln -s {tmp_path} dir; ln -s ../../{victim}-1/scratch other; echo ready"
    job_id = service.post_job(f'sh -c "{script}; {wait}"')
    until(lambda: service.output(victim) and service.output(job_id))

    for path in (
        "/etc/passwd",
        "..",
        "../stdout.0",
        f"../../{victim}-1/scratch/private.txt",
        "other/private.txt",
        "link",
        "dir/secret",
        "./../outputs",
        "a/../../x",
    ):
        answer = service.request("PUT", f"/jobs/{job_id}/snapshot", params={"path": path})
        assert (answer.status_code, answer.json()) == (400, {"error": "Invalid path"}), path
    assert service.request("PUT", f"/jobs/{job_id}/snapshot", params={"path": "."}).status_code == 200
    url = service.request("GET", f"/jobs/{job_id}/snapshot", params={"path": "."}).json()["url"]
    with tarfile.open(fileobj=BytesIO(requests.get(url, timeout=10).content)) as archive:
        assert {each.name.rpartition("/")[2] for each in archive if each.issym()} == {"link", "dir", "other"}
        assert not [each.name for each in archive if each.isfile()]
    gate.touch()
    assert service.ended(job_id)["status"] == service.ended(victim)["status"] == "completed"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "link", "fifo", "dir/passwd"])
def test_an_output_is_a_file_of_the_job_or_nothing(service: LocalService, name: str) -> None:
    script = "mkfifo fifo; ln -s /etc/passwd link; ln -s /etc dir; echo 1 > ../x"
    job_id = service.post_job(f'sh -c "{script}"', outputFiles=[name])

    ended = service.ended(job_id)

    assert ended["status"] == "failed"
    assert ended["outputFiles"] == [{"name": name, "url": ""}]


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped", "x/.."])
def test_an_input_stays_in_its_jobs_scratch(service: LocalService, name: str) -> None:
    inputs = [{"filename": name, "content": "eA=="}]
    answer = service.request(
        "POST",
        "/jobs",
        json={
            "resources": {"cpus": 1, "memory": 1, "disk": 1},
            "tasks": [{"image": "none", "runtime": "singularity", "cmd": "ls"}],
            "inputs": inputs,
        },
    )
    if answer.status_code == 400:
        return
    job_id = answer.json()["id"]

    service.ended(job_id)

    assert service.output(job_id) == "escaped\n"
    assert not (service.state.attempts / f"{job_id}-1" / "escaped").exists()
    assert not (service.state.attempts / "escaped").exists()


# --- two users of one machine


def test_the_state_directory_is_closed_to_others(service: LocalService) -> None:
    assert service.directory.stat().st_mode & 0o777 == 0o700
    for name in ("endpoint.json", "secret", "service.lock", "service.db"):
        mode = (service.directory / name).stat().st_mode & 0o777
        assert mode & 0o077 == 0 or name == "service.db", name


def _published_by_another_user(path: Path) -> StateDirectory:
    """A directory like those that a service leaves, where a stranger waits for clients."""
    state = StateDirectory(path)
    state.open()
    state.publish(Endpoint("http://127.0.0.1:9/prominence/v1", "stolen", os.getpid(), "1", 1, 1.0))
    return state


def test_a_service_in_a_directory_of_somebody_else_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = _published_by_another_user(tmp_path / "state")
    assert daemon.running(LocalSettings(state.path)) is not None
    monkeypatch.setattr(os, "getuid", lambda: state.path.stat().st_uid + 1)

    for use in (daemon.running, daemon.ensure, daemon.stop):
        with pytest.raises(LocalServiceError, match="belongs to another user"):
            use(LocalSettings(state.path))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory to somebody else")
def test_root_does_not_use_a_service_of_an_ordinary_user(tmp_path: Path) -> None:
    state = _published_by_another_user(tmp_path / "state")
    os.chown(state.path, 12345, 12345)

    with pytest.raises(LocalServiceError, match="belongs to another user"):
        daemon.running(LocalSettings(state.path))


def test_presigned_urls_end_with_their_time_also_when_the_clock_jumps() -> None:
    clock = VirtualClock()
    signer = Signer("s" * 64, clock)
    expires = int(clock.time()) + 600
    query = {"Expires": str(expires), "Signature": signer.signature("/objects/x", expires, "GET")}
    assert signer.accepts_path("/objects/x", query, "GET")

    clock.jump(-86400)
    assert signer.accepts_path("/objects/x", query, "GET")
    clock.jump(2 * 86400)
    assert not signer.accepts_path("/objects/x", query, "GET")


def test_what_gives_access_to_storage_and_images_is_not_shown(service: LocalService) -> None:
    access = {
        "task": {"imagePullCredential": {"username": "me", "token": "s3cret"}},
        "storage": {
            "type": "webdav",
            "mountpoint": "/data",
            "webdav": {"url": "https://dav.test/", "username": "me", "password": "s3cret"},
        },
    }
    job_id = service.post_job("true", **access)
    workflow = {"name": "w", "jobs": [{"name": "j", **job("true", **access)}]}
    workflow_id = service.request("POST", "/workflows", json=workflow).json()["id"]

    answers = [
        service.get(path, **query).text
        for path in ("/jobs", "/workflows")
        for query in ({"all": ""}, {"all": "", "detail": ""})
    ]
    answers += [service.get(path).text for path in (f"/jobs/{job_id}", f"/workflows/{workflow_id}")]

    assert all(f'"id":{job_id}' in answer or f'"id":{workflow_id}' in answer for answer in answers)
    assert not any("s3cret" in answer for answer in answers)
    assert '"imagePullCredential":{"username":"***","token":"***"}' in answers[0]
