"""Finding, starting and ending the local service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from support.programs import started
from support.service import LocalService, is_alive
from support.until import until

from prominence import Job, ProminenceClient, Session, Settings, Task
from prominence.exceptions import LocalServiceError
from prominence.local import daemon
from prominence.local.directory import StateDirectory
from prominence.settings import LocalSettings, RuntimeSettings
from prominence.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prominence.local.directory import Endpoint


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
    with ExitStack() as stack:
        processes = [
            stack.enter_context(started(command, env=environment, stdout=subprocess.PIPE)) for _ in range(4)
        ]
        urls = {process.communicate()[0] for process in processes}

    assert urls == {daemon.ensure(local).url + "\n"}


def test_a_service_is_had_beside_one_that_is_about_to_end(local: LocalSettings) -> None:
    state = StateDirectory(local.directory)
    state.open()

    with ThreadPoolExecutor(1) as threads:
        with state.vacant():
            found = threads.submit(daemon.ensure, local)
            until(lambda: state.log.exists() and "another service already runs" in state.log.read_text())
        assert found.result() == daemon.running(local)


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


def test_jobs_are_not_given_to_a_service_with_another_runtime(own_service: LocalService) -> None:
    local = replace(own_service.local, runtime=RuntimeSettings("podman"))

    with (
        Session(replace(own_service.settings(), local=local)) as session,
        pytest.raises(LocalServiceError, match=r"PROMINENCE_LOCAL_RUNTIME is podman, .* started with host"),
    ):
        Job(session=session, tasks=[Task(image="none", command="true")]).create()


class TestVersions:
    """A service that another release started."""

    @pytest.fixture
    def older(self, local: LocalSettings) -> Endpoint:
        """A running service that says to be older, and tells less and more of itself than this one would."""
        endpoint = daemon.ensure(local)
        file = local.directory / "endpoint.json"
        told = json.loads(file.read_text()) | {"version": "0.9", "colour": "blue"}
        del told["runtime"]
        file.write_text(json.dumps(told))
        return endpoint

    def test_it_is_used_and_told_of_once(
        self, local: LocalSettings, older: Endpoint, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with ProminenceClient(settings=Settings(url=None, token=None, local=local)) as client:
            for _ in range(3):
                assert client.list_jobs().entries == []

        told = capsys.readouterr().err
        assert told.count(f"version 0.9, this library {__version__}") == 1
        assert "prominence local stop" in told
        assert older.token not in told

    @pytest.mark.usefixtures("older")
    def test_status_tells_of_it(self, local: LocalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PROMINENCE_LOCAL_DIR", str(local.directory))
        command = [sys.executable, "-m", "prominence", "local", "status", "--json"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)

        assert json.loads(shown.stdout)["version"] == "0.9"
        assert json.loads(shown.stdout)["library"] == __version__
        assert "version 0.9" in shown.stderr

    def test_one_of_this_release_is_not_told_of(
        self, local: LocalSettings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with ProminenceClient(settings=Settings(url=None, token=None, local=local)) as client:
            client.list_jobs()

        assert "version" not in capsys.readouterr().err


class TestReadOnly:
    """A state directory that cannot be written, as on a file system that was mounted read-only."""

    @pytest.fixture
    def read_only(self, local: LocalSettings) -> Iterator[LocalSettings]:
        daemon.ensure(local)
        daemon.stop(local)
        if os.getuid() == 0:  # whom no mode stops
            bind = ["mount", "--bind", str(local.directory), str(local.directory)]
            if subprocess.run(bind, capture_output=True, check=False).returncode:
                pytest.skip("the system lets nobody mount here, and root can write everywhere else")
            subprocess.run(["mount", "-o", "remount,bind,ro", str(local.directory)], check=True)
            yield local
            subprocess.run(["umount", str(local.directory)], check=True)
        else:
            local.directory.chmod(0o500)
            for entry in local.directory.iterdir():
                entry.chmod(0o400)
            yield local
            local.directory.chmod(0o700)
            for entry in local.directory.iterdir():
                entry.chmod(0o600)

    def test_a_service_does_not_start_and_says_why(self, read_only: LocalSettings) -> None:
        with pytest.raises(LocalServiceError, match=r"Read-only file system|Permission denied") as raised:
            daemon.ensure(read_only)

        assert str(read_only.directory) in str(raised.value)
        assert daemon.running(read_only) is None

    def test_one_in_the_foreground_says_why_too(self, read_only: LocalSettings) -> None:
        command = [sys.executable, "-m", "prominence.local", str(read_only.directory)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)

        assert ended.returncode == 1
        assert "Read-only file system" in ended.stderr or "Permission denied" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_service_is_shown_and_ended_whatever_the_next_one_is_to_run_with(
    own_service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_service.post_job("sleep 600")
    monkeypatch.setenv("PROMINENCE_LOCAL_DIR", str(own_service.directory))
    monkeypatch.setenv("PROMINENCE_LOCAL_RUNTIME", "podman")
    command = [sys.executable, "-m", "prominence", "local"]

    shown = subprocess.run([*command, "status", "--json"], capture_output=True, text=True, check=True)
    subprocess.run([*command, "stop", "--jobs"], capture_output=True, check=True)

    assert json.loads(shown.stdout)["runtime"] == "host"
    assert not own_service.is_running()
