"""Files that a client on the service's machine may fill and read itself: who is told, and what is taken."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests
from support.clock import VirtualClock
from support.service import LocalService

from prominence.local.objects import Objects
from prominence.local.store import Store
from prominence.local.tokens import Signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = b"placed \x00\xff" * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def shared(service: LocalService) -> dict[str, str]:
    """The header of a client that can read the service's endpoint."""
    return {"Prominence-Files": service.endpoint.files_key}


def place(service: LocalService, name: str = "placed.bin") -> tuple[str, Path]:
    """What the service calls a new place, and where that is."""
    answer = service.request("POST", "/data/upload", json={"filename": name}, headers=shared(service))
    told = answer.json()["path"]
    return told, service.directory / told


def take_over(
    service: LocalService, path: str, name: str = "placed.bin", checksum: str | None = None
) -> requests.Response:
    body = {"filename": name, "path": path, "checksum": checksum}
    return service.request("POST", "/data/placed", json=body, headers=shared(service))


def sizes(service: LocalService) -> dict[str, int]:
    return {each["name"]: each["size"] for each in service.get("/data").json()}


def incoming(service: LocalService) -> list[Path]:
    return list((service.directory / "objects" / "incoming").iterdir())


def test_what_was_placed_is_an_object_and_read_only(own_service: LocalService) -> None:
    told, path = place(own_service)
    path.write_bytes(CONTENT)

    answer = take_over(own_service, told, checksum=DIGEST.upper())

    assert (answer.status_code, answer.json()) == (201, {"sha256": DIGEST})
    assert sizes(own_service) == {"placed.bin": len(CONTENT)}
    (kept,) = (own_service.directory / "objects" / "contents").glob("*/*")
    assert (kept.name, kept.read_bytes(), kept.stat().st_mode & 0o777) == (DIGEST, CONTENT, 0o400)
    assert incoming(own_service) == []
    job = own_service.post_job("cat placed.bin", artifacts=[{"url": "placed.bin"}])
    own_service.ended(job)
    assert own_service.get(f"/jobs/{job}/stdout").content == CONTENT


def test_an_output_tells_its_path_as_well(service: LocalService) -> None:
    job = service.post_job("touch one.txt", outputFiles=["one.txt"], outputDirs=["."])
    service.ended(job)

    for query in ({}, {"id": str(job), "detail": "true"}, {"since": "0", "wait": "1"}):
        path = f"/jobs/{job}" if not query else "/jobs"
        (entry,) = [
            each
            for each in service.request("GET", path, params=query, headers=shared(service)).json()
            if each["id"] == job
        ]
        told = [output["path"] for output in entry["outputFiles"] + entry["outputDirs"]]

        assert [(service.directory / each).is_file() for each in told] == [True, True]


def test_what_a_job_uploaded_as_its_output_has_a_path(service: LocalService) -> None:
    job = service.post_job("true", outputFiles=["late.bin"])
    service.ended(job)
    token = Signer(service.state.secret()).job_token(job, 60)
    answer = service.request(
        "POST", "/data/output", json={"name": "late.bin"}, headers={"Authorization": f"Bearer {token}"}
    )
    requests.put(answer.json()["url"], data=CONTENT, timeout=10)

    (entry,) = service.request("GET", f"/jobs/{job}", headers=shared(service)).json()

    (output,) = entry["outputFiles"]
    assert (service.directory / output["path"]).read_bytes() == CONTENT


@pytest.mark.parametrize("key", [None, "", "0" * 32, "schlüssel".encode()])
def test_nobody_else_is_told_a_path_or_can_place_a_file(service: LocalService, key: str | None) -> None:
    headers: Any = {} if key is None else {"Prominence-Files": key}
    told, path = place(service)
    path.write_bytes(CONTENT)
    job = service.post_job("touch one.txt", outputFiles=["one.txt"])
    service.ended(job)

    upload = service.request("POST", "/data/upload", json={"filename": "x.bin"}, headers=headers)
    described = service.request("GET", f"/jobs/{job}", headers=headers)
    placed = service.request(
        "POST", "/data/placed", json={"filename": "x.bin", "path": told}, headers=headers
    )

    assert "path" not in upload.json()
    assert "path" not in described.json()[0]["outputFiles"][0]
    assert placed.status_code == 403
    assert path.exists()
    assert "x.bin" not in sizes(service)


def test_the_key_is_no_token(service: LocalService) -> None:
    told, _ = place(service)
    headers = {**shared(service), "Authorization": f"Bearer {service.endpoint.files_key}"}

    for path in ("/data/upload", "/data/placed"):
        answer = service.request("POST", path, json={"filename": "x", "path": told}, headers=headers)
        assert answer.status_code == 401


def test_a_rough_service_tells_nobody(tmp_path: Path) -> None:
    with LocalService(tmp_path / "rough", cpus=2, memory=8, rough=True) as rough:
        assert rough.endpoint.files_key == ""
        upload = rough.request(
            "POST", "/data/upload", json={"filename": "x.bin"}, headers={"Prominence-Files": ""}
        )
        placed = take_over(rough, "objects/incoming/place-" + "0" * 32)

        assert upload.json().keys() == {"url"}
        assert placed.status_code == 403


def test_another_start_of_the_service_has_another_key(own_service: LocalService) -> None:
    before = own_service.endpoint.files_key
    own_service.kill()
    own_service.start()

    assert len(before) == 32
    assert own_service.endpoint.files_key not in {"", before}


def test_the_key_is_for_the_owner_alone_and_never_shown(service: LocalService) -> None:
    key = service.endpoint.files_key
    endpoint_file = service.directory / "endpoint.json"

    assert endpoint_file.stat().st_mode & 0o777 == 0o600
    assert key not in repr(service.endpoint)
    for words in (["status"], ["status", "--json"], ["env"], ["url"]):
        printed = subprocess.run(
            [sys.executable, "-m", "prominence", "local", *words],
            env={**os.environ, "PROMINENCE_LOCAL_DIR": str(service.directory)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert key not in printed.stdout + printed.stderr


@pytest.mark.parametrize(
    "path",
    [
        "endpoint.json",
        "secret",
        "objects/incoming/../../secret",
        "objects/incoming/",
        "objects/incoming/place-0",
        "objects/incoming/place-" + "g" * 32,
        "objects/incoming/place-" + "0" * 32,
        "objects/incoming/place-" + "0" * 32 + "/x",
        "objects/./incoming/../incoming/place-" + "0" * 32,
        "/etc/passwd",
        "../place-" + "0" * 32,
        "place-\x00" + "0" * 31,
        "",
    ],
)
def test_only_a_place_that_was_made_for_an_upload_is_taken(service: LocalService, path: str) -> None:
    answer = take_over(service, path, "stolen.bin")

    assert answer.status_code == 400
    assert "place" in answer.json()["error"]
    assert "stolen.bin" not in sizes(service)
    assert (service.directory / "secret").exists()


def test_a_place_cannot_be_that_of_a_content_that_is_being_received(service: LocalService) -> None:
    received = service.directory / "objects" / "incoming" / "tmpabcdefgh"
    received.write_bytes(CONTENT)

    answer = take_over(service, f"objects/incoming/{received.name}", "stolen.bin")

    assert answer.status_code == 400
    assert received.read_bytes() == CONTENT
    received.unlink()


def a_link(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(other)


def a_second_name(path: Path, other: Path) -> None:
    path.unlink()
    path.hardlink_to(other)


def a_pipe(path: Path, _other: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_directory(path: Path, _other: Path) -> None:
    path.unlink()
    path.mkdir()


def nothing(path: Path, _other: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("put", [a_link, a_second_name, a_pipe, a_directory, nothing])
def test_what_is_no_file_of_its_own_is_not_taken(
    put: Callable[[Path, Path], None], own_service: LocalService, tmp_path: Path
) -> None:
    other = tmp_path / "private"
    other.write_bytes(CONTENT)
    other.chmod(0o640)
    told, path = place(own_service)
    put(path, other)

    answer = take_over(own_service, told, checksum=DIGEST)

    assert answer.status_code == 400, answer.text
    assert sizes(own_service) == {}
    assert (other.read_bytes(), other.stat().st_mode & 0o777) == (CONTENT, 0o640)
    own_service.kill()
    own_service.start()
    assert incoming(own_service) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_another_users_file_is_not_taken(own_service: LocalService) -> None:
    told, path = place(own_service)
    path.write_bytes(CONTENT)
    os.chown(path, 12345, 12345)

    answer = take_over(own_service, told)

    assert (answer.status_code, sizes(own_service)) == (400, {})


def test_a_place_with_another_content_than_announced_is_refused(own_service: LocalService) -> None:
    told, path = place(own_service)
    path.write_bytes(CONTENT[1:])

    answer = take_over(own_service, told, checksum=DIGEST)

    assert answer.status_code == 400
    assert "checksum" in answer.json()["error"]
    assert (sizes(own_service), incoming(own_service)) == ({}, [])


def test_a_place_is_taken_once(service: LocalService) -> None:
    told, path = place(service)
    path.write_bytes(CONTENT)

    assert take_over(service, told, "once.bin").status_code == 201
    assert take_over(service, told, "twice.bin").status_code == 400
    assert "twice.bin" not in sizes(service)


@pytest.mark.parametrize("name", ["", "..", "group/name", None, 7])
def test_a_name_that_cannot_be_uploaded_to_cannot_be_placed_either(service: LocalService, name: Any) -> None:
    told, path = place(service)
    path.write_bytes(CONTENT)

    answer = take_over(service, told, name)

    assert answer.status_code in {400, 403}
    assert path.exists()


def test_no_place_is_made_for_a_name_that_is_refused(own_service: LocalService) -> None:
    answer = own_service.request(
        "POST", "/data/upload", json={"filename": "other/name"}, headers=shared(own_service)
    )

    assert answer.status_code == 403
    assert incoming(own_service) == []


def test_places_of_clients_that_are_gone_are_removed(tmp_path: Path) -> None:
    async def left_after(hours: float) -> list[Path]:
        store, clock = Store(tmp_path / "service.db"), VirtualClock()
        objects = Objects(store, tmp_path, "user", clock)
        objects.open()
        place = objects.make_place()
        clock.jump(place.stat().st_mtime - clock.time() + hours * 3600)
        objects.remove_abandoned_places()
        store.close()
        return [place] if place.exists() else []

    assert asyncio.run(left_after(25)) == []
    assert len(asyncio.run(left_after(23))) == 1


def test_a_place_does_not_outlive_the_service(own_service: LocalService) -> None:
    told, path = place(own_service)
    path.write_bytes(CONTENT)
    own_service.kill()
    own_service.start()

    assert take_over(own_service, told).status_code == 400
    assert incoming(own_service) == []
