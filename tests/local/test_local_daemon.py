"""Finding, starting and ending the local service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from support.service import LocalService, is_alive, job
from support.until import until

from prominence import Job, ProminenceClient, Session, Settings, Task
from prominence.exceptions import LocalServiceError
from prominence.local import daemon
from prominence.settings import LocalSettings, RuntimeSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalSettings]:
    settings = LocalSettings(tmp_path / "state")
    yield settings
    daemon.stop(settings)


def test_many_clients_at_once_start_one_service(local: LocalSettings) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: daemon.ensure(local), range(8)))

    assert len(set(found)) == 1
    assert (local.directory / "service.log").read_text().count("version") == 1


def test_many_processes_at_once_start_one_service(local: LocalSettings) -> None:
    command = [sys.executable, "-m", "prominence", "local", "start"]
    environment = {**os.environ, "PROMINENCE_LOCAL_DIR": str(local.directory)}
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]

    urls = {process.communicate()[0] for process in started}

    assert urls == {daemon.ensure(local).url + "\n"}


def test_the_service_belongs_to_no_process_of_its_client(local: LocalSettings) -> None:
    endpoint = daemon.ensure(local)

    assert os.getsid(endpoint.pid) != os.getsid(0)
    assert endpoint.pid not in {child.pid for child in psutil.Process().children()}
    assert Path(f"/proc/{endpoint.pid}/fd/0").readlink() == Path("/dev/null")


def test_stopping_it_is_done_when_it_returns(local: LocalSettings) -> None:
    endpoint = daemon.ensure(local)

    assert daemon.stop(local)
    assert not daemon.stop(local)
    assert daemon.running(local) is None
    until(lambda: not is_alive(endpoint.pid))


def test_a_service_started_again_listens_where_it_did(local: LocalSettings) -> None:
    first = daemon.ensure(local)
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: daemon.running(local) is None)

    second = daemon.ensure(local)

    assert second.url == first.url
    assert second.pid != first.pid


def test_asking_for_a_running_service_changes_nothing(tmp_path: Path) -> None:
    settings = LocalSettings(tmp_path / "nothing")

    assert daemon.running(settings) is None
    assert not settings.directory.exists()


def test_an_idle_service_ends_and_one_with_jobs_does_not(tmp_path: Path) -> None:
    with LocalService(tmp_path / "busy", cpus=1, memory=1, idle_minutes=0.005) as busy:
        gate = tmp_path / "gate"
        busy.post_job(f'sh -c "while ! test -e {gate}; do sleep 0.05; done"')
        with LocalService(tmp_path / "idle", cpus=1, memory=1, idle_minutes=0.005) as idle:
            until(lambda: not idle.is_running())
        assert busy.is_running()
        gate.touch()
        until(lambda: not busy.is_running())


def test_two_services_cannot_share_a_directory(service: LocalService) -> None:
    command = [sys.executable, "-m", "prominence.local", str(service.directory)]

    second = subprocess.run(command, capture_output=True, text=True, check=False)

    assert second.returncode == 1
    assert "another service already runs" in second.stderr
    assert service.is_running()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(LocalServiceError, match=re.escape(f"{file}/state")):
        daemon.ensure(LocalSettings(file / "state"))


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: directory.stat().st_uid + 1)

    with pytest.raises(LocalServiceError, match="belongs to another user"):
        daemon.ensure(LocalSettings(directory))


def test_an_open_directory_is_closed_to_others(local: LocalSettings) -> None:
    local.directory.mkdir(mode=0o755)
    local.directory.chmod(0o755)

    daemon.ensure(local)

    assert local.directory.stat().st_mode & 0o777 == 0o700


def test_the_reason_of_a_failed_start_is_told(local: LocalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "_PASSED_ON", ())
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(LocalServiceError, match="did not start"):
        daemon.ensure(local)


class TestCommand:
    """``prominence local ...`` as it is typed."""

    @pytest.fixture(autouse=True)
    def _directory(self, local: LocalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROMINENCE_LOCAL_DIR", str(local.directory))
        monkeypatch.setenv("PROMINENCE_LOCAL_CPUS", "3")
        monkeypatch.setenv("PROMINENCE_LOCAL_MEMORY", "5")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "prominence", "local", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_a_round_of_it(self, local: LocalSettings) -> None:
        assert self.run("status").returncode == 3
        url = self.run("start").stdout.strip()
        shown = json.loads(self.run("status", "--json").stdout)
        assert (shown["url"], shown["cpus"], shown["memory"]) == (url, 3, 5.0)
        assert shown["directory"] == str(local.directory)
        assert "token" not in self.run("status").stdout
        assert self.run("stop").returncode == 0
        assert self.run("status").returncode == 3

    def test_stop_tells_of_jobs_and_can_delete_them(self, local: LocalSettings) -> None:
        self.run("start")
        client = ProminenceClient(settings=Settings(url=None, token=None, local=local))
        sleeping = job("sleep 600")
        first = client.create_job(sleeping).id
        until(lambda: client.list_jobs(status="running").jobs)
        shown = json.loads(self.run("status", "--json").stdout)
        assert (shown["running"], shown["queued"]) == (1, 0)

        assert "1 unfinished jobs left to go on" in self.run("stop").stderr
        self.run("start")
        assert "1 unfinished jobs deleted" in self.run("stop", "--jobs").stderr
        assert client.list_jobs(ids=[first]).jobs[0]["status"] == "deleted"

    def test_env_points_other_programs_to_the_service(self) -> None:
        script = 'eval "$0"; curl -s -o /dev/null -w "%{http_code}" '
        script += '-H "Authorization: Bearer $PROMINENCE_TOKEN" $PROMINENCE_URL/jobs'

        answer = subprocess.run(
            ["sh", "-c", script, self.run("env").stdout], capture_output=True, text=True, check=True
        )

        assert answer.stdout == "200"


def test_jobs_are_not_given_to_a_service_with_another_runtime(own_service: LocalService) -> None:
    local = replace(own_service.local, runtime=RuntimeSettings("podman"))

    with (
        Session(replace(own_service.settings(), local=local)) as session,
        pytest.raises(LocalServiceError, match=r"PROMINENCE_LOCAL_RUNTIME is podman, .* started with host"),
    ):
        Job(session=session, tasks=[Task(image="none", command="true")]).create()
