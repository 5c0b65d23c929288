"""A workflow's life, and what is done with running jobs, against a scripted service."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_service import RESET, FakeService, Received, Reply, labelled, page, refuses, says

from prominence import Dependency, Job, ProminenceClient, Session, Task, Workflow
from prominence.exceptions import (
    InvalidDescription,
    NotFound,
    ProminenceError,
    ServiceError,
    ServiceUnavailable,
    SubmissionUncertain,
    WaitTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.clock import VirtualClock


@pytest.fixture
def session(client: ProminenceClient, clock: VirtualClock) -> Iterator[Session]:
    with Session(client=client, clock=clock, random=Random(1)) as session:
        yield session


def entry(status: str, done: int = 0, total: int = 2, **fields: Any) -> dict[str, Any]:
    return {"id": 9, "status": status, "progress": {"done": done, "total": total}, **fields}


def pipeline(session: Session) -> Workflow:
    first, second = (
        Job(name=name, tasks=[Task(image="alpine", command="true")]) for name in ("first", "second")
    )
    return Workflow(
        session=session, name="pipeline", jobs=[first, second], dependencies=[Dependency(first, [second])]
    )


def test_a_workflow_is_submitted_and_waited_for(fake: FakeService, session: Session) -> None:
    fake.script("POST", "/workflows", says({"id": 9}, 201))
    fake.script(
        "GET",
        "/workflows",
        says([]),
        says([entry("idle", total=0)]),
        says([entry("running", done=1)]),
        says([entry("completed", done=2)]),
    )
    fake.script("GET", "/workflows/9", says([]), says([entry("completed", done=2)]))
    workflow = pipeline(session)
    assert (workflow.id, workflow.status, workflow.progress) == (None, None, {})

    assert workflow.create() == workflow.id == 9
    assert workflow.wait() == "completed"

    assert workflow.succeeded
    assert workflow.done()
    assert workflow.progress == {"done": 2, "total": 2}
    (post,) = [each for each in fake.received if each.method == "POST"]
    sent = post.json()
    assert sent["dependencies"] == {"first": ["second"]}
    assert list(sent["labels"]) == ["prominencesubmission"]
    assert not any("labels" in job for job in sent["jobs"])


def test_marks_of_a_submission_are_given_to_the_jobs_too(fake: FakeService, session: Session) -> None:
    fake.script("POST", "/workflows", says({"id": 9}, 201))
    jobs = [
        Job(name="a", labels={"mine": "x"}, tasks=[Task(image="alpine")]),
        Job(name="b", tasks=[Task(image="alpine")]),
    ]

    Workflow(name="marked", jobs=jobs, session=session).create(marks={"prominencesession": "s"})

    (post,) = [each for each in fake.received if each.method == "POST"]
    assert post.json()["labels"]["prominencesession"] == "s"
    assert [job["labels"] for job in post.json()["jobs"]] == [
        {"mine": "x", "prominencesession": "s"},
        {"prominencesession": "s"},
    ]


def test_completed_is_doubted_while_jobs_are_not_done(fake: FakeService, session: Session) -> None:
    fake.script("GET", "/workflows", says([entry("completed", done=1)]), says([entry("completed", done=2)]))
    workflow = Workflow(id=9, session=session)

    assert workflow.wait() == "completed"
    assert workflow.succeeded


def test_a_workflow_with_a_cycle_ends_without_success(
    fake: FakeService, session: Session, clock: VirtualClock
) -> None:
    fake.script("GET", "/workflows", says([entry("completed", done=0)]))
    fake.script("GET", "/workflows/9", says([entry("completed", done=0)]))
    workflow = Workflow(id=9, session=session)

    assert workflow.wait() == "completed"

    assert not workflow.succeeded
    assert clock.elapsed >= 120


def test_a_workflow_nobody_knows_is_not_waited_for(fake: FakeService, session: Session) -> None:
    fake.script("GET", "/workflows", says([]))
    fake.script("GET", "/workflows/9", says([]))

    with pytest.raises(NotFound, match="does not know workflow 9"):
        Workflow(id=9, session=session).wait()
    with pytest.raises(NotFound, match="workflow 9"):
        Workflow(id=9, session=session).done()


def test_waiting_can_end_before_the_workflow(fake: FakeService, session: Session) -> None:
    fake.script("GET", "/workflows", says([entry("running")]))

    with pytest.raises(WaitTimeout, match="workflow 9 has not ended"):
        Workflow(id=9, session=session).wait(timeout=0.05)


def test_a_workflow_is_created_once(fake: FakeService, session: Session) -> None:
    fake.script("POST", "/workflows", says({"id": 9}, 201))
    workflow = pipeline(session)
    workflow.create()

    with pytest.raises(ProminenceError, match="submitted already, as 9"):
        workflow.create()


def test_a_lost_answer_is_looked_up_among_workflows(fake: FakeService, session: Session) -> None:
    fake.script("POST", "/workflows", RESET)
    fake.script("GET", "/workflows", labelled(9))

    assert pipeline(session).create() == 9

    assert [each.method for each in fake.received] == ["POST", "GET"]
    assert fake.received[1].query["constraint"].startswith("prominencesubmission=")


def test_what_can_be_done_with_a_workflow(fake: FakeService, session: Session) -> None:
    fake.script("DELETE", "/workflows/9", says({}), refuses("No such workflow(s)"))
    fake.script("PUT", "/workflows/9/remove", says({}), refuses("Workflow is no longer in the queue"))
    fake.script("PUT", "/workflows/9", says({"id": 10}))
    fake.script("GET", "/jobs", says([{"id": 5, "name": "pipeline/first", "status": "running"}]))
    workflow = Workflow(id=9, session=session)

    assert (workflow.delete(), workflow.delete()) == (True, False)
    assert (workflow.remove(), workflow.remove()) == (True, False)
    assert workflow.rerun() == 10
    (job,) = workflow.list_jobs()
    assert (job.id, job.name) == (5, "pipeline/first")
    assert fake.received[-1].query == {"id": "9", "workflow": "true", "all": "true"}


@pytest.mark.parametrize("lost", [RESET, page(502)])
def test_what_cannot_be_recognised_is_never_sent_twice(
    fake: FakeService, session: Session, lost: Reply
) -> None:
    fake.script("PUT", "/workflows/9", lost)
    fake.script("PUT", "/jobs/7/clone", lost)

    with pytest.raises(SubmissionUncertain, match="whether a rerun of workflow 9 was made") as rerun:
        Workflow(id=9, session=session).rerun()
    with pytest.raises(SubmissionUncertain, match="whether a clone of job 7 was made"):
        Job(id=7, session=session).clone()

    assert len(fake.received) == 2
    assert rerun.value.tag is None
    assert isinstance(rerun.value.__cause__, ServiceUnavailable)


def test_a_clone_that_was_certainly_not_made_is_not_in_doubt(fake: FakeService, session: Session) -> None:
    fake.script("PUT", "/jobs/7/clone", refuses("Job does not exist"))

    with pytest.raises(ServiceError, match="Job does not exist"):
        Job(id=7, session=session).clone()


def test_a_clone_is_another_job(fake: FakeService, session: Session) -> None:
    fake.script("PUT", "/jobs/7/clone", says({"id": 8}, 201))

    assert Job(id=7, session=session).clone().id == 8


def test_removing_a_job_tells_whether_it_was_there(fake: FakeService, session: Session) -> None:
    fake.script("PUT", "/jobs/7/remove", says({}), refuses("Job is no longer in the queue"))
    job = Job(id=7, session=session)

    assert (job.remove(), job.remove()) == (True, False)


# ---- running jobs


class Worker:
    """A running job that takes no commands at first; ``true`` is always fine afterwards."""

    def __init__(self, refusals: int, **answers: Reply) -> None:
        self._refusals = refusals
        self._answers = answers
        self.commands: list[str] = []

    def __call__(self, request: Received) -> Reply:
        command = request.query["command"]
        self.commands.append(command)
        if self._refusals:
            self._refusals -= 1
            return refuses("Unable to execute command")
        return self._answers.get(command.split(",")[0], Reply(body=b"", content_type="text/html"))


def test_a_command_is_sent_once_when_the_job_takes_commands(fake: FakeService, session: Session) -> None:
    worker = Worker(3, ls=Reply(body="é\n".encode(), content_type="text/html"))
    fake.script("POST", "/jobs/7/exec", worker)

    assert Job(id=7, session=session).execute("ls -l 'a b'") == "é\n"

    assert worker.commands == ["true"] * 4 + ["ls,-l,'a,b'"]  # the service makes blanks of the commas


def test_a_command_that_fails_is_not_sent_again(fake: FakeService, session: Session) -> None:
    worker = Worker(0, false=refuses("Unable to execute command"))
    fake.script("POST", "/jobs/7/exec", worker)

    with pytest.raises(ServiceError, match="Unable to execute command"):
        Job(id=7, session=session).execute(["false"])

    assert worker.commands == ["true", "false"]


def test_a_job_that_never_takes_commands_is_given_up(
    fake: FakeService, session: Session, clock: VirtualClock
) -> None:
    fake.script("POST", "/jobs/7/exec", refuses("Unable to execute command"))

    with pytest.raises(ServiceError, match="Unable to execute command"):
        Job(id=7, session=session).execute("ls")
    assert 60 <= clock.elapsed < 70


def test_a_job_that_does_not_run_takes_no_commands(fake: FakeService, session: Session) -> None:
    fake.script("POST", "/jobs/7/exec", refuses("Job is not running"))

    with pytest.raises(ServiceError, match="Job is not running"):
        Job(id=7, session=session).execute("ls")
    assert len(fake.received) == 1


@pytest.mark.parametrize("command", ["echo a,b", ["echo", "a,b"]])
def test_a_comma_cannot_be_sent_in_a_command(fake: FakeService, session: Session, command: Any) -> None:
    worker = Worker(0)
    fake.script("POST", "/jobs/7/exec", worker)

    with pytest.raises(InvalidDescription, match=r"command\[1\] = 'a,b': no comma"):
        Job(id=7, session=session).execute(command)
    assert worker.commands == []


@pytest.mark.parametrize("command", ["", []])
def test_no_command_is_none(command: Any, fake: FakeService, session: Session) -> None:
    with pytest.raises(InvalidDescription, match=r"command = .*: at least one word"):
        Job(id=7, session=session).execute(command)
    assert fake.received == []


RECORDED_DELAYS = [(7.89, 20), (24.83, 67), (8.69, 21)]
"""Seconds after a job was first seen running until it took commands, and how many were refused before."""


@pytest.mark.parametrize(("seconds", "refusals"), RECORDED_DELAYS)
def test_a_command_waits_as_long_as_real_jobs_let_it_wait(
    seconds: float, refusals: int, fake: FakeService, session: Session, clock: VirtualClock
) -> None:
    commands = []

    def worker(request: Received) -> Reply:
        commands.append(request.query["command"])
        if clock.elapsed < seconds:
            return refuses("Unable to execute command")
        return Reply(body=b"out\n", content_type="text/html")

    fake.script("POST", "/jobs/7/exec", worker)
    assert Job(id=7, session=session).execute("pwd") == "out\n"
    assert commands.count("pwd") == 1
    assert commands[-2:] == ["true", "pwd"]
    assert 2 < len(commands) <= refusals
    assert seconds <= clock.elapsed < seconds + 3


def test_a_lost_answer_to_a_probe_is_none_to_the_command(fake: FakeService, session: Session) -> None:
    fake.script("POST", "/jobs/7/exec", RESET, Reply(content_type="text/html"), RESET)
    with pytest.raises(ServiceUnavailable):
        Job(id=7, session=session).execute("rm data")
    sent = [each.query["command"] for each in fake.received]
    assert sent == ["true", "true", "rm,data"]


def test_a_snapshot_is_fetched_when_it_is_there(fake: FakeService, session: Session, tmp_path: Path) -> None:
    fake.script("POST", "/jobs/7/exec", Worker(1))
    fake.script("PUT", "/jobs/7/snapshot", says({}))
    fake.script("GET", "/jobs/7/snapshot", says({"url": f"{fake.url}/stored?Signature=x"}))
    fake.script("GET", "/stored", page(404), Reply(body=b"archive", content_type="binary/octet-stream"))

    assert Job(id=7, session=session).get_snapshot("res") == b"archive"
    saved = Job(id=7, session=session).get_snapshot("res", save_as=tmp_path / "s.tgz")
    assert (saved, saved.read_bytes()) == (tmp_path / "s.tgz", b"archive")


def test_where_a_snapshot_is_to_be_saved_is_looked_at_first(
    fake: FakeService, session: Session, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="no such directory to save in") as caught:
        Job(id=7, session=session).get_snapshot("res", save_as=tmp_path / "missing" / "s.tgz")
    assert caught.value.filename == str(tmp_path / "missing")
    assert fake.received == []


def test_a_snapshot_that_is_never_made_is_told(
    fake: FakeService, session: Session, clock: VirtualClock
) -> None:
    fake.script("POST", "/jobs/7/exec", Worker(0))
    fake.script("PUT", "/jobs/7/snapshot", says({}))
    fake.script("GET", "/jobs/7/snapshot", says({"url": f"{fake.url}/stored?Signature=x"}))
    fake.script("GET", "/stored", page(404))

    with pytest.raises(NotFound, match="no snapshot of 'res' was made"):
        Job(id=7, session=session).get_snapshot("res")
    assert clock.elapsed >= 30


# ---- the other calls


def test_objects_and_keys(fake: FakeService, client: ProminenceClient) -> None:
    listed = [{"name": "a.txt", "size": 3, "lastModified": "Mon, 23 Nov 2026 02:57:07 GMT"}]
    fake.script("GET", "/data", says(listed))
    fake.script("DELETE", "/data/group/a.txt", Reply(204))
    fake.script("POST", "/kv/a/b", says({}, 201), refuses("Atomic replacement not successful"))
    fake.script("GET", "/kv/a/b", Reply(body="café".encode(), content_type="text/html"))
    fake.script("GET", "/kv/a", says([{"/a/b": "x"}, {"/a/c": "y"}]))
    fake.script("GET", "/kv", says(["/a/b"]))
    fake.script("DELETE", "/kv/a", says({}))

    assert client.list_objects() == listed
    client.delete_object("group/a.txt")
    client.kv_set("a/b", "new")
    assert not client.kv_swap("a/b", "newer", expected="old")
    assert client.kv_get("a/b") == "café"
    assert client.kv_values("a") == {"/a/b": "x", "/a/c": "y"}
    assert client.kv_list() == ["/a/b"]
    client.kv_delete("a", prefix=True)
    queries = [each.query for each in fake.received if "/kv" in each.path]
    assert {"prev": "old"} in queries
    assert queries[-1] == {"prefix": "true"}


@pytest.mark.parametrize("value", ["", "x" * 15_968, "é" * 8000])
def test_values_that_the_store_refuses_are_not_sent(
    fake: FakeService, client: ProminenceClient, value: str
) -> None:
    with pytest.raises(InvalidDescription, match="1 to 15967 bytes"):
        client.kv_set("key", value)
    assert not fake.received


@pytest.mark.parametrize("name", ["a//b", "../x", "a/../b", "."])
def test_names_that_lead_elsewhere_are_not_sent(
    fake: FakeService, client: ProminenceClient, name: str
) -> None:
    with pytest.raises(InvalidDescription, match="parts between slashes"):
        client.delete_object(name)
    with pytest.raises(InvalidDescription, match="parts between slashes"):
        client.kv_get(name)
    assert not fake.received


def test_a_swap_whose_answer_is_lost_is_not_sent_again(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("POST", "/kv/a", RESET)

    with pytest.raises(ServiceUnavailable):
        client.kv_swap("a", "new", expected="old")
    assert len(fake.received) == 1


@pytest.mark.parametrize("label", [("a-b", "c"), ("a", "b' || TRUE || 'x"), ("a", "")])
def test_labels_that_a_server_would_paste_are_not_sent(
    fake: FakeService, client: ProminenceClient, label: tuple[str, str]
) -> None:
    with pytest.raises(InvalidDescription, match="label"):
        client.list_jobs(label=label)
    with pytest.raises(InvalidDescription, match="label"):
        client.list_workflows(label=label)
    with pytest.raises(InvalidDescription, match="name"):
        client.list_jobs(name='x" || TRUE')
    assert not fake.received


def test_health_and_usage(fake: FakeService, client: ProminenceClient) -> None:
    fake.script("GET", "/health", Reply(204), says({"errors": "A,B"}, 409))
    usage = {"usage": {"users": {"me": {"numberOfJobs": 2, "cpuTime": 0.5, "wallTime": 1.0}}}}
    fake.script("GET", "/accounting", says(usage))

    assert (client.is_healthy(), client.is_healthy()) == (True, False)
    assert client.usage("2026-01-01", "2026-12-31", by_group=True) == usage["usage"]
    assert fake.received[-1].query == {"start": "2026-01-01", "end": "2026-12-31", "by_group": "true"}
