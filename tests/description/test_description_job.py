"""Whole jobs: the specification's example, JSON in both directions, the submission label."""

from __future__ import annotations

import copy
import json
from typing import ClassVar

import pytest

from prominence.description import (
    SUBMISSION_LABEL,
    ArtifactDescription,
    InputFile,
    JobDescription,
    JobPolicies,
    Notification,
    Resources,
    Task,
    check_job,
)
from prominence.exceptions import InvalidDescription

EVERYTHING = {
    "name": "my job",
    "labels": {"project": "x/1"},
    "resources": {"nodes": 2, "cpus": 4, "memory": 8, "disk": 20, "walltime": 60},
    "tasks": [
        {"image": "a", "runtime": "singularity", "cmd": "one", "type": "basic"},
        {"image": "b", "runtime": "udocker", "type": "sidecar"},
    ],
    "inputs": [{"filename": "in.txt", "content": "aGk="}],
    "artifacts": [{"url": "data.tgz", "mountpoint": "data:/data"}],
    "outputFiles": ["out.txt"],
    "outputDirs": ["results"],
    "policies": {"maximumRetries": 2, "leaveInQueue": True},
    "notifications": [{"event": "jobFinished", "type": "email"}],
    "storage": {"type": "webdav", "mountpoint": "/data", "webdav": {"password": "s3cret"}},
}


def everything() -> JobDescription:
    return JobDescription(
        name="my job",
        labels={"project": "x/1"},
        resources=Resources(nodes=2, cpus=4, memory=8, disk=20, walltime=60),
        tasks=[
            Task(image="a", command="one", type="basic"),
            Task(image="b", runtime="udocker", type="sidecar"),
        ],
        input_files=[InputFile("in.txt", "hi")],
        artifacts=[ArtifactDescription("data.tgz", "data", "/data")],
        output_files=["out.txt"],
        output_directories=["results"],
        policies=JobPolicies(maximum_retries=2, leave_in_queue=True),
        notifications=[Notification("jobFinished", "email")],
        storage={"type": "webdav", "mountpoint": "/data", "webdav": {"password": "s3cret"}},
    )


def test_the_specifications_example() -> None:
    task = Task()
    task.image = "centos:7"
    task.runtime = "singularity"
    task.command = "hostname"
    job = JobDescription()
    job.tasks.append(task)
    assert job.to_dict() == {
        "resources": {"nodes": 1, "cpus": 1, "memory": 1, "disk": 10, "walltime": 720},
        "tasks": [{"image": "centos:7", "runtime": "singularity", "cmd": "hostname"}],
    }
    assert job.validate() == []


def test_every_property_and_its_json() -> None:
    assert everything().to_dict() == everything().json() == EVERYTHING
    assert everything().validate() == []
    assert JobDescription.from_dict(EVERYTHING) == everything()
    assert JobDescription.from_dict(EVERYTHING).to_dict() == EVERYTHING
    assert json.loads(json.dumps(everything().to_dict())) == EVERYTHING


def test_empty_things_are_left_out_but_resources() -> None:
    job = JobDescription(name="", labels={}, tasks=[], storage={}, policies=JobPolicies())
    assert job.to_dict() == {"resources": Resources().to_dict()}
    job.resources = Resources(None, None, None, None, None)
    assert job.to_dict() == {"resources": {}}


def test_lists_belong_to_one_job() -> None:
    tasks = [Task(image="a")]
    first, second = JobDescription(tasks=tasks), JobDescription()
    first.tasks.append(Task(image="b"))
    for name in ("input_files", "artifacts", "output_files", "output_directories", "notifications"):
        getattr(first, name).append("x")
        assert getattr(second, name) == []
    first.labels["a"] = "b"
    first.policies.priority = 5
    first.resources.cpus = 5
    assert len(tasks) == 1
    assert second == JobDescription()


def test_any_iterable_will_do_but_a_string_is_no_list() -> None:
    job = JobDescription(tasks=(Task(image=i) for i in "ab"), output_files=("x", "y"))
    assert [task.image for task in job.tasks] == ["a", "b"]
    assert job.output_files == ["x", "y"]
    with pytest.raises(InvalidDescription) as caught:
        JobDescription(tasks=[Task(image="a")], output_files="out.txt").validate()
    assert (caught.value.field, caught.value.value) == ("outputFiles", "out.txt")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"foo": 1}, "foo"),
        ({"tasks": [{"image": "a"}, {"foo": 1}]}, "tasks[1].foo"),
        ({"tasks": {"image": "a"}}, "tasks"),
        ({"tasks": ["a"]}, "tasks[0]"),
        ({"resources": {"gpus": 1}}, "resources.gpus"),
        ({"resources": None}, "resources"),
        ({"policies": {"foo": 1}}, "policies.foo"),
        ({"policies": [1]}, "policies"),
        ({"inputs": [{"filename": "a", "content": "abc"}]}, "inputs[0].content"),
        ({"artifacts": [{"url": "a", "mountpoint": "b"}]}, "artifacts[0].mountpoint"),
        ({"notifications": [{"foo": 1}]}, "notifications[0].foo"),
    ],
)
def test_broken_json_is_refused_with_its_path(change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidDescription) as caught:
        JobDescription.from_dict({**EVERYTHING, **change})
    assert caught.value.field == field


def test_the_submission_label_does_not_come_back() -> None:
    labels = {SUBMISSION_LABEL: "ab12", "PROMINENCEsubmission": "cd", "mine": "x"}
    job = JobDescription.from_dict({**EVERYTHING, "labels": labels})
    assert job.labels == {"mine": "x"}
    assert labels[SUBMISSION_LABEL] == "ab12"


@pytest.mark.parametrize("label", [SUBMISSION_LABEL, "ProminenceSubmission"])
def test_users_cannot_set_the_submission_label(label: str) -> None:
    job = everything()
    job.labels[label] = "ab12"
    with pytest.raises(InvalidDescription, match="reserved for this library") as caught:
        job.validate()
    assert (caught.value.field, caught.value.value) == (f"labels.{label}", "ab12")
    assert check_job(job.to_dict(), reserved_label_allowed=True) == []


def test_a_subclass_has_its_own_artifacts() -> None:
    class Artifact(ArtifactDescription):
        pass

    class Job(JobDescription):
        artifact_type: ClassVar[type[ArtifactDescription]] = Artifact

    job = Job.from_dict(EVERYTHING)
    assert type(job) is Job
    assert type(job.artifacts[0]) is Artifact
    assert job != JobDescription.from_dict(EVERYTHING)
    assert job.to_dict() == EVERYTHING


def test_storage_is_never_shown() -> None:
    assert "storage=***" in repr(everything())
    assert "s3cret" not in repr(everything())
    with pytest.raises(InvalidDescription) as caught:
        JobDescription(tasks=[Task(image="a")], storage="s3cret").validate()  # type: ignore[arg-type]
    assert caught.value.field == "storage"
    assert "s3cret" not in str(caught.value)


def test_validate_raises_the_first_and_names_field_value_and_rule() -> None:
    job = JobDescription(name="a;b")
    with pytest.raises(InvalidDescription) as caught:
        job.validate()
    assert (caught.value.field, caught.value.value) == ("name", "a;b")
    assert "letters, digits" in caught.value.rule
    assert isinstance(caught.value, ValueError)


def test_validate_returns_what_only_some_servers_choke_on() -> None:
    job = everything()
    job.policies.maximum_time_in_queue = -1
    assert [(v.field, v.value, v.kind) for v in job.validate()] == [
        ("policies.maximumTimeInQueue", -1, "server-bug")
    ]


def test_copies_are_equal_and_independent() -> None:
    job = everything()
    double = copy.deepcopy(job)
    assert double == job
    double.tasks[0].image = "other"
    assert double != job
