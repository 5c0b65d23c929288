"""A state directory whose disk is full while the service runs."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.service import LocalService, is_alive, job, shell
from support.until import until

from prominence.exceptions import LocalServiceError
from prominence.local import daemon
from prominence.local.machine.files import AttemptFiles

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

DISK_MB = 24


@pytest.fixture
def on_small_disk(tmp_path: Path) -> Iterator[LocalService]:
    """A service whose state directory is a file system of its own."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    options = f"size={DISK_MB}m,mode=700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("the system lets nobody mount a file system here")
    try:
        with LocalService(directory, cpus=4, memory=64) as service:
            yield service
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def _fill(directory: Path) -> Path:
    """A file that takes all that is left of the disk."""
    filler = directory / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        return filler


def _post(service: LocalService, number: int, runs: Path) -> int:
    """Submit a job that leaves a line where there is room; the status of the answer."""
    description = job(
        f'sh -c "echo run >> {runs}/{number}"', labels={"prominencesubmission": f"{number:032x}"}
    )
    return service.request("POST", "/jobs", json=description).status_code


def _posted_to_a_full_disk(service: LocalService, directory: Path) -> tuple[Path, dict[int, int]]:
    """A job that ends with code 3 and others are submitted while the disk is full.

    Returns the file that fills it, and the statuses of the others' submissions.
    """
    gate, runs = directory / "gate", directory / "runs"
    runs.mkdir()
    running = service.post_job(f'sh -c "while ! test -e {gate}; do sleep 0.02; done; exit 3"')
    until(lambda: service.describe(running)["status"] == "running")
    filler = _fill(service.directory)
    gate.touch()
    return filler, {number: _post(service, number, runs) for number in range(12)}


def _check_all_ran_once(service: LocalService, directory: Path, numbers: Collection[int]) -> None:
    """Once there is room again, submitting what was refused makes it whole, and what was accepted no more."""
    runs = directory / "runs"
    assert {_post(service, number, runs) for number in numbers} == {201}
    until(lambda: not service.get("/jobs").json())
    ended = service.get("/jobs", all="true", detail="true").json()
    codes = sorted(entry["execution"]["tasks"][0]["exitCode"] for entry in ended)
    assert {entry["status"] for entry in ended} == {"completed"}
    assert codes == [0] * len(numbers) + [3]
    assert [(runs / str(number)).read_text() for number in numbers] == ["run\n"] * len(numbers)


def test_a_full_disk_loses_no_job_and_no_outcome(on_small_disk: LocalService, tmp_path: Path) -> None:
    filler, answers = _posted_to_a_full_disk(on_small_disk, tmp_path)

    assert set(answers.values()) <= {201, 503}
    assert 503 in answers.values()
    assert on_small_disk.get("/jobs").status_code == 200
    filler.unlink()

    _check_all_ran_once(on_small_disk, tmp_path, answers)


def test_a_disk_that_was_full_when_the_service_died(on_small_disk: LocalService, tmp_path: Path) -> None:
    filler, answers = _posted_to_a_full_disk(on_small_disk, tmp_path)
    on_small_disk.kill()
    filler.unlink()

    on_small_disk.start()

    _check_all_ran_once(on_small_disk, tmp_path, answers)


def test_a_job_whose_output_fills_the_disk_fails_with_the_reason(
    on_small_disk: LocalService, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    fill = "dd if=/dev/zero of=big bs=4k 2>/dev/null; while printf x >>big; do :; done 2>/dev/null"
    job_id = on_small_disk.post_job(
        shell(f"while ! test -e {gate}; do sleep 0.02; done; {fill}"), outputFiles=["big"]
    )
    until(AttemptFiles(on_small_disk.state.attempts / f"{job_id}-1").noted_tasks)
    gate.touch()

    ended = on_small_disk.ended(job_id)

    assert ended["status"] == "failed"
    assert ended["statusReason"] == "Unable to stageout output to object storage"
    assert on_small_disk.ended(on_small_disk.post_job("true"))["status"] == "completed"


def test_a_task_that_cannot_be_started_ends_as_such_where_that_cannot_be_said(
    on_small_disk: LocalService, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    waiting = job(shell(f"while ! test -e {gate}; do sleep 0.02; done"))
    description = {**waiting, "tasks": waiting["tasks"] + job("no-such-command")["tasks"]}
    job_id = on_small_disk.request("POST", "/jobs", json=description).json()["id"]
    files = AttemptFiles(on_small_disk.state.attempts / f"{job_id}-1")
    until(files.noted_tasks)
    filler = _fill(on_small_disk.directory)
    gate.touch()
    until(lambda: not files.scratch.exists())
    filler.unlink()

    ended = on_small_disk.ended(job_id)

    assert [each["exitCode"] for each in ended["execution"]["tasks"]] == [0, 255]
    assert ended["status"] == "completed"


@pytest.mark.full
def test_a_running_job_can_be_ended_while_the_disk_is_full(on_small_disk: LocalService) -> None:
    job_id = on_small_disk.post_job("sleep 600")
    until(lambda: on_small_disk.describe(job_id)["status"] == "running")
    claim = until(AttemptFiles(on_small_disk.state.attempts / f"{job_id}-1").claimed_by)
    filler = _fill(on_small_disk.directory)

    answer = on_small_disk.request("DELETE", f"/jobs/{job_id}")

    assert answer.status_code in {200, 503}
    until(lambda: not is_alive(claim.pid))
    filler.unlink()
    ended = on_small_disk.ended(job_id)
    assert (ended["status"], ended["statusReason"]) == ("deleted", "Job deleted by user")


@pytest.mark.full
def test_a_workflow_can_be_ended_while_the_disk_is_full(on_small_disk: LocalService) -> None:
    jobs = [{**job("sleep 600"), "name": "long"}, {**job("true"), "name": "after"}]
    described = {"name": "w", "jobs": jobs, "dependencies": {"long": ["after"]}}
    workflow_id = on_small_disk.request("POST", "/workflows", json=described).json()["id"]

    def children() -> list[dict[str, Any]]:
        query = {"id": str(workflow_id), "workflow": "true", "all": "true"}
        return list(on_small_disk.get("/jobs", **query).json())

    until(lambda: [each["status"] for each in children()] == ["running"])
    job_id = children()[0]["id"]
    claim = until(AttemptFiles(on_small_disk.state.attempts / f"{job_id}-1").claimed_by)
    filler = _fill(on_small_disk.directory)

    answer = on_small_disk.request("DELETE", f"/workflows/{workflow_id}")

    assert answer.status_code in {200, 503}
    until(lambda: not is_alive(claim.pid))
    filler.unlink()
    until(lambda: on_small_disk.get(f"/workflows/{workflow_id}").json()[0]["status"] == "deleted")
    assert [(each["name"], each["status"]) for each in children()] == [("w/long", "deleted")]
    on_small_disk.ended(on_small_disk.post_job("true"))


def test_a_snapshot_for_which_there_is_no_room_is_refused(on_small_disk: LocalService) -> None:
    job_id = on_small_disk.post_job(shell("echo x > file; sleep 600"))
    until(lambda: on_small_disk.describe(job_id)["status"] == "running")
    scratch = on_small_disk.state.attempts / f"{job_id}-1" / "scratch"
    until((scratch / "file").exists)
    filler = _fill(on_small_disk.directory)

    answer = on_small_disk.request("PUT", f"/jobs/{job_id}/snapshot", params={"path": "file"})

    filler.unlink()
    assert (answer.status_code, "the snapshot cannot be stored" in answer.text) == (507, True)


def test_a_service_is_not_started_on_a_full_disk(on_small_disk: LocalService) -> None:
    on_small_disk.ended(on_small_disk.post_job("true"))
    on_small_disk.kill()
    filler = _fill(on_small_disk.directory)

    with pytest.raises(LocalServiceError, match=r"is full .* make room there"):
        daemon.ensure(on_small_disk.local)

    filler.unlink()
    assert on_small_disk.start()
