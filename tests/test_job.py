"""A job's life through the library, on the local service."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
from support.until import until

from prominence import InputFile, Job, JobPolicies, ProminenceClient, Session, Task, Workflow
from prominence.exceptions import (
    InvalidDescription,
    NotFound,
    ProminenceError,
    WaitTimeout,
)

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService


def make(session: Session, command: str, **description: object) -> Job:
    return Job(session=session, tasks=[Task(image="none", command=command)], **description)


def test_the_specifications_first_example(
    service: LocalService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "first.py"
    script.write_text(
        "from prominence import Job, Task\n"
        "task = Task()\n"
        "task.image = 'centos:7'\n"
        "task.runtime = 'singularity'\n"
        "task.command = 'hostname'\n"
        "job = Job()\n"
        "job.tasks.append(task)\n"
        "job.create()\n"
        "job.wait()\n"
        "print(job.stdout())\n"
    )
    monkeypatch.setenv("PROMINENCE_URL", "local")
    monkeypatch.setenv("PROMINENCE_LOCAL_DIR", str(service.directory))

    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == os.uname().nodename
    assert done.stderr == ""


def test_a_job_is_created_waited_for_and_read(session: Session) -> None:
    job = make(session, "sh -c 'echo out; echo err >&2'", name="hello", labels={"a": "b"})
    assert (job.id, job.status, job.events, job.exit_codes) == (None, None, {}, ())

    created = job.create()

    assert job.id == created
    assert job.wait() == "completed"
    assert job.done()
    assert (job.status, job.status_reason, job.exit_codes, job.succeeded) == ("completed", "", (0,), True)
    assert set(job.events) == {"createTime", "startTime", "endTime"}
    assert job.execution["tasks"][0]["exitCode"] == 0
    assert (job.stdout(), job.stderr(), job.stdout(offset=2)) == ("out\n", "err\n", "t\n")


def test_completed_is_not_succeeded(session: Session) -> None:
    job = make(session, "false")
    job.create()

    assert job.wait() == "completed"
    assert (job.succeeded, job.exit_codes) == (False, (1,))


def test_output_may_be_any_bytes(session: Session) -> None:
    job = make(session, r"printf '\377\376é'")
    job.create()
    job.wait()

    assert job.stdout(encoding=None) == b"\xff\xfe\xc3\xa9"
    assert job.stdout() == "\ufffd\ufffdé"
    assert job.stdout(encoding="latin-1") == "ÿþÃ©"


def test_files_go_in_and_out(session: Session, tmp_path: Path) -> None:
    job = make(
        session,
        "sh -c 'mkdir d; cp data d/; cp data out/'",
        input_files=[InputFile("data", b"\x00\x01"), InputFile("text", "é")],
        output_files=["data"],
        output_directories=["d"],
    )
    job.create()
    job.wait()

    assert job.get_input_file("text") == "é"
    assert job.get_input_file("data", encoding=None) == b"\x00\x01"
    assert job.get_output_file("data", encoding=None) == b"\x00\x01"
    saved = job.get_output_file("data", save_as=tmp_path / "saved")
    assert (saved, saved.read_bytes()) == (tmp_path / "saved", b"\x00\x01")
    archive = job.get_output_directory("d")
    assert job.get_output_directory("d", save_as=tmp_path / "d.tgz").read_bytes() == archive
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        assert found.getnames() == ["d", "d/data"]
    with pytest.raises(NotFound, match="no output 'other'; it has data"):
        job.get_output_file("other")
    with pytest.raises(NotFound, match="no input file 'other'; it has data, text"):
        job.get_input_file("other")


def test_an_output_that_was_not_stored_is_told(session: Session) -> None:
    job = make(session, "true", output_files=["missing"])
    job.create()

    assert job.wait() == "failed"
    assert job.status_reason == "Stageout failed due to no such file or directory"
    with pytest.raises(NotFound, match=r"missing .* was not stored"):
        job.get_output_file("missing")


def test_waiting_can_end_before_the_job(session: Session) -> None:
    job = make(session, "sleep 600")
    job.create()

    with pytest.raises(WaitTimeout, match=f"job {job.id} has not ended after 0.05 s; it goes on"):
        job.wait(timeout=0.05)

    assert not job.done()
    assert job.delete()
    assert job.wait() == "deleted"
    assert job.status_reason == "Job deleted by user"
    assert not job.delete()


def test_output_of_the_last_try_is_followed_to_its_end(session: Session) -> None:
    job = make(session, "sh -c 'echo try; exit 1'", policies=JobPolicies(maximum_retries=1))
    job.create()
    pieces = "".join(job.logs(follow=True)).split("\n[job")
    assert pieces[-1].endswith("try\n")
    assert len(pieces) <= 2
    assert job.execution["retries"] == 1


def test_somebody_else_may_wait_for_the_same_job(session: Session, service: LocalService) -> None:
    job = make(session, "sleep 600")
    job.create()
    same = Job(id=job.id, session=session)
    with Session(service.settings()) as other:
        third = Job(id=job.id, session=other)
        until(lambda: third.status == "running")
        same.delete()

        assert [each.wait(timeout=30) for each in (job, same, third)] == ["deleted"] * 3
        assert Job(id=job.id, session=session).wait() == "deleted"


def test_an_unknown_job_is_not_found(session: Session) -> None:
    job = Job(id=987654, session=session)

    for call in (job.wait, job.done, lambda: job.status, lambda: job.exit_codes):
        with pytest.raises(NotFound, match="987654"):
            call()
    assert not job.delete()


def test_a_wait_that_ends_before_the_service_has_shown_the_job_says_so(session: Session) -> None:
    with pytest.raises(WaitTimeout, match=r"not shown job 987654 within 0\.05 s: it may not exist"):
        Job(id=987654, session=session).wait(0.05)


def test_a_job_that_was_not_created_says_so(session: Session) -> None:
    job = make(session, "true")

    for call in (job.wait, job.done, job.delete, job.stdout, lambda: job.get_output_file("x")):
        with pytest.raises(ProminenceError, match=r"not submitted yet: call create\(\) first"):
            call()


def test_a_job_is_created_once(session: Session) -> None:
    job = make(session, "true")
    job.create()

    with pytest.raises(ProminenceError, match=f"submitted already, as {job.id}"):
        job.create()


def test_nothing_is_sent_of_what_breaks_a_rule(session: Session) -> None:
    before = len(session.client.list_jobs(everything=True).entries)

    with pytest.raises(InvalidDescription, match="name"):
        make(session, "true", name="a;b").create()

    assert len(session.client.list_jobs(everything=True).entries) == before


def test_jobs_are_themselves_and_descriptions_equal(session: Session) -> None:
    one, other = make(session, "true"), make(session, "true")

    assert one != other
    assert len({one, other, one}) == 2
    assert one.to_dict() == other.to_dict()


def test_the_client_lists_deletes_and_describes(service: LocalService) -> None:
    with ProminenceClient(service.endpoint.url, service.endpoint.token) as client:
        ids = [
            client.create_job(make(Session(), "sleep 600", name="listed-here").to_dict()).id for _ in range(3)
        ]

        assert {job["id"] for job in client.list_jobs(name="listed-here").entries} == set(ids)
        assert [job["id"] for job in client.list_jobs(ids=ids[:1], detail=True).entries] == ids[:1]
        assert client.describe_job(ids[0]).entries[0]["resources"]["walltime"] == 720
        assert client.delete_job(ids[0])
        assert client.delete_jobs(ids)
        assert not client.delete_jobs(ids)
        statuses = {job["status"] for job in client.list_jobs(ids=ids).entries}
        assert statuses == {"deleted"}
        assert client.resources()["existing"][0]["capacity"] == {"cpus": 8, "memory": 64.0}


def test_a_session_of_the_parent_is_not_used_after_fork() -> None:
    script = (
        "import os, sys\n"
        "from prominence import Session, Settings\n"
        "from prominence.exceptions import ProminenceError\n"
        "session = Session(Settings.from_environment())\n"
        "default = Session.default()\n"
        "session.client\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    assert Session.default() is not default\n"
        "    try:\n"
        "        session.client\n"
        "    except ProminenceError as error:\n"
        "        os._exit(7 if 'parent process' in str(error) else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 7


def test_a_running_job_can_be_looked_into_cloned_and_removed(session: Session) -> None:
    job = make(session, "sh -c 'mkdir res; echo 1 > res/a; sleep 600'")
    job.create()

    until(lambda: job.status == "running")
    until(lambda: job.execute("ls") == "res\n")
    assert job.execute("sh -c 'echo a  b | wc -c; echo $HOME'").split()[0] == "4"
    assert job.execute(["echo", "a  b", "$HOME"]) == "a  b $HOME\n"
    archive = job.get_snapshot("res")
    clone = job.clone()
    job.remove()

    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["res", "res/a"]
    assert clone.id != job.id
    job.delete()
    clone.delete()


def test_a_workflow_through_the_library(session: Session) -> None:
    jobs = [Job(name=name, tasks=[Task(image="none", command=f"echo {name}")]) for name in ("a", "b")]
    workflow = Workflow(name="two", jobs=jobs, dependencies={"a": ["b"]}, session=session)

    workflow.create()

    assert workflow.wait(60) == "completed"
    assert workflow.succeeded
    assert workflow.progress == {"total": 2, "done": 2, "failed": 0, "queued": 0, "waiting": 0}
    assert {job.name: job.stdout() for job in workflow.list_jobs()} == {"two/a": "a\n", "two/b": "b\n"}
    with pytest.raises(NotFound):
        Workflow(id=99999, session=session).done()
