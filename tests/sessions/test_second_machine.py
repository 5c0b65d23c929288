"""A session is taken over on another machine: another host name, home and process, the first one's service.

Host names are what tells such machines apart here; a name space of its own has another one.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.killed_driver import kill_after
from support.programs import started
from support.until import until

from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.service import LocalService

    from prominence import Session

UNSHARE = shutil.which("unshare")
ELSEWHERE = [UNSHARE or "unshare", "--user", "--map-root-user", "--uts", "sh", "-c"]
MOVED = 'hostname elsewhere && exec "$@"'

pytestmark = pytest.mark.skipif(
    UNSHARE is None
    or subprocess.run([*ELSEWHERE, "hostname elsewhere"], check=False, capture_output=True).returncode != 0,
    reason="this machine lets users make no name space with another host name (unshare)",
)

_ATTACH = """
import json, os, socket, sys
from prominence.exceptions import ProminenceError
from prominence_executors import ProminenceExecutor
found = {"host": socket.gethostname(), "home": os.environ["HOME"]}
try:
    with ProminenceExecutor.attach(sys.argv[1]) as executor:
        found["results"] = [repr(future.result()) for future in executor.attached]
        found["unsent"] = [call.name for call in executor.unsent]
except ProminenceError as error:
    found["error"] = type(error).__name__
print(json.dumps(found))
"""


def elsewhere(service: LocalService, directory: Path, words: Sequence[str]) -> dict[str, Any]:
    """What a program says that runs on another machine, with what ``prominence local env`` tells here."""
    home = directory / "elsewhere"
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PROMINENCE_URL": service.endpoint.url,
        "PROMINENCE_TOKEN": service.endpoint.token,
    }
    done = subprocess.run(
        [*ELSEWHERE, MOVED, "sh", sys.executable, "-c", _ATTACH, *words],
        env=environment,
        cwd=home,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["host"], found["home"]) == ("elsewhere", str(home))
    return found


def test_results_arrive_where_nothing_of_the_first_machine_is(
    service: LocalService, session: Session, tmp_path: Path
) -> None:
    class Point:  # known to this process alone
        def __init__(self, x: int) -> None:
            self.x = x

        def __repr__(self) -> str:
            return f"a point at {self.x}"

    Point.__module__ = "__main__"

    def make(x: int) -> Point:
        return Point(x)

    make.__module__ = "__main__"
    with ProminenceExecutor(session="moved", service=session, on_exit="detach") as executor:
        executor.submit(make, 3)
        executor.submit("true")

    found = elsewhere(service, tmp_path, ["moved"])

    assert found["results"][0] == "a point at 3"
    assert "returncode=0" in found["results"][1]
    assert found["unsent"] == []


def test_a_value_whose_class_is_not_there_is_told(
    service: LocalService, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_shapes.py").write_text("class Circle:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    shapes = importlib.import_module("my_shapes")
    with ProminenceExecutor(session="shapes", service=session, on_exit="detach") as executor:
        executor.submit(shapes.Circle)

    assert elsewhere(service, tmp_path, ["shapes"])["error"] == "ResultUnreadable"

    with ProminenceExecutor.attach("shapes", service=session) as attached:
        assert isinstance(attached.attached[0].result(), shapes.Circle)
        attached.close(delete=True)


@pytest.mark.full
def test_a_driver_that_lives_keeps_its_session(
    service: LocalService, session: Session, tmp_path: Path
) -> None:
    with ProminenceExecutor(session="kept", service=session) as executor:
        assert elsewhere(service, tmp_path, ["kept"])["error"] == "SessionInUse"
        assert executor.submit(pow, 2, 5).result() == 32
        executor.close(delete=True)


@pytest.mark.full
def test_a_driver_that_was_killed_is_waited_for_and_followed(
    service: LocalService, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    driver = pytestconfig.rootpath / "tests" / "sessions" / "driver.py"
    kill_after(service, driver, ["silent", "3", str(tmp_path / "lines")], lines=6)

    found = elsewhere(service, tmp_path, ["silent"])

    assert found["results"] == ["0", "1", "4"]


_STOPPED = """
import sys
from prominence_executors import ProminenceExecutor
executor = ProminenceExecutor(session=sys.argv[1])
print(executor.submit(pow, 2, 5).result(), flush=True)
sys.stdin.readline()
print(type(executor.submit("true").exception()).__name__, flush=True)
"""


@pytest.mark.full
def test_a_driver_that_was_stopped_for_longer_than_its_lease_sends_nothing_more(
    service: LocalService, session: Session, tmp_path: Path
) -> None:
    access = {"PROMINENCE_URL": service.endpoint.url, "PROMINENCE_TOKEN": service.endpoint.token}
    with started(
        [sys.executable, "-c", _STOPPED, "stopped-long"],
        env={**os.environ, **access, "PROMINENCE_LOCAL_PYTHON": sys.executable},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        assert driver.stdout.readline() == "32\n"
        driver.send_signal(signal.SIGSTOP)
        assert elsewhere(service, tmp_path, ["stopped-long"])["results"] == ["32"]
        driver.stdin.write("go on\n")
        driver.stdin.flush()
        driver.send_signal(signal.SIGCONT)
        assert driver.stdout.readline() == "SessionInUse\n"
        driver.stdin.close()
        driver.wait()
    jobs = session.client.list_jobs(everything=True, label=("prominencesession", "stopped-long")).entries
    assert len(jobs) == 1
    until(lambda: session.client.kv_get("prominence/stopped-long/lease") == "free")
    ProminenceExecutor.attach("stopped-long", service=session).close(delete=True)
