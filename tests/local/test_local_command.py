"""``prominence local ...`` as it is typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from support.programs import started
from support.service import job
from support.until import until

from prominence import ProminenceClient, Settings
from prominence.cli import prominence
from prominence.exceptions import LocalServiceError
from prominence.local import daemon
from prominence.settings import LocalSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result


@pytest.fixture(autouse=True)
def local(tmp_path: Path) -> Iterator[LocalSettings]:
    settings = LocalSettings(tmp_path / "state")
    yield settings
    daemon.stop(settings)


@pytest.fixture(autouse=True)
def _directory(local: LocalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMINENCE_LOCAL_DIR", str(local.directory))
    monkeypatch.setenv("PROMINENCE_LOCAL_CPUS", "3")
    monkeypatch.setenv("PROMINENCE_LOCAL_MEMORY", "5")


def _run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(prominence, ["local", *arguments], input=answer)


def _announcements(*command: str, new_terminal: bool = False) -> int:
    """How often a program says that it uses the local service."""
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=new_terminal,
    )
    return done.stderr.count("prominence: using the local service")


def test_commands_say_once_in_each_terminal_that_the_local_service_is_used(local: LocalSettings) -> None:
    verb = ("-m", "prominence", "list")

    assert [_announcements(*verb), _announcements(*verb)] == [1, 0]
    assert [_announcements(*verb, new_terminal=True), _announcements(*verb)] == [1, 0]
    daemon.stop(local)
    assert [_announcements(*verb), _announcements(*verb)] == [1, 0]


def test_programs_say_each_time_that_the_local_service_is_used() -> None:
    program = ("-c", "import prominence; client = prominence.ProminenceClient(); client.list_jobs()")

    assert [_announcements(*program), _announcements(*program)] == [1, 1]


def test_a_round_of_it(local: LocalSettings) -> None:
    assert _run("status").exit_code == 3
    url = _run("start").stdout.strip()
    shown = json.loads(_run("status", "--json").stdout)
    assert (shown["url"], shown["cpus"], shown["memory"]) == (url, 3, 5.0)
    assert shown["directory"] == str(local.directory)
    (local.directory / "objects" / "nameless").mkdir()
    (local.directory / "objects" / "nameless" / "x").write_bytes(bytes(2500))
    assert json.loads(_run("status", "--json").stdout)["bytes"] == {"jobs": 0, "uploads": 2500, "images": 0}
    assert "disk: jobs 0 bytes, uploads 2.5 kB, images 0 bytes" in _run("status").stdout
    assert "token" not in _run("status").stdout
    assert _run("stop").exit_code == 0
    assert _run("status").exit_code == 3


def test_stop_tells_of_jobs_and_can_delete_them(local: LocalSettings) -> None:
    _run("start")
    client = ProminenceClient(settings=Settings(url=None, token=None, local=local))
    sleeping = job("sleep 600")
    first = client.create_job(sleeping).id
    until(lambda: client.list_jobs(status="running").entries)
    shown = json.loads(_run("status", "--json").stdout)
    assert (shown["running"], shown["queued"]) == (1, 0)

    assert "1 unfinished jobs left to go on" in _run("stop").stderr
    _run("start")
    assert "1 unfinished jobs deleted" in _run("stop", "--jobs").stderr
    assert client.list_jobs(ids=[first]).entries[0]["status"] == "deleted"


def test_env_points_other_programs_to_the_service() -> None:
    script = 'eval "$0"; curl -s -o /dev/null -w "%{http_code}" '
    script += '-H "Authorization: Bearer $PROMINENCE_TOKEN" $PROMINENCE_URL/jobs'

    answer = subprocess.run(
        ["sh", "-c", script, _run("env").stdout], capture_output=True, text=True, check=True
    )

    assert answer.stdout == "200"


def test_url_starts_nothing() -> None:
    assert _run("url").exit_code == 3
    url = _run("start").stdout

    assert _run("url").stdout == url
    assert _run("status").stdout.splitlines()[0] == f"url: {url.strip()}"


def test_serve_runs_in_the_foreground_until_it_is_interrupted(local: LocalSettings) -> None:
    command = [sys.executable, "-m", "prominence", "local", "serve"]
    with started(command, stderr=subprocess.PIPE) as serving:
        endpoint = until(lambda: daemon.running(local))
        assert endpoint.pid == serving.pid
        assert (endpoint.cpus, endpoint.memory) == (3, 5.0)

        serving.send_signal(signal.SIGINT)
        _, log = serving.communicate()

    assert serving.returncode == 0
    assert endpoint.url in log
    assert endpoint.token not in log
    assert daemon.running(local) is None


def test_reset_asks_and_then_leaves_nothing(local: LocalSettings) -> None:
    _run("start")
    client = ProminenceClient(settings=Settings(url=None, token=None, local=local))
    job_id = client.create_job(job("true")).id
    until(lambda: not client.list_jobs().entries)

    assert _run("reset").exit_code == 1  # nobody answers the question
    assert client.list_jobs(ids=[job_id]).entries
    assert _run("reset", "--yes").exit_code == 0

    assert {each.name for each in local.directory.iterdir()} == {"service.lock", "start.lock"}
    assert daemon.running(local) is None
    assert client.list_jobs(ids=[job_id]).entries == []
    assert client.create_job(job("true")).id == 1


def test_to_decline_a_reset_is_no_failure(local: LocalSettings) -> None:
    _run("start")

    declined = _run("reset", answer="n\n")

    assert (declined.exit_code, declined.stdout) == (0, "")
    assert "nothing was deleted" in declined.stderr
    assert daemon.running(local) is not None


def test_reset_refuses_while_jobs_run_and_can_delete_them(local: LocalSettings) -> None:
    _run("start")
    client = ProminenceClient(settings=Settings(url=None, token=None, local=local))
    sleeping = {**job("sleep 600"), "name": "sleeping"}
    for _ in range(2):
        client.create_job(sleeping)
    client.create_workflow({"name": "w", "jobs": [sleeping]})
    until(lambda: len(client.list_jobs(status="running").entries) == 3)
    _run("stop")

    refused = _run("reset", "--yes")
    assert refused.exit_code == 1
    assert "3 unfinished jobs and 1 workflows" in refused.stderr
    assert len(client.list_jobs(status="running").entries) == 3

    assert _run("reset", "--yes", "--jobs").exit_code == 0
    assert not (local.directory / "attempts").exists()


def test_a_service_whose_address_cannot_be_read_is_told_of_and_can_be_stopped(local: LocalSettings) -> None:
    daemon.ensure(local)
    for content in (b"", b"{broken", b"[]", b"{}", b"\xff\xfe"):
        (local.directory / "endpoint.json").write_bytes(content)
        with pytest.raises(
            LocalServiceError, match=r"endpoint\.json cannot be read.*`prominence local stop`"
        ):
            daemon.running(local)

    assert daemon.stop(local)
    assert not daemon.stop(local)
    assert daemon.ensure(local).pid == daemon.running(local).pid  # type: ignore[union-attr]


def test_commands_say_so_where_an_address_cannot_be_read(local: LocalSettings) -> None:
    daemon.ensure(local)
    (local.directory / "endpoint.json").write_bytes(b"")

    status, stop = _run("status"), _run("stop")

    assert status.exit_code == 3
    assert "cannot be read" in status.stderr
    assert "Traceback" not in status.stderr
    assert stop.exit_code == 0
    assert "stopped; its unfinished jobs go on, but could not be counted" in stop.stderr


def test_reset_helps_where_an_address_cannot_be_read(local: LocalSettings) -> None:
    daemon.ensure(local)
    (local.directory / "endpoint.json").write_bytes(b"[]")

    assert _run("reset", "--yes").exit_code == 0

    assert not local.directory.joinpath("service.db").exists()


def test_reset_helps_against_a_damaged_database(local: LocalSettings) -> None:
    _run("start")
    _run("stop")
    (local.directory / "service.db").write_bytes(b"damaged" * 1000)
    assert "left as it is" in _run("start").stderr

    assert _run("reset", "--yes").exit_code == 0
    assert _run("start").exit_code == 0
