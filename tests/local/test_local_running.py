"""Commands beside running jobs and snapshots of their files, on the local service."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest
import requests
from support.service import is_alive, shell
from support.until import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.service import LocalService


SETUP = "mkdir res; echo part > res/a.txt; ln -s /etc/passwd res/link; ln -s / out; touch ready; sleep 100"


@pytest.fixture
def running(service: LocalService) -> Iterator[int]:
    """A job with some files, all written by now."""
    job_id = service.post_job(shell(SETUP))
    until(lambda: execute(service, job_id, "cat,ready").status_code == 200)
    yield job_id
    service.request("DELETE", f"/jobs/{job_id}")


def execute(service: LocalService, job_id: int, command: str) -> requests.Response:
    return service.request("POST", f"/jobs/{job_id}/exec", params={"command": command})


def snapshot(service: LocalService, job_id: int, path: str) -> requests.Response:
    return service.request("PUT", f"/jobs/{job_id}/snapshot", params={"path": path})


def members(service: LocalService, job_id: int) -> dict[str, bytes | None]:
    """What is in the latest snapshot: contents of files by name."""
    url = service.get(f"/jobs/{job_id}/snapshot").json()["url"]
    with tarfile.open(fileobj=io.BytesIO(requests.get(url, timeout=10).content)) as tar:
        return {
            each.name: file.read() if each.isfile() and (file := tar.extractfile(each)) else None
            for each in tar.getmembers()
        }


def test_a_command_runs_in_the_scratch_directory_and_its_words_are_split(
    service: LocalService, running: int
) -> None:
    listing = execute(service, running, "ls,-x,res")
    piped = execute(service, running, 'sh,-c,"echo a b | wc -w; echo err >&2"')

    assert listing.text.split() == ["a.txt", "link"]
    assert listing.headers["Content-Type"] == "text/html; charset=utf-8"
    assert piped.text == "2\nerr\n"
    assert execute(service, running, "echo,$PROMINENCE_JOB_ID").text == f"{running}\n"


def test_commands_that_worked_are_told_in_the_jobs_execution(service: LocalService, running: int) -> None:
    execute(service, running, "cat,res/a.txt")
    execute(service, running, "false")

    commands = service.describe(running)["execution"]["commands"]

    assert [each["command"] for each in commands] == ["cat,ready", "cat,res/a.txt"]
    assert all(isinstance(each["time"], int) for each in commands)


@pytest.mark.parametrize("command", ["false", "no-such-command", "yes"])
def test_a_command_that_fails_or_writes_without_end_is_unable_to_execute(
    service: LocalService, running: int, command: str
) -> None:
    response = execute(service, running, command)

    assert (response.status_code, response.json()) == (400, {"error": "Unable to execute command"})


def test_what_a_command_leaves_behind_is_ended_with_it(
    service: LocalService, running: int, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {pid_file}; exec sleep 100' > /dev/null 2>&1 &"
    waiting = f"while ! test -s {pid_file}; do sleep 0.01; done"

    assert execute(service, running, f"{script} {waiting}").status_code == 200

    assert not is_alive(int(pid_file.read_text()))


@pytest.mark.parametrize("path", ["res", "./res/", "res/../res"])
def test_a_snapshot_is_a_tarball_of_a_path(service: LocalService, running: int, path: str) -> None:
    response = snapshot(service, running, path)

    if ".." in path:
        assert (response.status_code, response.json()) == (400, {"error": "Invalid path"})
    else:
        assert (response.status_code, response.json()) == (200, {})
        assert members(service, running) == {"res": None, "res/a.txt": b"part\n", "res/link": None}


def test_a_new_snapshot_takes_the_place_of_the_one_before(service: LocalService, running: int) -> None:
    snapshot(service, running, "res")
    snapshot(service, running, "res/a.txt")

    assert members(service, running) == {"res/a.txt": b"part\n"}


@pytest.mark.parametrize("path", ["/etc", "../..", "out/etc", "res/link", "nothing", "a\0b", "a" * 5000])
def test_a_snapshot_never_leaves_the_scratch_directory(
    service: LocalService, running: int, path: str
) -> None:
    response = snapshot(service, running, path)

    assert (response.status_code, response.json()) == (400, {"error": "Invalid path"})


def test_a_url_is_given_before_there_is_a_snapshot(service: LocalService, running: int) -> None:
    url = service.get(f"/jobs/{running}/snapshot").json()["url"]

    assert requests.get(url, timeout=10).status_code == 404


@pytest.mark.parametrize(
    ("method", "call"),
    [("POST", "exec?command=ls"), ("PUT", "snapshot?path=res"), ("GET", "snapshot")],
)
def test_only_running_jobs_can_be_looked_into(service: LocalService, method: str, call: str) -> None:
    ended = service.post_job("true")
    service.ended(ended)

    after = service.request(method, f"/jobs/{ended}/{call}")
    unknown = service.request(method, f"/jobs/999999/{call}")

    assert (after.status_code, after.json()) == (400, {"error": "Job is not running"})
    assert (unknown.status_code, unknown.json()) == (400, {"error": "Job does not exist"})


def test_a_path_and_a_command_are_needed(service: LocalService, running: int) -> None:
    no_path = service.request("PUT", f"/jobs/{running}/snapshot")
    no_command = service.request("POST", f"/jobs/{running}/exec")

    assert (no_path.status_code, no_path.json()) == (400, {"error": "A path to snapshot must be specified"})
    assert (no_command.status_code, no_command.json()) == (400, {"error": "A command must be specified"})
