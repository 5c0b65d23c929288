"""Copies of jobs and workflows, and those that travel to another process."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_service import labelled, page, refuses

from prominence import (
    Dependency,
    Job,
    ParameterSet,
    ParameterSweep,
    ProminenceClient,
    Session,
    Task,
    Workflow,
)
from prominence.exceptions import InvalidDescription, ServiceError, SubmissionUncertain

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fake_service import FakeService

COPIES = pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])


def job(session: Session | None = None) -> Job:
    return Job(session=session, name="one", tasks=[Task(image="none", command="true")], labels={"a": "b"})


def workflow(session: Session | None = None) -> Workflow:
    first, second = job(), Job(name="two", tasks=[Task(image="none", command="true")])
    sweep = ParameterSweep(name="s", jobs=[second], parameters=[ParameterSet("p", 1, 3, 1)])
    dependencies = [Dependency(first, second)]
    jobs = [first, second]
    return Workflow(session=session, name="w", jobs=jobs, dependencies=dependencies, factories=[sweep])


def travelled(original: Any) -> Any:
    return pickle.loads(pickle.dumps(original))  # noqa: S301 - its own


@COPIES
@pytest.mark.parametrize("make", [job, workflow])
def test_a_copy_is_a_new_one_of_the_same_description(
    session: Session, make: Callable[..., Job | Workflow], copied: Callable[..., Job | Workflow]
) -> None:
    original = make(session)
    before = copied(original)
    original.create()
    after = copied(original)

    assert before.id is None
    assert after.id is None
    assert before.to_dict() == after.to_dict() == original.to_dict()
    ids = {original.id, before.create(), after.create()}
    assert len(ids) == 3


def test_a_deep_copy_shares_no_part_and_keeps_who_waits_for_whom() -> None:
    original = workflow()
    twin = copy.deepcopy(original)

    twin.jobs[0].name = "renamed"
    twin.jobs[0].tasks[0].command = "false"

    assert original.jobs[0].name == "one"
    assert original.jobs[0].tasks[0].command == "true"
    assert twin.to_dict()["dependencies"] == {"renamed": ["two"]}


@pytest.mark.parametrize("make", [job, workflow])
def test_one_that_was_not_submitted_travels_as_its_description(
    make: Callable[[], Job | Workflow],
) -> None:
    found = travelled(make())

    assert found.id is None
    assert found.to_dict() == make().to_dict()


def test_one_that_was_submitted_travels_with_its_id(session: Session) -> None:
    original = job(session)
    original.create()
    original.wait()

    found = travelled(original)
    found.use(session)

    assert found.id == original.id
    assert found.succeeded
    assert travelled(Job(id=5)).id == 5
    assert travelled(Workflow(id=5)).id == 5


def test_another_process_finds_what_is_in_doubt(fake: FakeService, client: ProminenceClient) -> None:
    doubtful = job(Session(client=client))
    fake.script("POST", "/jobs", page(503))
    fake.script("GET", "/jobs", refuses("who are you", 401))
    with pytest.raises(SubmissionUncertain):
        doubtful.create()
    elsewhere = travelled(doubtful)
    fake.script("GET", "/jobs", labelled(7))
    elsewhere.use(Session(client=client))

    assert elsewhere.create() == 7
    assert [each.method for each in fake.received].count("POST") == 1


def test_copies_of_what_was_refused_are_submissions_of_their_own(
    fake: FakeService, client: ProminenceClient
) -> None:
    refused = job(Session(client=client))
    fake.script("POST", "/jobs", refuses("no"))
    with pytest.raises(ServiceError):
        refused.create()
    for each in (travelled(refused), travelled(refused)):
        each.use(Session(client=client))
        with pytest.raises(ServiceError):
            each.create()

    tags = {each.json()["labels"]["prominencesubmission"] for each in fake.received if each.method == "POST"}
    assert len(tags) == 3


@pytest.mark.parametrize("wrong", [0, -1, "5", "abc", 5.7, True])
def test_an_id_is_a_whole_number_above_0(wrong: object) -> None:
    with pytest.raises(InvalidDescription, match="id = "):
        Job(id=wrong)  # type: ignore[arg-type]
