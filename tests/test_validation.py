"""What is said of a description before it is sent, to whom, and by which names."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_service import FakeService, says

from prominence import (
    Artifact,
    InputFile,
    Job,
    JobPolicies,
    Notification,
    ParameterSet,
    ProminenceClient,
    Resources,
    Session,
    Task,
    Workflow,
    Zip,
)
from prominence.exceptions import InvalidDescription, ServerBugWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.service import LocalService

TASK = Task(image="none", command="true")


@pytest.fixture
def fake() -> Iterator[FakeService]:
    """A service that is not this library's own."""
    with FakeService() as service:
        service.script("GET", "/resources", says({"existing": []}))
        service.script("POST", "/jobs", says({"id": 7}, 201))
        service.script("POST", "/workflows", says({"id": 9}, 201))
        yield service


@pytest.fixture
def remote(fake: FakeService) -> Iterator[Session]:
    with Session(client=ProminenceClient(fake.url, "a-token")) as session:
        yield session


def posted(fake: FakeService) -> list[str]:
    return [path for method, path in fake.sent if method == "POST"]


def test_what_some_servers_choke_on_is_a_warning(fake: FakeService, remote: Session) -> None:
    job = Job(session=remote, tasks=[TASK], resources=Resources(memory=0.5))

    with pytest.warns(ServerBugWarning, match=r"resources\.memory = 0\.5: GB, a whole number") as caught:
        assert job.create() == 7

    (warning,) = [each.message for each in caught]
    assert isinstance(warning, ServerBugWarning)
    assert (warning.field, warning.value, warning.attribute) == ("resources.memory", 0.5, "resources.memory")
    assert caught[0].filename == __file__
    assert posted(fake) == ["/jobs"]


def test_what_would_never_end_is_not_sent(fake: FakeService, remote: Session) -> None:
    blank = Zip(name="f", jobs=["a"], parameters=[ParameterSet("x", values=["no blank", "b"])])
    waiting = Workflow(session=remote, name="w", jobs=[Job(name="a", tasks=[TASK])], factories=[blank])
    jobs = [Job(name="run", tasks=[TASK]), Job(name="postrun", tasks=[TASK])]
    looping = Workflow(session=remote, name="w", jobs=jobs, dependencies={"run": ["postrun"]})

    with pytest.raises(InvalidDescription, match=r"values\[0\] = 'no blank': without blanks .*never end"):
        waiting.create()
    with pytest.raises(InvalidDescription, match=r"dependencies = \['postrun', 'postrun'\]: without a cycle"):
        looping.create()
    assert posted(fake) == []


def test_the_service_on_this_machine_has_none_of_these_faults(
    session: Session, service: LocalService
) -> None:
    by_url = Session(client=ProminenceClient(service.endpoint.url, service.endpoint.token))
    with by_url:
        for each in (session, by_url):
            job = Job(session=each, tasks=[TASK], resources=Resources(memory=0.5))
            job.create()  # a warning would be an error here
            assert job.wait() == "completed"


def test_a_remote_service_is_not_asked_which_it_is(remote: Session, fake: FakeService) -> None:
    Job(session=remote, tasks=[TASK]).create()

    assert fake.sent == [("POST", "/jobs")]


NAMES: list[tuple[dict[str, Any], str, str]] = [
    ({"tasks": [TASK, Task(image="none", command=5)]}, "tasks[1].cmd", "tasks[1].command"),
    ({"tasks": [Task(image="none", procs_per_node=0)]}, "tasks[0].procsPerNode", "tasks[0].procs_per_node"),
    ({"input_files": [InputFile("..", "x")]}, "inputs[0].filename", "input_files[0].filename"),
    ({"input_files": [InputFile("missing")]}, "inputs[0].filename", "input_files[0].filename"),
    ({"output_files": [5]}, "outputFiles[0]", "output_files[0]"),
    ({"resources": Resources(cpus_range=[1])}, "resources.cpusRange", "resources.cpus_range"),
    ({"artifacts": [Artifact("")]}, "artifacts[0].url", "artifacts[0].name"),
    (
        {"artifacts": [Artifact("a", mount_point="b")]},
        "artifacts[0].mountpoint",
        "artifacts[0].mount_point",
    ),
    (
        {"policies": JobPolicies(maximum_task_retries=9)},
        "policies.maximumTaskRetries",
        "policies.maximum_task_retries",
    ),
    ({"notifications": [Notification(type="email")]}, "notifications[0].event", "notifications[0].event"),
    ({"labels": {"a.b": "x"}}, "labels.a.b", "labels.a.b"),
]


@pytest.mark.parametrize(("description", "field", "attribute"), NAMES, ids=[name for _, name, _ in NAMES])
def test_the_attribute_is_named_beside_the_field(
    description: dict[str, Any], field: str, attribute: str
) -> None:
    with pytest.raises(InvalidDescription) as caught:
        Job(**{"tasks": [TASK], **description}).validate()

    error = caught.value
    assert (error.field, error.attribute) == (field, attribute)
    shown = field if field == attribute else f"{field} ({attribute} in Python)"
    assert str(error).startswith(f"{shown} = ")
    again = copy.copy(error)  # as pickling does
    assert (str(again), again.attribute) == (str(error), attribute)


def test_attributes_of_a_workflows_jobs_are_named() -> None:
    broken = Workflow(name="w", jobs=[Job(name="a", tasks=[Task(image="none", command=5)])])

    with pytest.raises(InvalidDescription) as caught:
        broken.validate()
    assert caught.value.attribute == "jobs[0].tasks[0].command"


def test_two_of_which_only_one_can_be_set_are_named() -> None:
    with pytest.raises(InvalidDescription, match=r"cpusRange \(cpus_range in Python\) = \[1, 2\]: cpus is 4"):
        Resources(cpus=4, cpus_range=[1, 2])


@pytest.mark.parametrize(
    ("description", "part"),
    [
        ({"input_files": [InputFile("a", b"x"), InputFile("b", bytes(900_000))]}, r"inputs\[1\]\.content"),
        ({"tasks": [Task(image="none", command="x" * 2**20)]}, r"tasks\[0\]\.cmd"),
        ({"input_files": [InputFile(str(n), bytes(200_000)) for n in range(9)]}, "inputs"),
    ],
)
def test_the_largest_part_of_what_is_too_large_is_named(
    description: dict[str, Any], part: str, fake: FakeService, remote: Session
) -> None:
    job = Job(session=remote, **{"tasks": [TASK], **description})

    with pytest.raises(InvalidDescription, match=rf"^{part} = '\d+ bytes': .* may have 1048576"):
        job.create()
    assert fake.received == []
