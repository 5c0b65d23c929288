"""What a job fetches before its tasks run."""

from __future__ import annotations

import bz2
import gzip
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
import requests
from support.until import until
from support.web import ENDLESS, WebServer

from prominence.local.machine.archives import NoRoom, RefusedArchive, Room, unpack

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService


def tar(mode: str, *members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def member(name: str, **attributes: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(made, attribute, value)
    return made


def zipped(*names: str, mode: int = 0o644) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, "zipped\n")
    return made.getvalue()


_FILES = {
    "/plain.txt": b"plain\n",
    "/run.sh": b"#!/bin/sh\necho ran\n",
    "/a%20b.txt": b"blank\n",
    "/one.tar": tar("w", (member("one/f"), b"from tar\n")),
    "/two.tgz": tar("w:gz", (member("two/f", mode=0o755), b"#!/bin/sh\necho from tgz\n")),
    "/three.tar.bz2": tar("w:bz2", (member("three/f"), b"from bz2\n")),
    "/four.zip": zipped("four/f", mode=0o755),
    "/five.gz": gzip.compress(b"from gz\n"),
    "/six.bz2": bz2.compress(b"six\n"),
}
_REFUSED = {
    "/broken.tgz": b"this is no archive",
    "/deep.tgz": tar("w:gz", (member("/".join(["d"] * 1500)), b"")),
}


@pytest.fixture(scope="module")
def web() -> WebServer:  # type: ignore[misc]
    with WebServer(_FILES | _REFUSED) as server:
        yield server


def test_artifacts_lie_in_the_home_directory_unpacked(service: LocalService, web: WebServer) -> None:
    artifacts = [{"url": web.url + path} for path in _FILES]
    artifacts[1]["executable"] = True  # type: ignore[assignment]
    script = "ls; cat plain.txt one/f three/f five six; ./run.sh; two/f; test -x four/f"
    job_id = service.post_job(f'sh -c "{script}"', artifacts=artifacts)

    ended = service.ended(job_id)

    assert ended["execution"]["tasks"][0]["exitCode"] == 0
    assert ended["execution"]["stageInTime"] > 0
    assert service.output(job_id).splitlines() == [
        *("a b.txt", "five", "four", "one", "plain.txt", "run.sh", "six", "three", "two"),
        *("plain", "from tar", "from bz2", "from gz", "six", "ran", "from tgz"),
    ]
    assert ended["artifacts"] == artifacts


@pytest.mark.parametrize(
    ("path", "reason", "complaint"),
    [
        ("/none.tgz?Signature=secret", "Artifact download failed", "answered 404"),
        ("/broken.tgz", "Artifact uncompress failed", "artifact broken.tgz"),
        ("/deep.tgz", "Artifact uncompress failed", "a path in it has too many parts"),
    ],
)
def test_an_artifact_that_cannot_be_had_fails_the_job(
    service: LocalService, web: WebServer, path: str, reason: str, complaint: str
) -> None:
    job_id = service.post_job("true", artifacts=[{"url": web.url + path}])

    ended = service.ended(job_id)

    assert ended["status"] == "failed"
    assert ended["statusReason"].startswith(f"{reason}: artifact ")
    assert complaint in ended["statusReason"]
    assert "secret" not in ended["statusReason"]
    assert "tasks" not in ended["execution"]
    assert complaint in service.output(job_id, "stderr")
    assert "secret" not in service.output(job_id, "stderr")


def test_a_job_can_be_deleted_while_it_fetches(service: LocalService, web: WebServer) -> None:
    job_id = service.post_job("true", artifacts=[{"url": web.url + ENDLESS}])
    until(lambda: ENDLESS in web.asked)

    service.request("DELETE", f"/jobs/{job_id}")

    until(lambda: "endTime" in service.describe(job_id)["events"])


def test_nobody_listens_where_an_artifact_should_be(service: LocalService) -> None:
    with WebServer({}) as gone:
        url = f"{gone.url}/x?Signature=secret"
    job_id = service.post_job("true", artifacts=[{"url": url}])

    ended = service.ended(job_id)

    assert ended["statusReason"] == "Artifact download failed: artifact x: 127.0.0.1: ConnectionError"
    assert service.output(job_id, "stderr") == "prominence: artifact x: 127.0.0.1: ConnectionError\n"


def test_a_url_that_cannot_be_read_fails_the_job(service: LocalService) -> None:
    ended = service.ended(service.post_job("true", artifacts=[{"url": "http://["}]))

    assert ended["statusReason"] == "Artifact download failed: an artifact's URL cannot be read"


def test_uploaded_objects_are_artifacts_by_their_name(service: LocalService) -> None:
    for name, content in (("set.tgz", _FILES["/two.tgz"]), ("settings.txt", b"a = 1\n")):
        url = service.request("POST", "/data/upload", json={"filename": name}).json()["url"]
        assert requests.put(url, data=content, timeout=10).ok
    script = "two/f; cat settings.txt; echo changed > settings.txt"
    artifacts = [{"url": "set.tgz"}, {"url": "settings.txt"}]

    ids = [service.post_job(f'sh -c "{script}"', artifacts=artifacts) for _ in range(2)]

    for job_id in ids:
        assert service.ended(job_id)["execution"]["tasks"][0]["exitCode"] == 0
        assert service.output(job_id) == "from tgz\na = 1\n"


def test_an_object_deleted_before_the_job_starts_fails_it(own_service: LocalService) -> None:
    url = own_service.request("POST", "/data/upload", json={"filename": "x"}).json()["url"]
    assert requests.put(url, data=b"x", timeout=10).ok
    blocker = own_service.post_job("sleep 600", resources={"cpus": 10})
    until(lambda: own_service.describe(blocker)["status"] == "running")
    job_id = own_service.post_job("true", artifacts=[{"url": "x"}])
    own_service.request("DELETE", "/data/x")
    own_service.request("DELETE", f"/jobs/{blocker}")

    ended = own_service.ended(job_id)

    assert ended["status"] == "failed"
    assert ended["statusReason"].startswith("Artifact download failed: ")
    assert "no such object any more" in own_service.output(job_id, "stderr")


@pytest.mark.parametrize(
    "content",
    [
        tar("w", (member("../outside"), b"x")),
        tar("w", (member("/outside"), b"x")),
        tar("w", (member("link", type=tarfile.SYMTYPE, linkname="/etc"), b"")),
        tar("w", (member("link", type=tarfile.SYMTYPE, linkname=".."), b""), (member("link/outside"), b"x")),
        tar("w", (member("hard", type=tarfile.LNKTYPE, linkname="../outside"), b"")),
        tar("w", (member("device", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b"")),
        tar("w", (member("pipe", type=tarfile.FIFOTYPE), b"")),
        tar("w", (member("f"), b"x" * 2000))[:1000],
    ],
    ids=["dots", "absolute", "link", "through a link", "hard link", "device", "pipe", "cut off"],
)
def test_a_tar_that_is_not_meant_to_stay_inside_is_refused(tmp_path: Path, content: bytes) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "outside").write_text("mine")
    (inside / "x.tar").write_bytes(content)

    with pytest.raises(RefusedArchive):
        unpack(inside / "x.tar", inside, Room(10**6))

    assert (tmp_path / "outside").read_text() == "mine"
    assert not any(path.is_symlink() or path.is_fifo() or path.is_char_device() for path in inside.iterdir())


@pytest.mark.parametrize(
    "content",
    [zipped("../outside"), zipped("/outside"), zipped("link", mode=0o120777), b"PK\3\4 and no more"],
)
def test_a_zip_that_is_not_meant_to_stay_inside_is_refused(tmp_path: Path, content: bytes) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "x.zip").write_bytes(content)

    with pytest.raises(RefusedArchive):
        unpack(inside / "x.zip", inside, Room(10**6))

    assert not (tmp_path / "outside").exists()


def test_links_inside_of_an_archive_are_kept(tmp_path: Path) -> None:
    content = tar("w", (member("f"), b"x"), (member("link", type=tarfile.SYMTYPE, linkname="f"), b""))
    (tmp_path / "x.tar").write_bytes(content)

    unpack(tmp_path / "x.tar", tmp_path, Room(10**6))

    assert (tmp_path / "link").readlink().name == "f"


_ZEROS = b"\0" * 2_000_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.tgz", tar("w:gz", (member("zeros"), _ZEROS))),
        ("x.gz", gzip.compress(_ZEROS)),
        ("x.bz2", bz2.compress(_ZEROS)),
        ("x.tar", tar("w", *((member(f"empty{number}"), b"") for number in range(300)))),
        ("x.zip", zipped(*map(str, range(300)))),
    ],
)
def test_what_is_unpacked_is_bounded_by_the_disk_asked_for(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(NoRoom):
        unpack(tmp_path / name, tmp_path, Room(1_000_000))

    assert sum(path.stat().st_size for path in tmp_path.iterdir() if path.name != name) <= 1_000_000


@pytest.mark.parametrize("name", ["x.gz", "x.bz2"])
def test_what_is_not_compressed_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"plain")

    with pytest.raises(RefusedArchive):
        unpack(tmp_path / name, tmp_path, Room(1_000_000))
