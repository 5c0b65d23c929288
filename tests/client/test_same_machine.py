"""Uploads and outputs by way of files, where the service is this user's own on this machine."""

from __future__ import annotations

import hashlib
import logging
import os
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_service import Reply, says
from support.object_store import ObjectStore
from support.requests_sent import RequestsSent

from prominence import Artifact, Job, ProminenceClient, Resources, Session, Settings, Task
from prominence.exceptions import ContentMismatch, NotFound, ServiceError
from prominence.local import daemon
from prominence.settings import LocalSettings
from prominence.sharing import SharedFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.fake_service import FakeService
    from support.service import LocalService

CONTENT = Random(1).randbytes(100_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def requests_sent() -> Iterator[RequestsSent]:
    with RequestsSent() as requests:
        yield requests


def routes(requests: RequestsSent) -> list[str]:
    """Methods and paths without what is after them."""
    return [line.partition("?")[0].replace("/prominence/v1", "") for line in requests.lines]


@pytest.fixture
def explained(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "prominence.client.same_machine")
    return caplog


@pytest.fixture
def client(service: LocalService) -> Iterator[ProminenceClient]:
    with ProminenceClient(settings=service.settings()) as client:
        yield client


@pytest.fixture
def session(service: LocalService) -> Iterator[Session]:
    with Session(service.settings()) as session:
        yield session


PLACED = ["POST /data/upload", "POST /data/placed"]
SENT = ["POST /data/upload", "POST /objects"]


def stored(service: LocalService, name: str) -> bytes:
    """The content of an object, as a job gets it."""
    job = service.post_job(f"cat {name}", artifacts=[{"url": name}])
    service.ended(job)
    return service.get(f"/jobs/{job}/stdout").content


def places(service: LocalService) -> set[Path]:
    return set((service.directory / "objects" / "incoming").glob("place-*"))


def given_as_file(tmp_path: Path) -> Path:
    path = tmp_path / "given.bin"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("checksum", [True, False, DIGEST])
@pytest.mark.parametrize("give", [lambda _: CONTENT, lambda _: memoryview(CONTENT), given_as_file])
def test_an_upload_is_a_file_and_two_small_requests(
    give: Callable[[Path], Any],
    checksum: bool | str,
    *,
    client: ProminenceClient,
    service: LocalService,
    requests_sent: RequestsSent,
    tmp_path: Path,
) -> None:
    before = places(service)
    steps: list[tuple[int, int]] = []

    digest = client.upload_object(
        "by-file.bin", give(tmp_path), checksum=checksum, progress=lambda *step: steps.append(step)
    )

    assert routes(requests_sent) == PLACED
    assert digest == DIGEST
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert stored(service, "by-file.bin") == CONTENT
    assert places(service) == before


def test_a_callers_file_is_copied_and_stays_the_callers(
    client: ProminenceClient, service: LocalService, tmp_path: Path
) -> None:
    given = given_as_file(tmp_path)
    mode = given.stat().st_mode

    client.upload_object("copied.bin", given)
    given.write_bytes(b"changed later")

    assert stored(service, "copied.bin") == CONTENT
    assert (given.stat().st_mode, given.stat().st_nlink) == (mode, 1)


@pytest.mark.parametrize("content", [b"", b"x"])
def test_the_smallest_contents_are_stored_too(
    content: bytes, client: ProminenceClient, service: LocalService
) -> None:
    client.upload_object("small.bin", content)

    assert stored(service, "small.bin") == content


def test_a_checksum_that_is_not_that_of_the_content_is_told(client: ProminenceClient) -> None:
    with pytest.raises(ServiceError, match="does not have the checksum"):
        client.upload_object("wrong.bin", CONTENT, checksum="0" * 64)

    assert "wrong.bin" not in {each["name"] for each in client.list_objects()}


def test_a_callers_own_error_ends_an_upload_and_leaves_no_place(
    client: ProminenceClient, service: LocalService
) -> None:
    before = places(service)

    def stop(_sent: int, _size: int | None) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        client.upload_object("stopped.bin", CONTENT, progress=stop)

    assert places(service) == before


def test_a_client_by_url_and_token_sends_everything(
    service: LocalService, requests_sent: RequestsSent
) -> None:
    endpoint = service.endpoint
    with ProminenceClient(endpoint.url, endpoint.token) as client:
        client.upload_object("sent.bin", CONTENT)

    assert routes(requests_sent) == SENT
    assert stored(service, "sent.bin") == CONTENT


def without_the_right_to_write(place: Path) -> None:
    place.chmod(0o400)


def as_a_link(place: Path) -> None:
    place.unlink()
    place.symlink_to("/dev/null")


def with_something_in_it(place: Path) -> None:
    place.write_bytes(b"another program's")


def without_a_place(place: Path) -> None:
    place.unlink()


HARM = [as_a_link, with_something_in_it, without_a_place]


@pytest.mark.parametrize("harm", HARM if os.geteuid() == 0 else [*HARM, without_the_right_to_write])
def test_what_cannot_be_placed_is_sent(
    harm: Callable[[Path], None],
    *,
    client: ProminenceClient,
    service: LocalService,
    requests_sent: RequestsSent,
    explained: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = SharedFiles.open

    def harmed(files: SharedFiles, told: str, flags: int) -> int:
        harm(files.path_of(told))
        return whole(files, told, flags)

    monkeypatch.setattr(SharedFiles, "open", harmed)
    client.upload_object("unplaced.bin", CONTENT)

    assert routes(requests_sent) == SENT
    assert "unplaced.bin cannot be placed" in explained.text
    assert stored(service, "unplaced.bin") == CONTENT


def test_a_place_that_is_lost_before_it_is_taken_over_is_sent(
    client: ProminenceClient,
    service: LocalService,
    requests_sent: RequestsSent,
    explained: pytest.LogCaptureFixture,
) -> None:
    before = places(service)

    def remove_places(_sent: int, _size: int | None) -> None:
        for place in places(service) - before:
            place.unlink()

    client.upload_object("lost.bin", CONTENT, progress=remove_places)

    assert routes(requests_sent) == ["POST /data/upload", "POST /data/placed", "POST /objects"]
    assert "lost.bin cannot be placed, so it is sent: there is no such place" in explained.text
    assert stored(service, "lost.bin") == CONTENT


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What this process writes to a file fails above so many bytes, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("give", [lambda _: CONTENT, given_as_file])
def test_what_has_no_room_here_is_sent(
    give: Callable[[Path], Any],
    client: ProminenceClient,
    service: LocalService,
    requests_sent: RequestsSent,
    tmp_path: Path,
) -> None:
    given, before = give(tmp_path), places(service)
    with files_of_at_most(len(CONTENT) - 1):
        client.upload_object("no-room.bin", given)

    assert routes(requests_sent) == SENT
    assert stored(service, "no-room.bin") == CONTENT
    assert places(service) == before


def test_a_service_that_is_killed_before_it_has_taken_a_file_over_gets_it_all_the_same(
    own_service: LocalService, requests_sent: RequestsSent
) -> None:
    is_killed = False

    def kill(_sent: int, _size: int | None) -> None:
        nonlocal is_killed
        if not is_killed:
            own_service.kill()
            is_killed = True

    with ProminenceClient(settings=own_service.settings()) as client:
        client.upload_object("survived.bin", CONTENT, progress=kill)

        assert routes(requests_sent)[-1] == "POST /objects"
        assert [each["name"] for each in client.list_objects()] == ["survived.bin"]
        assert list((own_service.directory / "objects" / "contents").glob(f"*/{DIGEST}"))


@pytest.fixture
def job(session: Session) -> Job:
    session.client.upload_object("in.bin", CONTENT)
    job = Job(
        name="out",
        tasks=[Task(image="none", command="cp in.bin out.bin")],
        resources=Resources(cpus=1, memory=1),
        artifacts=[Artifact("in.bin")],
        output_files=["out.bin"],
        output_directories=["."],
        session=session,
    )
    job.create()
    job.wait()
    return job


def test_an_output_is_read_without_a_request(job: Job, requests_sent: RequestsSent, tmp_path: Path) -> None:
    assert job.succeeded  # which brings the description
    requests_sent.lines.clear()
    steps: list[tuple[int, int | None]] = []

    def note(*step: Any) -> None:
        steps.append(step)

    assert job.get_output_file("out.bin", encoding=None, progress=note) == CONTENT
    saved = job.get_output_file("out.bin", save_as=tmp_path / "saved.bin", progress=note)
    archive = job.get_output_directory(".", save_as=tmp_path / "saved.tgz")

    assert routes(requests_sent) == []
    assert saved.read_bytes() == CONTENT
    assert steps == [(len(CONTENT), len(CONTENT))] * 2
    assert archive.stat().st_size > len(CONTENT)


def test_a_saved_output_is_the_callers_own(job: Job, tmp_path: Path) -> None:
    saved = job.get_output_file("out.bin", save_as=tmp_path / "saved.bin")
    saved.write_bytes(b"changed")

    assert job.get_output_file("out.bin", encoding=None) == CONTENT
    assert saved.stat().st_nlink == 1


def output_path(job: Job, service: LocalService) -> Path:
    snapshot = job._refresh()
    return service.directory / str(snapshot.entry["outputFiles"][0]["path"])


def test_an_output_whose_file_has_another_size_is_fetched(
    job: Job, service: LocalService, requests_sent: RequestsSent, tmp_path: Path
) -> None:
    path = output_path(job, service)
    whole = path.read_bytes()
    path.write_bytes(whole + b"more")
    requests_sent.lines.clear()

    with pytest.raises(ContentMismatch):
        job.get_output_file("out.bin", encoding=None)
    with pytest.raises(ContentMismatch):
        job.get_output_file("out.bin", save_as=tmp_path / "saved.bin")

    assert routes(requests_sent)
    assert not (tmp_path / "saved.bin").exists()


def test_an_output_that_was_removed_meanwhile_is_told_as_the_service_does(
    job: Job, service: LocalService, tmp_path: Path
) -> None:
    output_path(job, service).unlink()

    with pytest.raises(NotFound):
        job.get_output_file("out.bin", encoding=None)
    with pytest.raises(NotFound):
        job.get_output_file("out.bin", save_as=tmp_path / "saved.bin")

    assert not (tmp_path / "saved.bin").exists()


@pytest.mark.parametrize("save", [False, True])
def test_an_output_that_another_file_system_hides_is_fetched(
    save: bool,
    *,
    job: Job,
    service: LocalService,
    requests_sent: RequestsSent,
    explained: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """A client that sees the endpoint, as in a container with a part of the state directory."""
    partly = tmp_path / "partly"
    partly.mkdir(mode=0o700)
    for name in ("endpoint.json", "service.lock"):
        (partly / name).hardlink_to(service.directory / name)
    elsewhere = partly / "attempts"
    elsewhere.mkdir()
    settings = Settings(url=None, token=None, local=LocalSettings(partly))
    with Session(settings) as session:
        same = Job(id=job.id, session=session)

        found = same.get_output_file("out.bin", save_as=tmp_path / "saved" if save else None, encoding=None)

    assert (found.read_bytes() if isinstance(found, Path) else found) == CONTENT
    assert routes(requests_sent)[-1].startswith("GET /objects/jobs/")
    assert "is fetched, since it cannot be" in explained.text


def test_a_state_directory_that_was_copied_is_none_of_a_running_service(
    service: LocalService, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    shutil.copy(service.directory / "endpoint.json", copy / "endpoint.json")

    assert daemon.running(LocalSettings(copy)) is None


@pytest.mark.parametrize("path", ["/etc/hostname", "../../etc/hostname", "attempts/../../secret", "", "."])
def test_a_path_that_leads_elsewhere_is_not_followed(
    path: str, client: ProminenceClient, requests_sent: RequestsSent
) -> None:
    url = f"{client.url.removesuffix('/prominence/v1')}/objects/none"

    with pytest.raises(ServiceError):
        client.download(url, service_path=path)

    assert routes(requests_sent) == ["GET /objects/none"]


def test_another_service_that_tells_a_path_is_not_believed(fake: FakeService, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.write_bytes(b"")
    store = ObjectStore(fake)
    store.add("theirs.bin", b"theirs")
    place = {"url": store.url("mine.bin"), "path": str(private)}
    fake.script("POST", "/data/upload", says(place, 201))
    fake.script("PUT", "/bucket/mine.bin", Reply(200))
    with ProminenceClient(fake.url, "token") as client:
        client.upload_object("mine.bin", b"mine", checksum=False)
        fetched = client.download(store.url("theirs.bin"), service_path=str(private))

    assert fetched == b"theirs"
    assert private.read_bytes() == b""
    assert not any("Prominence-Files" in request.headers for request in fake.received)
