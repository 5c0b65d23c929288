"""Nothing is lost and nothing runs twice, whatever is killed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from typing import TYPE_CHECKING

import psutil
import pytest
import requests
from support.service import LocalService, is_alive, job
from support.until import until

from prominence import Job, Session, Task
from prominence.exceptions import LocalServiceError
from prominence.local import daemon
from prominence.local.machine.files import AttemptFiles, read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path


def _counting(runs: Path, gate: Path) -> str:
    """A command that leaves a line at its start and at its end, with a wait for the gate in between."""
    return f'sh -c "echo begin >> {runs}; while ! test -e {gate}; do sleep 0.05; done; echo end >> {runs}"'


def _identity(service: LocalService) -> str:
    """The name of the database in use."""
    with sqlite3.connect(service.state.database) as connection:
        return str(connection.execute("select name from identity").fetchone()[0])


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def test_running_jobs_survive_the_service(own_service: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    runs = [tmp_path / f"runs{number}" for number in range(10)]
    ids = [own_service.post_job(_counting(each, gate)) for each in runs]
    until(lambda: all(_lines(each) == ["begin"] for each in runs))

    own_service.kill()
    own_service.start()
    assert {own_service.describe(each)["status"] for each in ids} == {"running"}
    gate.touch()

    for job_id, each in zip(ids, runs, strict=True):
        ended = own_service.ended(job_id)
        assert (ended["status"], ended["execution"]["tasks"][0]["exitCode"]) == ("completed", 0)
        assert _lines(each) == ["begin", "end"]


def test_jobs_that_end_while_no_service_runs_keep_their_exit_codes(
    own_service: LocalService, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    command = f'sh -c "while ! test -e {gate}; do sleep 0.05; done; echo out > o; exit 4"'
    job_id = own_service.post_job(command, outputFiles=["o"])
    until(lambda: own_service.describe(job_id)["status"] == "running")
    supervisor = _claim_pid(own_service, job_id)

    own_service.kill()
    gate.touch()
    until(lambda: not is_alive(supervisor))
    own_service.start()

    ended = own_service.ended(job_id)
    assert ended["execution"]["tasks"][0]["exitCode"] == 4
    assert ended["outputFiles"][0]["size"] == 4


def test_queued_jobs_survive_the_service(own_service: LocalService, tmp_path: Path) -> None:
    blocker = own_service.post_job("sleep 600", resources={"cpus": 10})
    until(lambda: own_service.describe(blocker)["status"] == "running")
    runs = tmp_path / "runs"
    ids = [own_service.post_job(f'sh -c "echo run >> {runs}"') for _ in range(20)]

    own_service.kill()
    own_service.start()
    assert own_service.describe(blocker)["status"] == "running"
    own_service.request("DELETE", f"/jobs/{blocker}")

    assert [own_service.ended(each)["status"] for each in ids] == ["completed"] * 20
    assert _lines(runs) == ["run"] * 20


def test_a_lost_supervisor_evicts_the_job_and_ends_its_tasks(
    own_service: LocalService, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    job_id = own_service.post_job(f'sh -c "echo $$$$ > {pid_file}; sleep 600"')
    until(lambda: _lines(pid_file))

    os.kill(_claim_pid(own_service, job_id), signal.SIGKILL)

    ended = own_service.ended(job_id)
    assert (ended["status"], ended["statusReason"]) == ("failed", "Job was evicted")
    assert not is_alive(int(_lines(pid_file)[0]))


def test_an_evicted_job_is_tried_again_if_it_may(own_service: LocalService, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    script = f'sh -c "echo run >> {runs}; test $$(wc -l < {runs}) = 2 || sleep 600"'
    job_id = own_service.post_job(script, policies={"maximumRetries": 1})
    until(lambda: _lines(runs))

    os.kill(_claim_pid(own_service, job_id), signal.SIGKILL)

    assert own_service.ended(job_id)["status"] == "completed"
    assert _lines(runs) == ["run", "run"]


def test_supervisors_lost_while_no_service_runs_are_noticed(own_service: LocalService) -> None:
    job_id = own_service.post_job("sleep 600")
    until(lambda: own_service.describe(job_id)["status"] == "running")
    supervisor = _claim_pid(own_service, job_id)

    own_service.kill()
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not is_alive(supervisor))
    own_service.start()

    assert own_service.ended(job_id)["statusReason"] == "Job was evicted"


def test_an_attempt_of_another_boot_is_never_started_again(own_service: LocalService, tmp_path: Path) -> None:
    blocker = own_service.post_job("sleep 600", resources={"cpus": 10})
    until(lambda: own_service.describe(blocker)["status"] == "running")
    runs = tmp_path / "runs"
    job_id = own_service.post_job(f'sh -c "echo run >> {runs}"')
    own_service.kill()
    database = _identity(own_service)
    files = AttemptFiles(own_service.state.attempts / f"{job_id}-1")
    # what a crash between intent and start leaves
    files.create({"boot_id": "another", "database": database, "job": {}})

    own_service.start()

    assert own_service.ended(job_id)["statusReason"] == "Job was evicted"
    assert not runs.exists()


def test_a_deleted_job_is_ended_by_the_next_service(own_service: LocalService) -> None:
    job_id = own_service.post_job("sleep 600")
    until(lambda: own_service.describe(job_id)["status"] == "running")
    supervisor = _claim_pid(own_service, job_id)
    database = own_service.state.database
    own_service.kill()
    with sqlite3.connect(database) as connection:  # the service died right after it wrote this
        connection.execute("update jobs set status = 'deleted' where id = ?", (job_id,))
    connection.close()

    own_service.start()

    until(lambda: not is_alive(supervisor))


def _launcher(service: LocalService) -> psutil.Process:
    children = psutil.Process(service.endpoint.pid).children()
    (launcher,) = [each for each in children if "launcher" in " ".join(each.cmdline())]
    return launcher


def test_a_lost_launcher_is_replaced(own_service: LocalService) -> None:
    _launcher(own_service).kill()

    ids = [own_service.post_job("true") for _ in range(5)]

    assert [own_service.ended(each)["status"] for each in ids] == ["completed"] * 5


def test_what_a_lost_launcher_had_not_read_is_asked_for_again(own_service: LocalService) -> None:
    launcher = _launcher(own_service)
    launcher.suspend()
    ids = [own_service.post_job("true") for _ in range(5)]
    until((own_service.state.attempts / f"{ids[-1]}-1" / "attempt.json").exists)

    launcher.kill()

    assert [own_service.ended(each)["status"] for each in ids] == ["completed"] * 5


def test_an_attempt_is_claimed_once_ever(tmp_path: Path) -> None:
    files = AttemptFiles(tmp_path / "1-1")
    files.create({"boot_id": "x"})

    assert files.claim_for_nobody()
    assert not files.claim_for_nobody()
    assert not files.is_supervised()


def test_clients_follow_a_service_that_was_killed(own_service: LocalService, tmp_path: Path) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    with Session(own_service.settings()) as session:
        job = Job(session=session, tasks=[Task(image="none", command=_counting(runs, gate))])
        job.create()
        until(lambda: _lines(runs))
        own_service.kill()
        gate.touch()

        assert job.wait(timeout=60) == "completed"  # it starts the service again by itself
        assert job.succeeded
    assert _lines(runs) == ["begin", "end"]


@pytest.mark.parametrize("damage", ["newer", "garbage"])
def test_a_database_that_cannot_be_read_is_refused_and_kept(tmp_path: Path, damage: str) -> None:
    with LocalService(tmp_path / "service", cpus=1, memory=1) as service:
        database = service.state.database
    if damage == "newer":
        with sqlite3.connect(database) as connection:
            connection.execute("pragma user_version = 99")
        connection.close()
    else:
        database.write_bytes(b"not a database" * 1000)
    before = database.read_bytes()

    with pytest.raises(LocalServiceError, match="99" if damage == "newer" else "not a database"):
        daemon.ensure(service.local)

    assert database.read_bytes() == before
    shutil.rmtree(service.directory)


def _claim_pid(service: LocalService, job_id: int) -> int:
    """The process of the job's supervisor, once it has taken the job."""
    files = AttemptFiles(service.state.attempts / f"{job_id}-1")
    return until(files.claimed_by).pid


def test_json_files_are_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_json(file, {"a": 1})
    write_json(file, {"a": 2})

    assert read_json(file) == {"a": 2}
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["x.json"]
    file.write_text('{"a":')
    assert read_json(file) is None


def test_a_second_try_never_runs_beside_what_the_first_left(
    own_service: LocalService, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    script = f'sh -c "echo $$$$ >> {pids}; exec env -i sleep 600"'
    job_id = own_service.post_job(script, policies={"maximumRetries": 1})
    until(lambda: len(_lines(pids)) == 1)

    os.kill(_claim_pid(own_service, job_id), signal.SIGKILL)
    until(lambda: len(_lines(pids)) == 2)

    assert not is_alive(int(_lines(pids)[0]))


def test_an_exit_status_is_never_that_of_an_earlier_process(own_service: LocalService) -> None:
    script = 'sh -c "(exit 7) & wait; for n in 1 2 3; do (setsid true &) ; done; exit 0"'
    tasks = [{"image": "none", "runtime": "singularity", "cmd": each} for each in (script, 'sh -c "exit 3"')]
    description = {"resources": {"cpus": 1, "memory": 1, "disk": 1}, "tasks": tasks}
    job_id = int(own_service.request("POST", "/jobs", json=description).json()["id"])

    codes = [task["exitCode"] for task in own_service.ended(job_id)["execution"]["tasks"]]

    assert codes == [0, 3]


def test_a_full_directory_holds_jobs_up_and_loses_none(own_service: LocalService) -> None:
    attempts = own_service.state.attempts
    shutil.move(attempts, attempts.with_name("moved"))
    attempts.touch()  # no attempt can be prepared, as on a full disk
    ids = [own_service.post_job("true") for _ in range(30)]

    assert {own_service.describe(each)["status"] for each in ids} == {"idle"}
    attempts.unlink()
    shutil.move(attempts.with_name("moved"), attempts)

    assert [own_service.ended(each)["status"] for each in ids] == ["completed"] * 30


def test_a_job_that_cannot_be_taken_up_fails_alone(own_service: LocalService) -> None:
    blocker = own_service.post_job("sleep 600", resources={"cpus": 10})
    until(lambda: own_service.describe(blocker)["status"] == "running")
    bad, good = own_service.post_job("true"), own_service.post_job("true")
    own_service.kill()
    with sqlite3.connect(own_service.state.database) as connection:
        connection.execute("update jobs set own_description = '{}' where id = ?", (bad,))
    connection.close()

    own_service.start()
    own_service.request("DELETE", f"/jobs/{blocker}")

    assert own_service.ended(good)["status"] == "completed"
    assert own_service.get("/jobs", id=str(bad)).json()[0]["status"] == "failed"


def test_a_torn_endpoint_file_is_no_service(tmp_path: Path) -> None:
    service = LocalService(tmp_path / "service", cpus=1, memory=1)
    service.state.open()
    for content in ("", '{"url":'):
        (service.directory / "endpoint.json").write_text(content)
        assert daemon.running(service.local) is None
    (service.directory / "secret").write_text("")

    with service:
        assert service.ended(service.post_job("true"))["status"] == "completed"


def test_a_new_database_adopts_nothing_of_the_one_before(own_service: LocalService) -> None:
    before = own_service.post_job("sh -c 'echo old; exit 3'")
    own_service.ended(before)
    own_service.kill()
    for file in own_service.directory.glob("service.db*"):
        file.rename(file.with_name(f"kept-{file.name}"))
    own_service.start()

    job_id = own_service.post_job("echo new")

    assert job_id > before
    assert own_service.ended(job_id)["execution"]["tasks"][0]["exitCode"] == 0
    assert own_service.output(job_id) == "new\n"


def test_what_an_attempt_of_another_database_left_is_not_adopted(own_service: LocalService) -> None:
    blocker = own_service.post_job("sleep 600", resources={"cpus": 10})
    until(lambda: own_service.describe(blocker)["status"] == "running")
    job_id = own_service.post_job("echo new")
    own_service.kill()
    files = AttemptFiles(own_service.state.attempts / f"{job_id}-1")
    files.create({"boot_id": "any", "database": "another", "job": {}})
    files.claim_for_nobody()
    write_json(files.outcome, {"status": "finished", "ended": 1.0, "execution": {"tasks": [{"exitCode": 7}]}})
    own_service.start()

    own_service.request("DELETE", f"/jobs/{blocker}")

    assert own_service.ended(job_id)["execution"]["tasks"][0]["exitCode"] == 0
    assert own_service.output(job_id) == "new\n"


def test_a_database_that_was_emptied_is_refused(own_service: LocalService) -> None:
    own_service.ended(own_service.post_job("true"))
    own_service.kill()
    for file in own_service.directory.glob("service.db?*"):
        file.unlink()
    own_service.state.database.write_bytes(b"")

    with pytest.raises(LocalServiceError, match="is empty, and jobs have left files"):
        daemon.ensure(own_service.local)

    assert own_service.state.database.read_bytes() == b""


@pytest.mark.full  # a supervisor has 15 s to end by itself
def test_a_job_is_ended_though_its_supervisor_is_stopped(own_service: LocalService) -> None:
    job_id = own_service.post_job("sleep 600")
    until(lambda: own_service.describe(job_id)["status"] == "running")
    supervisor = _claim_pid(own_service, job_id)
    task = until(lambda: AttemptFiles(own_service.state.attempts / f"{job_id}-1").noted_tasks()).pop()
    os.kill(supervisor, signal.SIGSTOP)

    own_service.request("DELETE", f"/jobs/{job_id}")

    until(lambda: not is_alive(task) and not is_alive(supervisor), limit_s=60)
    until(lambda: "endTime" in own_service.describe(job_id)["events"])
    assert own_service.describe(job_id)["statusReason"] == "Job deleted by user"


def test_a_service_whose_directory_was_removed_ends(own_service: LocalService) -> None:
    endpoint = own_service.endpoint
    shutil.rmtree(own_service.directory)

    headers = {"Authorization": f"Bearer {endpoint.token}"}
    answer = requests.post(f"{endpoint.url}/jobs", json=job("true"), headers=headers, timeout=30)

    assert (answer.status_code, answer.json()["error"]) == (
        503,
        "the state directory was removed: this service ends",
    )
    until(lambda: not is_alive(endpoint.pid))
    assert daemon.ensure(own_service.local).pid != endpoint.pid
