"""Workflows, dependencies and factories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from prominence.description import (
    SUBMISSION_LABEL,
    Dependency,
    Factory,
    JobDescription,
    Notification,
    ParameterSet,
    ParameterSweep,
    Repeat,
    Task,
    WorkflowDescription,
    WorkflowPolicies,
    Zip,
    check_workflow,
)
from prominence.exceptions import InvalidDescription

if TYPE_CHECKING:
    from collections.abc import Callable


def job(name: str, **properties: Any) -> JobDescription:
    return JobDescription(name=name, tasks=[Task(image="centos:7", command="true")], **properties)


def workflow(*names: str, **properties: Any) -> WorkflowDescription:
    return WorkflowDescription(name="flow", jobs=[job(name) for name in names], **properties)


def test_every_property_and_its_json() -> None:
    first, second = job("first"), job("second")
    whole = WorkflowDescription(
        name="flow",
        labels={"project": "x"},
        jobs=[first, second],
        dependencies=[Dependency(first, [second])],
        factories=[Repeat(name="copies", jobs=[second], number=3)],
        policies=WorkflowPolicies(maximum_retries=2),
        notifications=[Notification("workflowFinished", "email")],
    )
    sent = {
        "name": "flow",
        "labels": {"project": "x"},
        "jobs": [first.to_dict(), second.to_dict()],
        "dependencies": {"first": ["second"]},
        "factories": [{"name": "copies", "type": "repeat", "number": 3, "jobs": ["second"]}],
        "policies": {"maximumRetries": 2},
        "notifications": [{"event": "workflowFinished", "type": "email"}],
    }
    assert whole.to_dict() == whole.json() == sent
    assert whole.validate() == []
    again = WorkflowDescription.from_dict(sent)
    assert again == whole
    assert again.to_dict() == sent


def test_an_empty_workflow_says_nothing() -> None:
    assert WorkflowDescription().to_dict() == {}
    assert WorkflowDescription() == WorkflowDescription(jobs=[], dependencies={})
    first, second = WorkflowDescription(), WorkflowDescription()
    first.jobs.append(job("a"))
    first.dependencies.append(Dependency("a", ["b"]))
    assert second.jobs == second.dependencies == []


def test_dependencies_can_be_assigned_as_they_are_sent() -> None:
    flow = workflow("a", "b", "c")
    flow.dependencies = {"a": ["b", "c"]}  # type: ignore[assignment]
    assert flow.dependencies == [Dependency("a", ["b", "c"])]
    assert flow.to_dict()["dependencies"] == {"a": ["b", "c"]}
    with pytest.raises(InvalidDescription) as caught:
        flow.dependencies = {"a": "b"}  # type: ignore[assignment]
    assert (caught.value.field, caught.value.value) == ("dependencies.a", "b")


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ([("a", "b")], "dependencies[0]", ("a", "b")),
        ([Dependency("a", "b"), {"a": ["c"]}], "dependencies[1]", {"a": ["c"]}),
        ("ab", "dependencies", "ab"),
    ],
)
def test_what_is_no_dependency_is_told_when_it_is_assigned(given: Any, field: str, value: object) -> None:
    with pytest.raises(InvalidDescription, match=r"a Dependency\(parent, children\)") as caught:
        workflow("a", "b", "c").dependencies = given
    assert (caught.value.field, caught.value.value) == (field, value)


SECRET = {"username": "user", "token": "canary"}
TASK = {"image": "a", "runtime": "singularity", "imagePullCredential": SECRET}


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (lambda: JobDescription.from_dict({"tasks": TASK}), "tasks"),
        (lambda: JobDescription.from_dict({"tasks": [{"credential": SECRET}]}), "tasks[0].credential"),
        (lambda: JobDescription.from_dict({"store": {"b2drop": SECRET}}), "store"),
        (lambda: JobDescription.from_dict([TASK]), "description"),  # type: ignore[arg-type]
        (lambda: WorkflowDescription.from_dict({"jobs": {"tasks": [TASK]}}), "jobs"),
        (lambda: JobDescription(tasks=[{**TASK, "credential": SECRET}]).validate(), "tasks[0].credential"),  # type: ignore[list-item]
        (lambda: JobDescription(tasks=TASK).validate(), "tasks"),  # type: ignore[arg-type]
        (lambda: JobDescription(tasks=[[TASK]]).validate(), "tasks[0]"),  # type: ignore[list-item]
        (lambda: WorkflowDescription(jobs=JobDescription.from_dict({"tasks": [TASK]})).validate(), "jobs"),  # type: ignore[arg-type]
    ],
)
def test_what_is_in_the_wrong_place_is_told_without_its_secrets(
    broken: Callable[[], object], field: str
) -> None:
    with pytest.raises(InvalidDescription) as caught:
        broken()
    assert (caught.value.field, caught.value.value) == (field, "***")
    assert "canary" not in str(caught.value)


def test_dependencies_of_one_parent_are_merged() -> None:
    flow = workflow("a", "b", "c")
    flow.dependencies = [Dependency("a", ["b"]), Dependency("a", ["c", "b"]), Dependency("b", "c")]
    assert flow.to_dict()["dependencies"] == {"a": ["b", "c"], "b": ["c"]}
    merged = workflow("a", "b", "c", dependencies={"a": ["b", "c"], "b": ["c"]})
    assert flow == merged


def test_names_are_those_at_the_time_of_sending() -> None:
    parent, child = job("old"), job("child")
    dependency = Dependency(parent, child)
    factory = Repeat(name="f", jobs=[parent], number=1)
    parent.name = "new"
    assert dependency.to_dict() == {"new": ["child"]}
    assert factory.to_dict()["jobs"] == ["new"]
    assert repr(dependency) == "Dependency(parent='new', children=['child'])"
    assert repr(factory) == "Repeat(name='f', jobs=['new'], number=1)"


def test_a_dependency_comes_back_from_json() -> None:
    assert Dependency.from_dict({"a": ["b"]}) == Dependency("a", "b")
    with pytest.raises(InvalidDescription):
        Dependency.from_dict({"a": ["b"], "b": ["c"]})


FACTORIES = {
    "sweep": (
        ParameterSweep(name="f", jobs=["a"], parameters=[ParameterSet("x", 0, 1, 0.5)]),
        {
            "name": "f",
            "type": "parameterSweep",
            "jobs": ["a"],
            "parameters": [{"name": "x", "start": 0, "end": 1, "step": 0.5}],
        },
    ),
    "zip": (
        Zip(
            name="f",
            jobs=["a"],
            parameters=[ParameterSet("x", values=range(2)), ParameterSet("y", values=["u", "v"])],
        ),
        {
            "name": "f",
            "type": "zip",
            "jobs": ["a"],
            "parameters": [{"name": "x", "values": [0, 1]}, {"name": "y", "values": ["u", "v"]}],
        },
    ),
    "repeat": (
        Repeat(name="f", jobs=["a"], number=2),
        {"name": "f", "type": "repeat", "jobs": ["a"], "number": 2},
    ),
}


@pytest.mark.parametrize("kind", FACTORIES)
def test_factories_and_their_json(kind: str) -> None:
    factory, sent = FACTORIES[kind]
    assert factory.to_dict() == factory.json() == sent
    again = Factory.from_dict(sent)
    assert type(again) is type(factory)
    assert again == factory
    assert type(factory).from_dict(sent) == factory
    flow = workflow("a", factories=[factory])
    assert flow.validate() == []


@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        (Factory, {"type": "sweep"}, "type"),
        (Factory, {"name": "f"}, "type"),
        (Zip, {"type": "repeat", "number": 2}, "type"),
        (Factory, {"type": "repeat", "num": 2}, "num"),
        (Factory, {"type": ["zip"]}, "type"),
        (
            Factory,
            {"type": "parameterSweep", "parameters": [{"name": "x", "number": 2}]},
            "parameters[0].number",
        ),
        (Factory, {"type": "zip", "parameters": {"x": [1]}}, "parameters"),
        (Factory, [], "description"),
    ],
)
def test_broken_json_of_a_factory(kind: type[Factory], data: Any, field: str) -> None:
    with pytest.raises(InvalidDescription) as caught:
        kind.from_dict(data)
    assert caught.value.field == field


def test_a_subclass_of_a_factory_makes_its_own() -> None:
    class Mine(Zip):
        pass

    assert type(Mine.from_dict(FACTORIES["zip"][1])) is Mine


def test_paths_reach_into_the_jobs() -> None:
    flow = workflow("a", "b")
    flow.jobs[1].tasks[0].image = None
    with pytest.raises(InvalidDescription) as caught:
        flow.validate()
    assert caught.value.field == "jobs[1].tasks[0].image"
    data = flow.to_dict()
    data["jobs"][1]["tasks"][0]["foo"] = 1
    with pytest.raises(InvalidDescription) as caught:
        WorkflowDescription.from_dict(data)
    assert caught.value.field == "jobs[1].tasks[0].foo"


def test_the_submission_label_stays_with_the_service() -> None:
    data = workflow("a", labels={SUBMISSION_LABEL: "ab", "mine": "x"}).to_dict()
    data["jobs"][0]["labels"] = {SUBMISSION_LABEL.upper(): "ab"}
    flow = WorkflowDescription.from_dict(data)
    assert flow.labels == {"mine": "x"}
    assert flow.jobs[0].labels == {}
    assert [v.field for v in check_workflow(data)] == [
        f"labels.{SUBMISSION_LABEL}",
        f"jobs[0].labels.{SUBMISSION_LABEL.upper()}",
    ]
    assert check_workflow(data, reserved_label_allowed=True) == []


def test_a_subclass_has_its_own_jobs() -> None:
    class Job(JobDescription):
        pass

    class Workflow(WorkflowDescription):
        job_type: ClassVar[type[JobDescription]] = Job

    flow = Workflow.from_dict(workflow("a").to_dict())
    assert type(flow) is Workflow
    assert type(flow.jobs[0]) is Job
