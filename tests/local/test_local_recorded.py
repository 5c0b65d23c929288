"""The local service answers what a real one answered, but where a table here says what differs and why."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import requests
from support.recordings import exchanges
from support.retrace import Retrace
from support.service import LocalService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVERYWHERE = {
    # no image is pulled where no container runs
    "no execution.tasks.imagePullStatus",
    "no execution.tasks.imagePullTime",
    "no execution.tasks.imageSha256",
    "no execution.runtimeVersion.singularity",
    "also execution.runtimeVersion.host",
    # measured here, and not where the recordings were made
    "also execution.maxMemoryUsageKB",
    "also execution.memoryMeasurement",
    "also execution.stageInTime",
    "also execution.stageOutTime",
}
JOB = '{"name": "x", "resources": {"cpus": 1, "memory": 1, "disk": '
DIFFERENT: dict[str, dict[str, list[str]]] = {
    "errors": {
        # refusals say why, in JSON
        'POST /jobs {"name": ': ["text/html is application/json here"],
        "POST /jobs []": [
            "error 'a job must contain resources' is 'a job description must be a JSON object' here"
        ],
        'POST /jobs "abc"': [
            "error 'invalid item \"a\" in job description' is 'a job description must be a JSON object' here"
        ],
        # a body is read as JSON whatever its Content-Type
        f"POST /jobs {JOB}": ["a server error is 201 here"],
        # documented as "for ever", and refused by the server that was recorded
        f"POST /jobs {JOB} #26": [
            '400 \'{"error":"the maximum time in queue must be an integer"}\\n\' is 201 \'{"id":4}\\n\' here'
        ],
        # nothing is missing here that could make the service unwell, or keep it from accounting
        "GET /accounting?start=2026-01-01&end=2026-12-31": ["a server error is 200 here"],
        "GET /health": ["409 '{\"errors\":\"ELASTICSEARCH_EXCP,INFLUXDB_EXCP\"}\\n' is 204 '' here"],
    },
    "data-kv-jobs": {
        # the cause is told after the reason
        "GET /jobs/87": [
            (
                "statusReason 'Artifact download failed' is"
                " 'Artifact download failed: artifact none.tgz: s3.test: ConnectionError' here"
            ),
        ],
        # binary values can be read, and a listing says which one it cannot show
        "GET /kv/bin": ["a server error is 200 here"],
        "GET /kv?list=true&values=true #2": [
            (
                "error 'Unable to access key-value store' is"
                " 'Unable to access key-value store: the value of /bin is not text' here"
            ),
        ],
    },
    "live-operations": {
        # a command is needed; the real service answers with the greeting of a remote shell
        "POST /jobs/30/exec": [
            (
                "200 'Pseudo-terminal will not be allocated because stdin is not a'"
                ' is 400 \'{"error": "A command must be specified"}\\n\' here'
            )
        ],
        # what is not there cannot be brought back; the real service leaves a URL that leads nowhere
        "PUT /jobs/30/snapshot?path=nothere": ["200 '{}\\n' is 400 '{\"error\": \"Invalid path\"}\\n' here"],
        # a job leaves the queue when it is removed, not some seconds later
        "PUT /jobs/33/remove #3": [
            "200 '{}\\n' is 400 '{\"error\": \"Job is no longer in the queue\"}\\n' here"
        ],
    },
    "executor-commands": {
        # a job that moves from the queue to the history is in one of them at any moment
        "GET /jobs?id=841%2C842%2C843%2C844%2C845 #5": [
            "jobs [841, 842, 843, 844] are [841, 842, 843, 844, 845] here"
        ],
    },
    "executor-function-call": {},
    "executor-kv-results": {},
    "executor-large-argument": {},
    "executor-array": {},
    "listing": {},
    "workflows": {},
    "workflows-2": {},
}
LEFT_OUT = {
    # asked by another user, or by a worker: there are none here
    "errors": {"GET /jobs/1", "GET /jobs?id=1,2", "GET /jobs/1/stdout"},
    "live-operations": {
        "POST /jobs/30/exec?command=ls #2",
        "PUT /jobs/30/snapshot?path=res #2",
        "PUT /jobs/33/remove",
        "POST /token",
        # these want a job that still waits or runs, or one that has ended, when the real one did
        "GET /jobs #2",
        "GET /jobs #3",
        "POST /jobs/30/exec?command=ls",
        "GET /jobs/32",
        "GET /jobs/32 #2",
        "GET /jobs/34",
        "GET /jobs/34 #2",
        "GET /jobs?id=35,36,37,999999",
    },
    # jobs that failed there because only the last parameter was replaced in names of outputs
    "workflows": {"GET /jobs?workflow=true&id=42&all=true", "GET /jobs/43", "GET /jobs/43/stdout"},
    # jobs that no listing told of before
    "workflows-2": {
        "GET /jobs/57/stdout",
        "GET /jobs/58/stdout",
        "GET /jobs/76/stdout",
        # jobs that were still being ended
        "GET /jobs?workflow=true&id=76&all=true #2",
    },
    "listing": {"GET /jobs?all=true&constraint=run=r1795403562 #2"},
    "data-kv-jobs": {
        "GET /kv?list=true #2",
        "GET /data/vo.example.org",
        "GET /data/vo.example.org #2",
        'POST /data/upload {"filename": "vo.example.org/shared.txt", "checksum": null}',
        # jobs that need a group's object, a container, or an image's own command
        'POST /jobs {"name": "art4", "resources": {"cpus": 1, "memory": 1, "disk',
        'POST /jobs {"name": "art2", "resources": {"cpus": 1, "memory": 1, "disk',
        'POST /jobs {"name": "nocmd", "resources": {"cpus": 1, "memory": 1, "dis',
        'POST /jobs {"name": "ud", "resources": {"cpus": 1, "memory": 1, "disk":',
        *(f"GET /jobs/{job}{rest}" for job in (86, 88, 92, 101) for rest in ("", "/stdout", "/stderr")),
    },
}


@pytest.fixture
def large_service(tmp_path: Path) -> Iterator[LocalService]:
    """A service with the capacity of the recorded one."""
    with LocalService(tmp_path / "service", cpus=64, memory=512) as running:
        upload(running, "busybox.sif", b"not looked at")
        yield running


def upload(service: LocalService, name: str, content: bytes) -> None:
    url = service.request("POST", "/data/upload", json={"filename": name}).json()["url"]
    assert requests.put(url, data=content, timeout=10).status_code == 200


def archive() -> bytes:
    """What ``art.tgz`` was: a directory with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo("artdir/data.txt")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"12345"))
    return buffer.getvalue()


def differences(
    service: LocalService, recording: str, ids: dict[int, int] | None = None
) -> dict[str, list[str]]:
    found = Retrace(service, recording, ids, LEFT_OUT.get(recording, ())).differences()
    remaining = {name: [each for each in found[name] if each not in EVERYWHERE] for name in found}
    return {
        name: different for name, different in remaining.items() if different and " /workflows" not in name
    }


@pytest.mark.parametrize(
    "recording",
    [
        "executor-array",
        "executor-commands",
        "executor-function-call",
        "executor-kv-results",
        "executor-large-argument",
        "live-operations",
        "workflows",
        pytest.param("workflows-2", marks=pytest.mark.full),
    ],
)
def test_answers_are_those_of_a_real_service(large_service: LocalService, recording: str) -> None:
    if recording == "executor-function-call":
        upload(large_service, "python.sif", b"not looked at")
    if recording == "executor-large-argument":
        upload(large_service, "arg-d8b2af1c85cdb458.bin", b"x")
        for name in ("art.tgz", "art2.txt", "plain.txt", "python.sif"):  # listed there
            upload(large_service, name, b"x")

    assert differences(large_service, recording) == DIFFERENT[recording]


def test_keys_objects_and_what_jobs_see_are_those_of_a_real_service(large_service: LocalService) -> None:
    upload(large_service, "art.tgz", archive())
    upload(large_service, "plain.txt", b"plain")

    assert differences(large_service, "data-kv-jobs") == DIFFERENT["data-kv-jobs"]


def test_refusals_are_those_of_a_real_service(large_service: LocalService) -> None:
    first = large_service.post_job("echo hello world", name="hello")
    second = large_service.post_job("true", name="client-basic", labels={"app": "demo"})
    large_service.ended(first)

    assert differences(large_service, "errors", {1: first, 2: second}) == DIFFERENT["errors"]


def test_listings_are_those_of_a_real_service(large_service: LocalService) -> None:
    """The jobs are made from the recording's own answers; the one that failed for want of an image is not."""
    large_service.post_job("sleep 100")  # so that the largest job waits, as it did
    recorded: list[dict[str, Any]] = json.loads(exchanges("listing")[1]["response"]["body"]["string"])
    ids: dict[int, int] = {}
    for entry in sorted(recorded, key=lambda each: (each["events"].get("endTime", 2**40), each["id"])):
        if entry.get("statusReason") == "Container image pull failed":
            continue
        description = {name: entry[name] for name in ("name", "labels", "resources", "tasks")}
        if entry["status"] == "deleted":
            description["resources"]["cpus"] = 64
        for field in entry.keys() & {"outputFiles", "outputDirs"}:
            description[field] = [output["name"] for output in entry[field]]
        job_id = large_service.request("POST", "/jobs", json=description).json()["id"]
        ids[entry["id"]] = job_id
        if entry["status"] == "deleted":  # while it waited
            large_service.request("DELETE", f"/jobs/{job_id}")
        if "endTime" in entry["events"]:
            large_service.ended(job_id)

    assert differences(large_service, "listing", ids) == DIFFERENT["listing"]
