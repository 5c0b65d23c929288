"""Transfers from end to end, with a real service on this machine: contents, artifacts, memory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from prominence import Artifact, Job, Session, Settings, Task
from prominence.exceptions import PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.service import LocalService

CONTENT = bytes(range(256)) * 1000
MB = 1024 * 1024
MEMORY_MB = 24  # more than a transfer's buffers take, less than the smallest file here


def ended(session: Session, command: str, **description: object) -> Job:
    made = Job(session=session, tasks=[Task(image="none", command=command)], **description)
    made.create()
    assert made.wait() == "completed"
    return made


@pytest.fixture(params=["by files", "by its address"])
def session(request: pytest.FixtureRequest, service: LocalService) -> Iterator[Session]:
    """The one of a program that finds the service by itself, and of one that is told where it is."""
    endpoint = service.endpoint
    told = Settings(url=endpoint.url, token=endpoint.token, local=service.local)
    with Session(service.settings() if request.param == "by files" else told) as session:
        yield session


@pytest.mark.parametrize("checksum", [True, False])
def test_an_upload_becomes_an_artifact_and_an_output(
    checksum: bool, session: Session, tmp_path: Path
) -> None:
    sha256 = session.client.upload_object("data.bin", CONTENT, checksum=checksum)
    assert sha256 == hashlib.sha256(CONTENT).hexdigest()
    sizes = {each["name"]: each["size"] for each in session.client.list_objects()}
    assert sizes["data.bin"] == len(CONTENT)

    job = ended(session, "cp data.bin out.bin", artifacts=[Artifact("data.bin")], output_files=["out.bin"])
    assert job.get_output_file("out.bin", encoding=None) == CONTENT
    assert job.get_output_file("out.bin", save_as=tmp_path / "out.bin").read_bytes() == CONTENT
    session.client.delete_object("data.bin")
    assert "data.bin" not in {each["name"] for each in session.client.list_objects()}


def test_a_url_whose_signature_is_not_good_any_more_is_renewed(session: Session) -> None:
    job = ended(session, "sh -c 'printf text > out'", output_files=["out"])
    (output,) = session.client.describe_job(job.id or 0).entries[0]["outputFiles"]
    refused = output["url"].replace("?", "?x") + "0"

    with pytest.raises(PermissionDenied):
        session.client.download(refused)
    assert session.client.download(refused, renew=lambda: output["url"]) == b"text"


SCRIPT = """
import json, resource, sys
from prominence import Artifact, Job, ProminenceClient, Session, Task

size, folder, *address = int(sys.argv[1]), *sys.argv[2:]
session = Session(client=ProminenceClient(*address))

def output_of(size):
    task = Task(image="none", command=f"truncate -s {size} big")
    job = Job(session=session, tasks=[task], output_files=["big"])
    job.create()
    job.wait()
    return job

def transfer(size):
    output_of(size).get_output_file("big", save_as=f"{folder}/down")
    for checksum in (True, False):
        session.client.upload_object("big", f"{folder}/down", checksum=checksum)

def peak_kb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

transfer(1000)
before = peak_kb()
transfer(size)
uploaded = {each["name"]: each["size"] for each in session.client.list_objects()}["big"]
session.client.delete_object("big")
print(json.dumps({"grown_kb": peak_kb() - before, "uploaded": uploaded}))
"""


@pytest.mark.parametrize("by_files", [True, False])
@pytest.mark.parametrize("size_mb", [64, pytest.param(2048, marks=pytest.mark.full)])
def test_memory_does_not_grow_with_the_file(
    size_mb: int, by_files: bool, own_service: LocalService, tmp_path: Path
) -> None:
    size = size_mb * MB
    address = [] if by_files else [own_service.endpoint.url, own_service.endpoint.token]
    environment = {**os.environ, "PROMINENCE_LOCAL_DIR": str(own_service.directory)}

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(size), str(tmp_path), *address],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["uploaded"] == size
    assert (tmp_path / "down").stat().st_size == size
    assert found["grown_kb"] < MEMORY_MB * 1024
    (tmp_path / "down").unlink()
