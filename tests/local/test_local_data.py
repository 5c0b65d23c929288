"""Uploads, presigned URLs, listings and deletion of objects on the local service, as any client would."""

from __future__ import annotations

import base64
import getpass
import hashlib
import itertools
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from support.service import job
from support.until import until

from prominence.local.tokens import Signer

if TYPE_CHECKING:
    from support.service import LocalService

CONTENT = b"some bytes \x00\xff" * 100


def place(service: LocalService, name: str, checksum: str | None = None) -> dict[str, Any]:
    response = service.request("POST", "/data/upload", json={"filename": name, "checksum": checksum})
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


def upload(service: LocalService, name: str, content: bytes = CONTENT) -> None:
    assert requests.put(place(service, name)["url"], data=content, timeout=10).status_code == 200


def sizes(service: LocalService, path: str = "/data") -> dict[str, int]:
    return {each["name"]: each["size"] for each in service.get(path).json()}


def contents(service: LocalService) -> list[str]:
    """Digests of what is stored."""
    return [file.name for file in (service.directory / "objects" / "contents").glob("*/*")]


def test_an_upload_is_listed_with_its_size_until_it_is_deleted(service: LocalService) -> None:
    upload(service, "listed.bin")

    (entry,) = [each for each in service.get("/data").json() if each["name"] == "listed.bin"]
    deleted = service.request("DELETE", "/data/listed.bin")

    assert entry["size"] == len(CONTENT)
    assert entry["lastModified"].endswith(" GMT")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert "listed.bin" not in sizes(service)
    assert service.request("DELETE", "/data/listed.bin").status_code == 204


def test_a_place_can_be_asked_for_in_the_query(service: LocalService) -> None:
    response = service.request("POST", "/data?name=by-query.bin", json={})

    assert requests.put(response.json()["url"], data=b"1234", timeout=10).status_code == 200
    assert sizes(service)["by-query.bin"] == 4


def test_a_name_that_is_uploaded_again_has_the_new_content_alone(own_service: LocalService) -> None:
    upload(own_service, "again.bin", b"old")
    upload(own_service, "again.bin", b"newer")

    assert sizes(own_service) == {"again.bin": 5}
    assert contents(own_service) == [hashlib.sha256(b"newer").hexdigest()]


def test_equal_contents_are_kept_once_and_for_as_long_as_a_name_needs_them(own_service: LocalService) -> None:
    upload(own_service, "one.bin")
    upload(own_service, "two.bin")
    kept_once = contents(own_service)
    own_service.request("DELETE", "/data/one.bin")
    still_kept = contents(own_service)
    own_service.request("DELETE", "/data/two.bin")

    assert kept_once == still_kept == [hashlib.sha256(CONTENT).hexdigest()]
    assert contents(own_service) == []


def test_a_form_with_the_right_checksum_stores_the_file(service: LocalService) -> None:
    form = place(service, "checked.bin", hashlib.sha256(CONTENT).hexdigest())

    response = requests.post(form["url"], data=form["fields"], files={"file": CONTENT}, timeout=10)

    assert response.status_code == 204
    assert response.headers["ETag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert sizes(service)["checked.bin"] == len(CONTENT)


def test_a_form_with_another_content_is_refused_and_stores_nothing(service: LocalService) -> None:
    form = place(service, "unchecked.bin", hashlib.sha256(CONTENT).hexdigest())

    response = requests.post(form["url"], data=form["fields"], files={"file": CONTENT[1:]}, timeout=10)

    assert response.status_code == 400
    assert "checksum" in response.json()["error"]
    assert "unchecked.bin" not in sizes(service)


@pytest.mark.parametrize("field", ["key", "expires", "signature", "x-amz-meta-prominence_sha256"])
def test_a_form_whose_fields_were_changed_is_refused(service: LocalService, field: str) -> None:
    form = place(service, "forged.bin", hashlib.sha256(CONTENT).hexdigest())
    fields = {**form["fields"], field: "1" + form["fields"][field][1:] + "0"}

    response = requests.post(form["url"], data=fields, files={"file": CONTENT}, timeout=10)

    assert response.status_code == 403


def test_a_forged_form_is_refused_before_its_content_is_taken_in(service: LocalService) -> None:
    form = place(service, "forged.bin", "0" * 64)
    url = urlsplit(form["url"])
    fields = {**form["fields"], "signature": "0" * 64}
    part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}'
    parts = "\r\n".join(part.format(*each) for each in {**fields, "file": "the first of"}.items())
    head = (
        f"POST {url.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    with socket.create_connection((url.hostname, url.port), timeout=10) as connection:
        connection.sendall(f"{head}{parts} many bytes".encode())

        assert connection.recv(1000).startswith(b"HTTP/1.1 403 ")


def test_a_file_is_the_last_part_of_its_form(service: LocalService) -> None:
    form = place(service, "parts.bin", hashlib.sha256(CONTENT).hexdigest())
    parts = [("file", CONTENT), ("file", b"more")]

    twice = requests.post(form["url"], data=form["fields"], files=parts, timeout=10)
    without = requests.post(form["url"], files={"key": (None, "x")}, timeout=10)

    assert (twice.status_code, without.status_code) == (400, 400)
    assert "parts.bin" not in sizes(service)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"no form at all", "text/plain"),
        (b"--x\r\ncut short", "multipart/form-data; boundary=x"),
    ],
)
def test_what_is_no_form_is_refused(service: LocalService, body: bytes, kind: str) -> None:
    url = place(service, "no-form.bin", "0" * 64)["url"]

    response = requests.post(url, data=body, headers={"Content-Type": kind}, timeout=10)

    assert response.status_code == 400
    assert "form" in response.json()["error"]


def test_the_url_of_an_upload_is_good_for_one_name_one_method_and_ten_minutes(service: LocalService) -> None:
    url = place(service, "precious.bin")["url"]
    lifetime_s = int(parse_qs(urlsplit(url).query)["Expires"][0]) - int(time.time())

    assert requests.put(url.replace("precious", "precioux"), data=b"1", timeout=10).status_code == 403
    assert requests.get(url, timeout=10).status_code == 403
    assert 590 <= lifetime_s <= 600


def test_a_url_that_has_expired_is_refused(service: LocalService) -> None:
    path = f"/objects/uploads/{getpass.getuser()}/late.bin"
    signer = Signer(service.state.secret())
    address = service.endpoint.url.removesuffix("/prominence/v1")

    expired = requests.put(
        f"{address}{path}?{signer.sign_path(path, int(time.time()) - 1, 'PUT')}", timeout=10
    )
    valid = requests.put(
        f"{address}{path}?{signer.sign_path(path, int(time.time()) + 60, 'PUT')}", timeout=10
    )

    assert expired.status_code == 403
    assert valid.status_code == 200


def test_an_upload_that_breaks_off_leaves_nothing(own_service: LocalService) -> None:
    url = urlsplit(place(own_service, "half.bin")["url"])
    with socket.create_connection((url.hostname, url.port)) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"half")
        until(lambda: list((own_service.directory / "objects" / "incoming").iterdir()))

    until(lambda: not list((own_service.directory / "objects" / "incoming").iterdir()))
    assert sizes(own_service) == {}


def test_an_object_that_cannot_be_stored_is_refused_with_the_reason(own_service: LocalService) -> None:
    url = place(own_service, "unstored.bin")["url"]
    incoming = own_service.directory / "objects" / "incoming"
    incoming.rmdir()

    refused = requests.put(url, data=CONTENT, timeout=10)
    incoming.mkdir()

    assert (refused.status_code, refused.json()) == (
        500,
        {"error": "the object cannot be stored: No such file or directory"},
    )
    assert requests.put(url, data=CONTENT, timeout=10).status_code == 200


def test_files_without_a_name_are_set_aside(own_service: LocalService) -> None:
    upload(own_service, "named.bin")
    objects = own_service.directory / "objects"
    own_service.kill()
    (objects / "incoming" / "left").write_bytes(b"x")
    (objects / "contents" / "00").mkdir()
    (objects / "contents" / "00" / ("0" * 64)).write_bytes(b"x")

    own_service.start()

    assert contents(own_service) == [hashlib.sha256(CONTENT).hexdigest()]
    assert list((objects / "incoming").iterdir()) == []
    assert (objects / "nameless" / ("0" * 64)).read_bytes() == b"x"
    assert sizes(own_service) == {"named.bin": len(CONTENT)}


def test_uploads_are_there_again_with_the_database_that_names_them(own_service: LocalService) -> None:
    upload(own_service, "named.bin")
    own_service.kill()
    database = own_service.state.database
    of_before = [each.rename(f"{each}.before") for each in own_service.directory.glob(f"{database.name}*")]
    own_service.start()
    assert (sizes(own_service), contents(own_service)) == ({}, [])
    own_service.kill()
    for each in own_service.directory.glob(f"{database.name}*"):
        if each not in of_before:
            each.unlink()
    for each in of_before:
        each.rename(each.with_suffix(""))

    own_service.start()

    artifacts = [{"url": "named.bin"}]
    job_id = own_service.post_job("sha256sum named.bin", artifacts=artifacts)
    assert own_service.ended(job_id)["status"] == "completed"
    assert own_service.output(job_id).startswith(hashlib.sha256(CONTENT).hexdigest())


def test_names_of_ones_group_are_listed_by_its_path(service: LocalService) -> None:
    group = getpass.getuser()

    upload(service, f"{group}/sets/a.bin", b"1")

    assert sizes(service, f"/data/{group}") == {f"{group}/sets/a.bin": 1}
    assert service.request("DELETE", f"/data/{group}/sets/a.bin").status_code == 204
    assert sizes(service, f"/data/{group}") == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("GET", "/data/othergroup/x", None, "Not authorized to access this path"),
        ("DELETE", "/data/othergroup/x", None, "Not authorized to access this object"),
        (
            "POST",
            "/data/upload",
            {"filename": "othergroup/f", "checksum": None},
            "Not authorized to access upload with this path",
        ),
    ],
)
def test_another_groups_objects_are_out_of_reach(
    service: LocalService, method: str, path: str, body: object, reason: str
) -> None:
    response = service.request(method, path, json=body)

    assert (response.status_code, response.json()) == (403, {"error": reason})


@pytest.mark.parametrize("name", ["..", "a/../b", "/etc/passwd", "a//b", "line\nbreak", "x" * 1025])
def test_names_that_could_mean_something_else_are_refused(service: LocalService, name: str) -> None:
    response = service.request("POST", "/data/upload", json={"filename": name})

    assert response.status_code == 400
    assert "cannot be named" in response.json()["error"]


@pytest.mark.parametrize(
    "body", [[], {}, {"filename": ""}, {"filename": 5}, {"filename": "x", "checksum": 5}]
)
def test_a_request_without_a_proper_name_or_checksum_is_refused(service: LocalService, body: object) -> None:
    assert service.request("POST", "/data/upload", json=body).status_code == 400


def test_an_output_can_be_read_in_parts_and_looked_at_without_its_content(service: LocalService) -> None:
    script = base64.b64encode(b"printf 0123456789 > digits.txt").decode()
    job_id = service.post_job(
        "sh write.sh", inputs=[{"filename": "write.sh", "content": script}], outputFiles=["digits.txt"]
    )
    (output,) = service.ended(job_id)["outputFiles"]

    head = requests.head(output["url"], timeout=10)
    same = {"Range": "bytes=4-6", "If-Range": head.headers["ETag"]}
    changed = {"Range": "bytes=4-6", "If-Range": '"another"'}
    part = requests.get(output["url"], headers=same, timeout=10)
    whole = requests.get(output["url"], headers=changed, timeout=10)

    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, "10", b"")
    assert (part.status_code, part.content) == (206, b"456")
    assert part.headers["Content-Range"] == "bytes 4-6/10"
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert requests.get(output["url"], headers={"Range": "bytes=10-"}, timeout=10).status_code == 416
    assert output["size"] == 10


def job_token(service: LocalService, job_id: int) -> str:
    return Signer(service.state.secret()).job_token(job_id, 60)


def test_a_job_can_ask_for_a_place_for_an_output(service: LocalService) -> None:
    job_id = service.post_job("true")
    headers = {"Authorization": f"Bearer {job_token(service, job_id)}"}

    response = service.request("POST", "/data/output", json={"name": "dir/o.bin"}, headers=headers)
    put = requests.put(response.json()["url"], data=b"123", timeout=10)

    assert (response.status_code, put.status_code) == (201, 200)
    assert urlsplit(response.json()["url"]).path == f"/objects/scratch/{job_id}/o.bin"
    assert "o.bin" not in sizes(service)


def test_what_a_job_uploads_is_its_output_where_nothing_was_staged_out(service: LocalService) -> None:
    job_id = service.post_job("true", outputFiles=["dir/late.bin"], outputDirs=["late"])
    before = service.ended(job_id)
    headers = {"Authorization": f"Bearer {job_token(service, job_id)}"}
    for name in ("dir/late.bin", "late.tgz"):
        url = service.request("POST", "/data/output", json={"name": name}, headers=headers).json()["url"]
        requests.put(url, data=b"123", timeout=10)

    (file,), (directory,) = (service.describe(job_id)[field] for field in ("outputFiles", "outputDirs"))

    assert before["outputFiles"] == [{"name": "dir/late.bin", "url": ""}]
    assert (file["size"], directory["size"]) == (3, 3)
    assert requests.get(file["url"], timeout=10).content == b"123"
    assert requests.put(file["url"], data=b"4", timeout=10).status_code == 403


def test_a_workflow_whose_jobs_need_what_nobody_uploaded_is_refused(service: LocalService) -> None:
    node = {**job("true", artifacts=[{"url": "nowhere.tgz"}]), "name": "a"}
    response = service.request("POST", "/workflows", json={"name": "w", "jobs": [node]})

    assert (response.status_code, response.json()) == (
        400,
        {"error": "Artifact nowhere.tgz does not exist"},
    )


def test_a_users_token_is_none_for_outputs(service: LocalService) -> None:
    response = service.request("POST", "/data/output", json={"name": "x"})

    assert (response.status_code, response.json()) == (400, {"error": "Unspecified error"})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"artifacts": [{"url": "nowhere.tgz"}]}, "Artifact nowhere.tgz does not exist"),
        ({"task": {"image": "nowhere.sif"}}, "Image nowhere.sif does not exist"),
    ],
)
def test_a_job_that_needs_what_nobody_uploaded_is_refused(
    service: LocalService, fields: dict[str, Any], reason: str
) -> None:
    response = service.request("POST", "/jobs", json=job("true", **fields))

    assert (response.status_code, response.json()) == (400, {"error": reason})


def test_a_job_may_use_an_uploaded_image_by_name(service: LocalService) -> None:
    upload(service, "there.sif")

    assert service.ended(service.post_job("true", task={"image": "there.sif"}))["status"] == "completed"


@pytest.mark.full
def test_an_upload_of_2_gb_needs_no_memory(own_service: LocalService) -> None:
    piece = bytes(1024 * 1024)
    url = place(own_service, "zeros.bin")["url"]
    before = own_service.peak_memory()

    stored = requests.put(url, data=itertools.repeat(piece, 2048), timeout=600)

    assert stored.status_code == 200
    assert sizes(own_service) == {"zeros.bin": 2048 * len(piece)}
    assert own_service.peak_memory() - before < 64 * 1024**2
