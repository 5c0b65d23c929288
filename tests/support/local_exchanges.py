"""What is recorded from the local service, and replayed: each of these is run for both.

They use one connection at a time, and wait by the feed of changes, so that a replay asks exactly what the
recording asked. What they print is the same on every machine.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import pytest

from prominence.client.submission import Submission
from prominence.exceptions import NotFound, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prominence import ProminenceClient

LABEL: Final = ("recorded", "yes")
ALWAYS: Final = ("2020-01-01", "2099-12-31")
_POLL_S: Final = 10.0


def description(command: str, **fields: Any) -> dict[str, Any]:
    task = {"image": "none", "runtime": "singularity", "cmd": command}
    resources = {"cpus": 1, "memory": 1, "disk": 1, "nodes": 1}
    return {"name": "recorded", "labels": dict([LABEL]), "resources": resources, "tasks": [task], **fields}


def followed(
    client: ProminenceClient, job_id: int, since: int, is_meant: Callable[[dict[str, Any]], bool]
) -> tuple[dict[str, Any], int]:
    """A job's entry once it is as meant, and the revision that brought it."""
    while True:
        listing = client.list_changed_jobs(since, _POLL_S)
        assert listing.revision is not None
        since = listing.revision
        for entry in listing.entries:
            if entry["id"] == job_id and is_meant(entry):
                return entry, since


def has_ended(entry: dict[str, Any]) -> bool:
    return entry["status"] in {"completed", "failed", "deleted", "killed"}


def runs(entry: dict[str, Any]) -> bool:
    return entry["status"] == "running"


def a_job_from_submission_to_its_output(client: ProminenceClient) -> None:
    command = "sh -c 'echo out; echo err >&2; echo data > x.txt; exit 3'"
    job, revision = client.create_job(
        description(command, outputFiles=["x.txt"]), submission=Submission("01")
    )
    assert revision is not None
    assert {"wait", "idempotent-submission"} <= client.features
    assert (
        client.create_job(description(command, outputFiles=["x.txt"]), submission=Submission("01")).id == job
    )
    entry, _ = followed(client, job, revision, has_ended)
    assert entry["status"] == "completed"
    assert [task["exitCode"] for task in entry["execution"]["tasks"]] == [3]
    (described,) = client.describe_job(job).entries
    assert [each["name"] for each in described["outputFiles"]] == ["x.txt"]
    assert client.download(described["outputFiles"][0]["url"]) == b"data\n"
    assert client.read_output(job, "stdout") == b"out\n"
    assert client.read_output(job, "stdout", offset=2) == b"t\n"
    assert client.read_output(job, "stderr") == b"err\n"
    assert [each["id"] for each in client.list_jobs(everything=True, label=LABEL).entries] == [job]
    assert [each["id"] for each in client.list_jobs(completed=True, num=5).entries] == [job]
    (used,) = client.usage(*ALWAYS)["users"].values()
    assert used["numberOfJobs"] == 1
    assert client.list_jobs(ids=[job, 999_999], detail=True).entries[0]["labels"]["recorded"] == "yes"


def running_jobs(client: ProminenceClient) -> None:
    job, revision = client.create_job(
        description("sh -c 'echo begun; echo x > x.txt; sleep 600'"), submission=Submission("02")
    )
    assert revision is not None
    _, revision = followed(client, job, revision, runs)
    client.execute_command(job, ["true"])
    assert client.execute_command(job, ["echo", "beside"]) == b"beside\n"
    with pytest.raises(ServiceError, match="Unable to execute command"):
        client.execute_command(job, ["false"])
    client.create_snapshot(job, "x.txt")
    assert client.download(client.get_snapshot_url(job))[:2] == b"\x1f\x8b"  # gzip
    twin = client.clone_job(job)
    assert client.delete_jobs([job, twin])
    assert not client.delete_job(job)
    assert {each["status"] for each in client.list_jobs(ids=[job, twin]).entries} == {"deleted"}


def a_job_that_is_kept_in_the_queue(client: ProminenceClient) -> None:
    kept = description("true", policies={"leaveInQueue": True})
    job, revision = client.create_job(kept, submission=Submission("03"))
    assert revision is not None
    followed(client, job, revision, has_ended)
    assert [each["id"] for each in client.list_jobs().entries] == [job]
    client.remove_job(job)
    assert client.list_jobs().entries == []


def workflows(client: ProminenceClient) -> None:
    job = {**description("sh -c 'echo $i; exit $i'"), "name": "code"}
    factory = {"name": "f", "type": "zip", "jobs": ["code"], "parameters": [{"name": "i", "values": [0, 3]}]}
    submitted = client.create_workflow(
        {"name": "codes", "jobs": [job], "factories": [factory]}, submission=Submission("04")
    )
    (workflow,) = client.describe_workflow(submitted.id).entries
    while workflow["status"] not in {"completed", "failed"}:
        client.clock.sleep(0.2)
        (workflow,) = client.list_workflows(ids=[submitted.id]).entries
    assert workflow["status"] == "failed"
    assert workflow["progress"] == {"total": 2, "done": 1, "failed": 1, "queued": 0, "waiting": 0}
    jobs = client.list_workflow_jobs(submitted.id, detail=True).entries
    assert sorted(each["name"] for each in jobs) == ["codes/code/0", "codes/code/1"]
    again, twin = client.rerun_workflow(submitted.id), client.clone_workflow(submitted.id)
    client.delete_workflows([again, twin])
    assert not client.delete_workflow(999_999)
    assert client.describe_workflow(999_999).entries == []


def keys_and_objects(client: ProminenceClient) -> None:
    for number in range(3):
        client.kv_set(f"study/results/{number}", f"value {number} é")
    assert client.kv_get("study/results/1") == "value 1 é"
    assert client.kv_list("study") == [f"/study/results/{number}" for number in range(3)]
    assert client.kv_values("study/results")["/study/results/2"] == "value 2 é"
    assert client.kv_swap("study/results/0", "claimed", "value 0 é")
    assert not client.kv_swap("study/results/0", "lost", "value 0 é")
    client.kv_delete("study/results/0")
    client.kv_delete("study", prefix=True)
    with pytest.raises(NotFound):
        client.kv_get("study/results/0")
    content = b"content of an object\n"
    digest = client.upload_object("object.bin", content, checksum=False)
    assert digest == hashlib.sha256(content).hexdigest()
    assert [(each["name"], each["size"]) for each in client.list_objects()] == [("object.bin", 21)]
    client.delete_object("object.bin")
    assert client.list_objects() == []


def the_service_itself(client: ProminenceClient) -> None:
    assert client.is_healthy()
    assert client.resources()["existing"][0]["capacity"] == {"cpus": 8, "memory": 64.0}
    assert client.describe_job(999_999).entries == []
    assert not client.delete_job(999_999)
    with pytest.raises(ServiceError, match="Job does not exist"):
        client.read_output(999_999, "stdout")


EXCHANGES: Final = {
    "job": a_job_from_submission_to_its_output,
    "running": running_jobs,
    "kept": a_job_that_is_kept_in_the_queue,
    "workflows": workflows,
    "store": keys_and_objects,
    "service": the_service_itself,
}
"""By the name of their cassettes in ``cassettes/local``."""
