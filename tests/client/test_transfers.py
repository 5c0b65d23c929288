"""Uploads and downloads, against a store that breaks off, expires, changes and damages."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_service import RESET, Reply, page, refuses, says
from support.object_store import EXPIRED, ObjectStore, broken_after, damaged, etag_of, replaced_by

from prominence import Artifact, Job, Session
from prominence.exceptions import (
    ContentMismatch,
    InvalidDescription,
    NotFound,
    PermissionDenied,
    ServiceError,
    ServiceUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.clock import VirtualClock
    from support.fake_service import FakeService

    from prominence import ProminenceClient

CONTENT = bytes(range(256)) * 4000
S3 = {"x-amz-request-id": "1"}


@pytest.fixture
def store(fake: FakeService) -> ObjectStore:
    found = ObjectStore(fake)
    found.add("out.dat", CONTENT)
    return found


@pytest.fixture
def session(client: ProminenceClient, clock: VirtualClock) -> Iterator[Session]:
    with Session(client=client, clock=clock) as session:
        yield session


def ranges(store: ObjectStore) -> list[str | None]:
    return [request.headers["Range"] for request in store.requests]


# ---- downloads


def test_a_download_goes_on_where_it_broke_off(store: ObjectStore, client: ProminenceClient) -> None:
    store.mishaps = [broken_after(100_000), broken_after(300_000)]

    assert client.download(store.url("out.dat")) == CONTENT

    assert ranges(store) == [None, "bytes=100000-", "bytes=400000-"]
    etag = etag_of(CONTENT)
    assert [request.headers["If-Range"] for request in store.requests[1:]] == [etag, etag]
    assert all("Authorization" not in request.headers for request in store.requests)


def test_a_file_is_there_as_a_whole_or_not_at_all(
    store: ObjectStore, client: ProminenceClient, tmp_path: Path
) -> None:
    target = tmp_path / "sub" / "out.dat"
    target.parent.mkdir()
    seen = []

    def look(done: int, _: int | None) -> None:
        seen.append((done, target.exists()))

    assert client.download_to_file(store.url("out.dat"), target, progress=look) == target
    assert seen[-1] == (len(CONTENT), False)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_longest_name_that_a_file_can_have_is_written(
    store: ObjectStore, client: ProminenceClient, tmp_path: Path
) -> None:
    target = tmp_path / ("\N{CJK UNIFIED IDEOGRAPH-7269}" * 85)

    client.download_to_file(store.url("out.dat"), target)

    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("reply", [page(404), replace(page(503)), RESET])
def test_a_file_that_was_there_stays_when_a_download_fails(
    reply: Reply, store: ObjectStore, client: ProminenceClient, tmp_path: Path
) -> None:
    (tmp_path / "out.dat").write_text("before")
    store.fake.script("GET", "/bucket/out.dat", reply)

    with pytest.raises((ServiceError, ServiceUnavailable)):
        client.download_to_file(store.url("out.dat"), tmp_path / "out.dat")

    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.dat"]
    assert (tmp_path / "out.dat").read_text() == "before"


def test_a_caller_can_end_a_download(store: ObjectStore, client: ProminenceClient, tmp_path: Path) -> None:
    def enough(done: int, _: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.download_to_file(store.url("out.dat"), tmp_path / "out.dat", progress=enough)

    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_link_stays_a_link(store: ObjectStore, client: ProminenceClient, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("before")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    client.download_to_file(store.url("out.dat"), tmp_path / "link")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == CONTENT


def test_what_is_no_file_is_not_replaced(
    store: ObjectStore, client: ProminenceClient, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(FileExistsError, match="not a file that could be replaced"):
            client.download_to_file(store.url("out.dat"), path)
    with pytest.raises(FileNotFoundError):
        client.download_to_file(store.url("out.dat"), tmp_path / "missing" / "out.dat")
    assert store.requests == []


def test_progress_says_how_much_of_how_much(store: ObjectStore, client: ProminenceClient) -> None:
    told: list[tuple[int, int | None]] = []
    store.mishaps = [broken_after(100_000)]

    client.download(store.url("out.dat"), progress=lambda done, total: told.append((done, total)))

    assert told[0] == (0, len(CONTENT))
    assert (100_000, len(CONTENT)) in told
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert told == sorted(told)


def test_an_empty_object_is_empty(store: ObjectStore, client: ProminenceClient, tmp_path: Path) -> None:
    store.add("empty", b"")

    assert client.download(store.url("empty"), size=0) == b""
    assert client.download_to_file(store.url("empty"), tmp_path / "empty").read_bytes() == b""


def test_an_object_that_changed_is_fetched_from_the_start(
    store: ObjectStore, client: ProminenceClient
) -> None:
    def change(reply: Reply) -> Reply:
        store.add("out.dat", CONTENT[::-1])
        return replace(reply, sent=100_000)

    store.mishaps = [change]

    assert client.download(store.url("out.dat")) == CONTENT[::-1]
    assert ranges(store) == [None, "bytes=100000-"]


def test_a_part_of_another_object_is_not_taken(store: ObjectStore, client: ProminenceClient) -> None:
    """Some stores do not know If-Range."""

    def other(reply: Reply) -> Reply:
        return replace(reply, body=b"x" * len(reply.body), headers={**reply.headers, "ETag": '"other"'})

    store.mishaps = [broken_after(100_000), other]

    assert client.download(store.url("out.dat")) == CONTENT
    assert ranges(store) == [None, "bytes=100000-", None]


WITHOUT_RESUMING: dict[str, dict[str, Any]] = {
    "no ranges": {"status": 200, "body": CONTENT, "headers": {}},
    "another place": {"headers": {"ETag": etag_of(CONTENT)}},
    "a shorter object": {"status": 416, "body": b""},
}


@pytest.mark.parametrize("answer", WITHOUT_RESUMING)
def test_a_store_that_cannot_go_on_begins_again(
    answer: str, store: ObjectStore, client: ProminenceClient
) -> None:
    store.mishaps = [
        broken_after(100_000),
        lambda reply: replace(reply, **WITHOUT_RESUMING[answer]),
    ]

    assert client.download(store.url("out.dat")) == CONTENT


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_etag_nothing_is_put_together(
    etag: str, store: ObjectStore, client: ProminenceClient
) -> None:
    store.headers = {"ETag": etag}
    store.mishaps = [broken_after(100_000)]

    assert client.download(store.url("out.dat")) == CONTENT
    assert ranges(store) == [None, None]


def test_an_expired_url_is_renewed_and_the_download_goes_on(
    store: ObjectStore, client: ProminenceClient
) -> None:
    first = store.url("out.dat")

    def expire(reply: Reply) -> Reply:
        store.expired.add("signature-1")
        return replace(reply, sent=100_000)

    store.mishaps = [expire]

    assert client.download(first, renew=lambda: store.url("out.dat")) == CONTENT

    asked = [(request.query["Signature"], request.headers["Range"]) for request in store.requests]
    assert asked == [
        ("signature-1", None),
        ("signature-1", "bytes=100000-"),
        ("signature-2", "bytes=100000-"),
    ]


def test_a_fresh_url_that_is_refused_too_ends_the_download(
    store: ObjectStore, client: ProminenceClient
) -> None:
    store.expired = {"signature-1", "signature-2"}

    with pytest.raises(PermissionDenied, match="expired") as caught:
        client.download(store.url("out.dat"), renew=lambda: store.url("out.dat"))

    assert len(store.requests) == 2
    assert "signature-" not in f"{caught.value}{vars(caught.value)}"


def test_another_url_does_not_help_where_there_is_no_object(
    store: ObjectStore, client: ProminenceClient
) -> None:
    with pytest.raises(NotFound):
        client.download(store.url("missing"), renew=lambda: store.url("out.dat"))


def test_without_a_way_to_renew_a_refusal_is_final(store: ObjectStore, client: ProminenceClient) -> None:
    store.expired = {"signature-1"}

    with pytest.raises(PermissionDenied):
        client.download(store.url("out.dat"))
    assert len(store.requests) == 1


def test_a_download_that_gets_nowhere_ends(
    store: ObjectStore, client: ProminenceClient, clock: VirtualClock
) -> None:
    store.mishaps = [broken_after(100_000)] + [replaced_by(RESET)] * 1000

    with pytest.raises(ServiceUnavailable, match="broke") as caught:
        client.download(store.url("out.dat"))

    assert 30 < clock.elapsed <= 60
    assert caught.value.attempts > 5


def test_a_download_may_take_longer_than_any_request(
    store: ObjectStore, client: ProminenceClient, clock: VirtualClock
) -> None:
    def slowly(reply: Reply) -> Reply:
        clock.advance(300)
        return replace(reply, sent=100_000)

    store.mishaps = [slowly] * 20

    assert client.download(store.url("out.dat")) == CONTENT
    assert clock.elapsed > 1000


def test_a_download_that_stalls_is_taken_up_again(
    store: ObjectStore, client: ProminenceClient, clock: VirtualClock
) -> None:
    gone = threading.Event()
    allowed: list[tuple[float, float]] = []

    def soon(timeouts: tuple[float, float]) -> tuple[float, float]:
        allowed.append(timeouts)
        return timeouts[0], 0.3

    def stalling(reply: Reply) -> Reply:
        return replace(reply, midway=gone.wait)

    def again(reply: Reply) -> Reply:
        gone.set()
        return reply

    clock.before_request = soon
    store.mishaps = [stalling, again]

    assert client.download(store.url("out.dat")) == CONTENT
    assert ranges(store) == [None, f"bytes={len(CONTENT) // 2}-"]
    assert allowed == [(30, 30)] * 2


KNOWN_CHECKSUMS: dict[str, dict[str, str]] = {
    "S3's ETag": S3,
    "uploaded with a checksum": {"x-amz-meta-prominence_sha256": hashlib.sha256(CONTENT).hexdigest()},
    "Azure": {"x-ms-blob-content-md5": "YTRpbKGwUNRWTVihiqnTWg=="},
    "RFC 9530": {"Repr-Digest": "sha-256=:Bir5zNiQuj0GfKcVAni8xCAGm9gvbkEWECkwPf1tZh4=:"},
}


@pytest.mark.parametrize("told", KNOWN_CHECKSUMS)
def test_damaged_content_is_fetched_once_more(
    told: str, store: ObjectStore, client: ProminenceClient
) -> None:
    store.headers = KNOWN_CHECKSUMS[told]
    store.mishaps = [damaged]

    assert client.download(store.url("out.dat")) == CONTENT
    assert len(store.requests) == 2


@pytest.mark.parametrize("told", KNOWN_CHECKSUMS)
def test_content_that_stays_damaged_is_not_handed_out(
    told: str, store: ObjectStore, client: ProminenceClient, tmp_path: Path
) -> None:
    store.headers = KNOWN_CHECKSUMS[told]
    store.mishaps = [damaged, damaged]

    with pytest.raises(ContentMismatch, match=r"/bucket/out\.dat has (md5|sha256) ") as caught:
        client.download_to_file(store.url("out.dat"), tmp_path / "out.dat")

    assert "signature-" not in str(caught.value)
    assert not (tmp_path / "out.dat").exists()


@pytest.mark.parametrize(
    "headers", [{}, {**S3, "x-amz-server-side-encryption": "aws:kms"}, {**S3, "ETag": '"0123-2"'}]
)
def test_an_etag_that_is_no_checksum_is_not_taken_for_one(
    headers: dict[str, str], store: ObjectStore, client: ProminenceClient
) -> None:
    store.headers = {"ETag": f'"{"0" * 32}"', **headers}

    assert client.download(store.url("out.dat")) == CONTENT


def test_a_checksum_that_the_caller_knows_counts(store: ObjectStore, client: ProminenceClient) -> None:
    right = hashlib.sha256(CONTENT).hexdigest()

    assert client.download(store.url("out.dat"), sha256=right.upper()) == CONTENT
    with pytest.raises(ContentMismatch, match=f"sha256 {right}, and should have sha256 0000"):
        client.download(store.url("out.dat"), sha256="0" * 64)


def test_a_size_that_is_known_counts(store: ObjectStore, client: ProminenceClient) -> None:
    with pytest.raises(ContentMismatch, match="has 1024000 bytes, and should have 1024001 bytes"):
        client.download(store.url("out.dat"), size=len(CONTENT) + 1)


# ---- a job's outputs


@pytest.fixture
def job(store: ObjectStore, session: Session) -> Job:
    def describe(_: object) -> Reply:
        output = {"name": "res/out.dat", "url": store.url("out.dat"), "size": len(CONTENT)}
        entry = {
            "id": 7,
            "name": "w/j/4",
            "status": "completed",
            "events": {"endTime": 1},
            "execution": {"tasks": [{"exitCode": 0}]},
            "outputFiles": [output, {**output, "name": "out_$i", "url": store.url("out_4")}],
            "outputDirs": [{**output, "name": "results"}],
        }
        return says([entry])

    store.add("out_4", CONTENT)
    store.fake.script("GET", "/jobs/7", describe)
    return Job(id=7, session=session)


def test_an_output_is_text_bytes_or_a_file(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "saved"

    assert job.get_output_file("out.dat") == CONTENT.decode("utf-8", "replace")
    assert job.get_output_file("res/out.dat", encoding=None) == CONTENT
    assert job.get_output_file("out.dat", path) == path
    assert path.read_bytes() == CONTENT
    assert job.get_output_directory("results") == CONTENT
    assert job.get_output_directory("results", save_as=str(path)) == path


def test_where_an_output_is_to_be_saved_is_looked_at_first(
    job: Job, store: ObjectStore, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"

    with pytest.raises(FileNotFoundError, match="no such directory to save in") as caught:
        job.get_output_file("out.dat", missing / "out.dat")
    assert caught.value.filename == str(missing)
    with pytest.raises(FileExistsError, match="not a file that could be replaced"):
        job.get_output_directory("results", tmp_path)
    assert store.fake.received == []


def test_an_output_is_the_one_that_was_named(store: ObjectStore, session: Session) -> None:
    """Not another whose name looks alike."""
    names = ["a.tgz", "d/a", "a"]
    for name in names:
        store.add(name, name.encode())
    outputs = [{"name": name, "url": store.url(name), "size": len(name)} for name in names]
    store.fake.script("GET", "/jobs/8", says([{"id": 8, "status": "completed", "outputFiles": outputs}]))

    job = Job(id=8, session=session)
    assert [job.get_output_file(name) for name in names] == names


def test_an_output_of_a_factorys_job_has_its_own_name(job: Job) -> None:
    assert job.get_output_file("out_4", encoding=None) == CONTENT
    with pytest.raises(NotFound, match=r"no output 'out_5'; it has res/out\.dat, out_\$i"):
        job.get_output_file("out_5")


def test_an_outputs_url_that_expired_is_asked_for_again(job: Job, store: ObjectStore) -> None:
    assert job.succeeded  # it is described, with URLs
    store.expired = {"signature-1"}
    told: list[tuple[int, int | None]] = []

    found = job.get_output_file(
        "out.dat", encoding=None, progress=lambda done, total: told.append((done, total))
    )

    assert found == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert store.fake.sent.count(("GET", "/jobs/7")) == 2


# ---- uploads


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_what_is_uploaded_is_stored(
    content: bytes, checksum: bool, store: ObjectStore, client: ProminenceClient, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    right = hashlib.sha256(content).hexdigest()

    for each in (content, path, str(path)):
        store.objects.clear()
        assert client.upload_object("vo.example.org/arg.bin", each, checksum=checksum) == right
        assert store.objects == {"vo.example.org/arg.bin": content}

    wanted = {"filename": "vo.example.org/arg.bin", "checksum": right if checksum else None}
    assert store.fake.received[0].json() == wanted
    sent = store.requests[0]
    assert sent.method == ("POST" if checksum else "PUT")
    assert "Authorization" not in sent.headers
    assert checksum or "Content-Type" not in sent.headers  # it would be part of what is signed


@pytest.mark.parametrize("checksum", [True, False])
def test_an_upload_that_breaks_off_begins_again_with_a_fresh_url(
    checksum: bool, store: ObjectStore, client: ProminenceClient
) -> None:
    store.mishaps = [replaced_by(RESET), replaced_by(page(503))]
    told: list[int] = []

    client.upload_object("arg.bin", CONTENT, checksum=checksum, progress=lambda done, _: told.append(done))

    assert store.objects["arg.bin"] == CONTENT
    assert store.fake.sent.count(("POST", "/data/upload")) == 3
    assert told.count(len(CONTENT)) == 3
    urls = {(request.query.get("Signature"), request.body) for request in store.requests}
    assert len(urls) == 3


def test_an_upload_that_never_gets_through_ends(store: ObjectStore, client: ProminenceClient) -> None:
    store.mishaps = [replaced_by(RESET)] * 1000

    with pytest.raises(ServiceUnavailable, match="broke"):
        client.upload_object("arg.bin", CONTENT)
    assert 5 < len(store.requests) < 50


def test_a_long_upload_is_begun_again_a_few_times(
    store: ObjectStore, client: ProminenceClient, clock: VirtualClock
) -> None:
    def late(_: Reply) -> Reply:
        clock.advance(1200)
        return RESET

    store.mishaps = [late] * 4
    client.upload_object("arg.bin", CONTENT)
    assert store.objects["arg.bin"] == CONTENT

    store.mishaps = [late] * 1000
    with pytest.raises(ServiceUnavailable, match="broke"):
        client.upload_object("arg.bin", CONTENT)
    assert len(store.requests) == 5 + 5


def test_a_refused_upload_is_not_repeated(store: ObjectStore, client: ProminenceClient) -> None:
    store.mishaps = [replaced_by(Reply(403, EXPIRED + b"signature-1", "application/xml"))]

    with pytest.raises(PermissionDenied, match="expired") as caught:
        client.upload_object("arg.bin", CONTENT)

    assert len(store.requests) == 1
    assert "signature-1" not in f"{caught.value}{vars(caught.value)}"
    assert caught.value.url == f"{store.fake.address}/bucket"


def test_a_store_that_took_something_else_is_told(store: ObjectStore, client: ProminenceClient) -> None:
    store.headers = {**S3, "ETag": f'"{"0" * 32}"'}

    with pytest.raises(ContentMismatch, match=f"took as arg.bin has md5 {'0' * 32}"):
        client.upload_object("arg.bin", CONTENT)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "shorter": (lambda path: os.truncate(path, 10), "1024000 bytes"),
    "other": (lambda path: path.write_bytes(CONTENT[::-1]), "changed meanwhile"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_uploaded_is_told(
    change: str, store: ObjectStore, client: ProminenceClient, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    make, text = CHANGES[change]
    place = store.fake._scripts["POST", "/data/upload"][0]
    store.fake.script("POST", "/data/upload", lambda request: (make(path), place(request))[1])

    with pytest.raises(ContentMismatch, match=text):
        client.upload_object("arg.bin", path)


def test_what_is_raised_while_reading_is_not_taken_for_a_broken_connection(
    store: ObjectStore, client: ProminenceClient
) -> None:
    def full(_done: int, _total: int | None) -> None:
        raise OSError("no space left on the terminal")

    with pytest.raises(OSError, match="no space left on the terminal"):
        client.upload_object("arg.bin", CONTENT, progress=full)
    assert store.fake.sent.count(("POST", "/data/upload")) == 1


def test_files_that_cannot_be_uploaded_are_told_before_anything_is_sent(
    store: ObjectStore, client: ProminenceClient, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        client.upload_object("arg.bin", tmp_path / "missing")
    with pytest.raises(OSError, match="archive"):
        client.upload_object("arg.bin", tmp_path)
    assert store.fake.received == []


@pytest.mark.parametrize(
    "name", ["", "/", "a//b", "/a", "a/", "../a", "a/./b", "http://host/a", "https.bin", "a\nb", "a" * 901]
)
def test_names_that_no_object_can_have_are_not_sent(
    name: str, store: ObjectStore, client: ProminenceClient
) -> None:
    with pytest.raises(InvalidDescription, match=r"^name = .*: a name, or group/name"):
        client.upload_object(name, b"x")
    assert store.fake.received == []


def test_a_name_with_a_slash_is_explained_where_it_is_refused(
    fake: FakeService, client: ProminenceClient
) -> None:
    denied = refuses("Not authorized to access upload with this path", 403)
    fake.script("POST", "/data/upload", denied)

    with pytest.raises(PermissionDenied, match="an object of the group 'runs', which is not one of yours"):
        client.upload_object("runs/arg.bin", b"x")
    with pytest.raises(PermissionDenied) as caught:
        client.upload_object("arg.bin", b"x")
    assert "group" not in str(caught.value)


def test_a_service_that_names_no_place_is_told(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("POST", "/data/upload", says({}, 201))

    with pytest.raises(ServiceUnavailable, match="the answer has no url"):
        client.upload_object("arg.bin", b"x")


@pytest.mark.usefixtures("store")
def test_a_place_does_not_show_its_signature(client: ProminenceClient) -> None:
    for sha256 in ("0" * 64, None):
        place = client.create_upload("arg.bin", sha256)
        assert "signature-" not in repr(place)
        assert "signature-" in f"{place.url}{place.fields}"


def test_an_artifact_is_uploaded_under_its_name(store: ObjectStore, session: Session, tmp_path: Path) -> None:
    (tmp_path / "local.tgz").write_bytes(CONTENT)
    artifact = Artifact("data.tgz", mount_point="/data")

    assert artifact.upload(tmp_path / "local.tgz", session=session) == hashlib.sha256(CONTENT).hexdigest()
    assert store.objects["data.tgz"] == CONTENT
    with pytest.raises(InvalidDescription, match="begin with http"):
        Artifact("https://host/data.tgz").upload(tmp_path / "local.tgz", session=session)


def test_a_jobs_artifacts_can_be_uploaded() -> None:
    job = Job.from_dict({"tasks": [], "artifacts": [{"url": "data.tgz"}]})

    assert [type(each) for each in job.artifacts] == [Artifact]
    assert job.artifacts == [Artifact("data.tgz")]
