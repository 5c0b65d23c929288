"""Lives of jobs against what a real PROMINENCE service said, in the order in which it was said."""

from __future__ import annotations

import base64
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.recordings import replay

from prominence import InputFile, Job, Resources, Task
from prominence.exceptions import NotFound
from prominence.snapshot import JobSnapshot

if TYPE_CHECKING:
    from prominence import ProminenceClient, Session

BUSYBOX = "busybox.sif"
LIMIT_S = 30.0


def recorded_job(session: Session, name: str, tag: str, command: str, **fields: Any) -> Job:
    """A job as the recordings have them; ``tag`` is in the label that they used."""
    return Job(
        session=session,
        name=name,
        labels={"session": "study1", "submission": tag},
        resources=Resources(cpus=fields.pop("cpus", 1), memory=1, disk=1, walltime=5),
        tasks=[Task(image=fields.pop("image", BUSYBOX), command=command)],
        **fields,
    )


def test_a_function_call_from_submission_to_its_result(real_session: Session, real: ProminenceClient) -> None:
    tag = "72d8208059264f0ca9be444bd3c79402"
    runner = (
        "import pickle,sys,os\nf=pickle.load(open('call.pkl','rb'))\nprint('python',sys.version.split()[0])\n"
        "open('result.pkl','wb').write(pickle.dumps(('value',f['x']**2)))\n"
    )
    call = base64.b64decode("gASVCgAAAAAAAAB9lIwBeJRLB3Mu")
    inputs = [InputFile("runner.py", runner), InputFile("call.pkl", call)]
    job = recorded_job(
        real_session,
        "call-0",
        tag,
        "python3 runner.py",
        image="python.sif",
        input_files=inputs,
        output_files=["result.pkl"],
    )
    seen: list[JobSnapshot] = []
    ended = threading.Event()

    def look(snapshot: JobSnapshot) -> None:
        seen.append(snapshot)
        if snapshot.has_ended:
            ended.set()

    with replay("executor-function-call") as cassette:
        assert job.create() == 840
        found = real.list_jobs(everything=True, label=("submission", tag)).entries
        assert [entry["id"] for entry in found] == [840]
        job.follow(look, lambda _: ended.set())
        assert ended.wait(LIMIT_S)
        real_session.watcher.close()
        result = real.download(seen[-1].entry["outputFiles"][0]["url"])
        assert pickle.loads(result) == ("value", 49)  # noqa: S301 - recorded by us
        assert job.stdout() == "python 3.13.5\n"
    assert [snapshot.status for snapshot in seen] == ["idle", "running", "completed"]
    assert job.succeeded
    assert job.exit_codes == (0,)
    assert cassette.all_played


COMMANDS = {
    "ok": ("e9b410bdbd1f468ca944843687b3268b", "sh -c 'echo out; echo err >&2'", []),
    "exit3": ("5ec55bc2cb6e49208a5cd3056315787d", "sh -c 'echo before; exit 3'", []),
    "nocmd": ("549e6a5094e64eaa87a42bbc3f0e587f", "no-such-command", []),
    "two": (
        "ca85046bd98045499dbf5c1d1dbf93db",
        "sh -c 'echo a > a.txt; echo b > b.txt'",
        ["a.txt", "b.txt"],
    ),
    "noout": ("231771ad156a42599c529378a5cba4be", "true", ["missing.txt"]),
}


def test_five_commands_and_how_they_ended(real_session: Session, real: ProminenceClient) -> None:
    jobs = [
        recorded_job(real_session, name, tag, command, output_files=outputs)
        for name, (tag, command, outputs) in COMMANDS.items()
    ]
    with replay("executor-commands") as cassette:
        ids = [job.create() for job in jobs]
        looks = [real.list_jobs(ids=ids).entries for _ in range(6)]
        detail = real.list_jobs(ids=ids, detail=True).entries
        outputs = [(job.stdout(), job.stderr()) for job in jobs]
    assert cassette.all_played
    assert [len(look) for look in looks] == [5, 5, 5, 5, 4, 5]  # one is on its way to the history
    found = {entry["name"]: JobSnapshot(entry) for entry in detail}
    assert {name: (each.status, each.exit_codes) for name, each in found.items()} == {
        "ok": ("completed", (0,)),
        "exit3": ("completed", (3,)),
        "nocmd": ("completed", (255,)),
        "two": ("completed", (0,)),
        "noout": ("failed", (0,)),
    }
    assert {name for name, each in found.items() if each.succeeded} == {"ok", "two"}
    assert found["noout"].reason == "Stageout failed due to no such file or directory"
    assert found["noout"].entry["outputFiles"] == [{"name": "missing.txt", "url": ""}]
    assert outputs[:2] == [("out\n", "err\n"), ("before\n", "")]
    assert "no-such-command" in outputs[2][1]


def test_output_is_read_while_the_job_runs_until_it_is_deleted(
    real_session: Session, real: ProminenceClient
) -> None:
    command = "sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; sleep 1; done'"
    job = recorded_job(real_session, "long", "5b03e46fe4274c44bb9ab04a731486c5", command)
    with replay("executor-cancel-and-logs") as cassette:
        assert job.create() == 858
        statuses, text = [], ""
        for _ in range(5):
            statuses.append(real.list_jobs(ids=[858]).entries[0]["status"])
            text += job.stdout(offset=len(text))
        assert statuses == ["idle", "idle", "running", "running", "running"]
        assert text == "line 1\nline 2\nline 3\n"
        assert job.delete()
        assert not job.delete()
        assert real.list_jobs(ids=[858]).entries[0]["status"] == "deleted"
        ended = JobSnapshot(real.list_jobs(ids=[858], detail=True).entries[0])
        assert (ended.reason, "endTime" in ended.events) == ("Job deleted by user", True)
    assert cassette.play_count == 15


def test_waiting_jobs_are_deleted_together(real_session: Session, real: ProminenceClient) -> None:
    tags = (
        "6de2313b911a458599797ad033ce0ef2",
        "d94c5b4234fa498ebe934f53e5131240",
        "9f0786ca8fb5467a92917745526e011a",
    )
    with replay("executor-cancel-and-logs") as cassette:
        ids = [recorded_job(real_session, "toolarge", tag, "true", cpus=64).create() for tag in tags]
        assert {entry["status"] for entry in real.list_jobs(ids=ids).entries} == {"idle"}
        assert real.delete_jobs(ids)
        assert {entry["status"] for entry in real.list_jobs(ids=ids).entries} == {"deleted"}
        assert not real.delete_jobs(ids)
    assert cassette.play_count == 7


def test_a_deleted_job_is_waited_for_to_its_end(real_session: Session) -> None:
    """What was recorded between its submission and its end is seen by the watcher."""
    seen: list[str] = []
    ended = threading.Event()
    job = Job(id=858, session=real_session)

    def look(snapshot: JobSnapshot) -> None:
        seen.append(snapshot.status)
        if snapshot.has_ended:
            ended.set()

    with replay("executor-cancel-and-logs") as cassette:
        job.follow(look, lambda _: ended.set())
        assert ended.wait(LIMIT_S)
        real_session.watcher.close()
    assert seen == ["idle", "running", "deleted"]
    assert job.status == "deleted"
    assert cassette.play_count == 7


def test_the_first_example_of_the_services_own_client(real_session: Session) -> None:
    command = (
        'sh -c "echo hello; env | sort; pwd; id; ls -la; ls -la /tmp; df /home/user; echo err >&2; '
        'echo data > out.txt; mkdir d; echo x > d/f; cat in.txt"'
    )
    job = Job(
        session=real_session,
        name="client-basic",
        labels={"app": "demo", "run": "1"},
        resources=Resources(cpus=1, memory=1, disk=1, walltime=10),
        tasks=[Task(image=BUSYBOX, command=command)],
        input_files=[InputFile("in.txt", "input content\n")],
        output_files=["out.txt"],
        output_directories=["d"],
    )
    with replay("client-basic") as cassette:
        assert job.create() == 2
        assert [job.status, job.status] == ["running", "completed"]
        assert job.succeeded
        assert job.exit_codes == (0,)
        assert job.stdout().startswith("hello\nAPPTAINER_APPNAME=\n")
        assert job.stderr() == "err\n"
        assert job.get_input_file("in.txt") == "input content\n"
        with pytest.raises(NotFound, match=r"it has out\.txt"):
            job.get_output_file("other.txt")
        with pytest.raises(NotFound, match="it has d"):
            job.get_output_directory("other")
    assert cassette.play_count == 8
