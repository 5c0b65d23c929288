"""What has ended makes room in time; what has not is never touched."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from support.clock import VirtualClock
from support.service import LocalService, job
from support.until import until

from prominence.exceptions import ConfigurationError
from prominence.local.directory import StateDirectory
from prominence.local.engine import EngineSetup
from prominence.local.engines import make_engine
from prominence.local.objects import Objects
from prominence.local.retention import Pruner
from prominence.local.store import Store
from prominence.settings import Retention

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 86400


def _service(tmp_path: Path, retention: str) -> LocalService:
    return LocalService(tmp_path / "service", cpus=4, memory=64, retention=retention)


def _run(service: LocalService, command: str = "true", **fields: Any) -> int:
    """A job that has ended; the latest of them stays in any case, whatever its age."""
    job_id = service.post_job(command, **fields)
    service.ended(job_id)
    return job_id


def _age(service: LocalService, days: dict[int, float]) -> None:
    """Make jobs and workflows older, as if they had ended so many days before; no service may run."""
    connection = sqlite3.connect(service.state.database)
    with connection:
        for each, age in days.items():
            connection.execute("update jobs set ended = ended - ? where id = ?", (age * DAY_S, each))
            connection.execute("update workflows set ended = ended - ? where id = ?", (age * DAY_S, each))
    connection.close()


def _known(service: LocalService) -> set[int]:
    return {entry["id"] for entry in service.get("/jobs", all="true").json()}


def _attempts(service: LocalService) -> set[int]:
    return {int(each.name.split("-")[0]) for each in service.state.attempts.iterdir()}


def test_old_jobs_go_with_their_files_and_younger_ones_stay(tmp_path: Path) -> None:
    service = _service(tmp_path, "30d")
    with service:
        old = _run(service, 'sh -c "echo x > out"', outputFiles=["out"], labels={"a": "b"})
        kept = _run(service, policies={"leaveInQueue": True})
        young, last = _run(service), _run(service)
        url = service.describe(old)["outputFiles"][0]["url"]
        assert requests.get(url, timeout=10).content == b"x\n"
    _age(service, {old: 31, kept: 31, young: 29})

    with service:
        until(lambda: old not in _attempts(service))
        until(lambda: old not in _known(service))

        assert _known(service) == _attempts(service) == {kept, young, last}
        assert service.get("/jobs", constraint="a=b", all="true").json() == []
        assert requests.get(url, timeout=10).status_code == 404
        assert service.get(f"/jobs/{old}").json() == []


def test_old_contents_without_a_name_go_too(tmp_path: Path) -> None:
    service = _service(tmp_path, "30d")
    nameless = service.directory / "objects" / "nameless"
    nameless.mkdir(parents=True, mode=0o700)
    for name, age in {"old": 31, "young": 29}.items():
        (nameless / name).touch()
        then = time.time() - age * DAY_S
        os.utime(nameless / name, (then, then))

    with service:
        until(lambda: [each.name for each in nameless.iterdir()] == ["young"])


def test_unfinished_jobs_are_never_touched(tmp_path: Path) -> None:
    service = _service(tmp_path, "0d,0GB")
    gate = tmp_path / "gate"
    with service:
        old = _run(service)
        running = service.post_job(f'sh -c "while ! test -e {gate}; do sleep 0.02; done; echo done"')
        queued = service.post_job("true", resources={"cpus": 4})
        until(lambda: service.describe(running)["status"] == "running")
        service.kill()
        _age(service, {old: 2})
        service.start()

        until(lambda: old not in _known(service))
        assert {running, queued} <= _known(service)
        gate.touch()
        assert service.ended(running)["execution"]["tasks"][0]["exitCode"] == 0
        assert service.output(running) == "done\n"
        assert service.ended(queued)["status"] == "completed"


def test_the_oldest_go_first_when_all_of_them_are_too_much(tmp_path: Path) -> None:
    service = _service(tmp_path, "0.001GB")
    with service:
        large = 'sh -c "head -c 900000 /dev/zero > out"'
        ids = [_run(service, large, outputFiles=["out"]) for _ in range(2)]
        today = _run(service, large, outputFiles=["out"])
    _age(service, {ids[0]: 3, ids[1]: 2})

    with service:
        until(lambda: not set(ids) & _known(service))

        assert _known(service) == {today}  # though it is still too much: it ended less than a day ago


def test_a_workflow_goes_as_a_whole_and_only_when_it_has_ended(tmp_path: Path) -> None:
    service = _service(tmp_path, "30d")
    gate = tmp_path / "gate"

    def workflow(name: str, last: str) -> int:
        jobs = [{**job("true"), "name": "first"}, {**job(last), "name": "last"}]
        description = {"name": name, "jobs": jobs, "dependencies": {"first": ["last"]}}
        return int(service.request("POST", "/workflows", json=description).json()["id"])

    def jobs_of(workflow_id: int) -> set[int]:
        listed = service.get("/jobs", id=str(workflow_id), workflow="true", all="true").json()
        return {entry["id"] for entry in listed}

    def status_of(workflow_id: int) -> str:
        return str(service.get(f"/workflows/{workflow_id}").json()[0]["status"])

    with service:
        old = workflow("old", "true")
        until(lambda: status_of(old) == "completed")
        going_on = workflow("going-on", f'sh -c "while ! test -e {gate}; do sleep 0.02; done"')
        until(lambda: len(jobs_of(going_on)) == 2)
        (first,) = [each for each in jobs_of(going_on) if service.describe(each)["status"] == "completed"]
        jobs_of_old = jobs_of(old)
        service.kill()
        _age(service, dict.fromkeys([old, *jobs_of_old, first], 31.0))
        service.start()

        until(lambda: not jobs_of_old & _known(service))
        assert service.get(f"/workflows/{old}").json() == []
        assert first in _known(service)
        gate.touch()
        until(lambda: status_of(going_on) == "completed")
    connection = sqlite3.connect(service.state.database)
    workflows_of_templates = connection.execute("select distinct workflow from templates").fetchall()
    connection.close()
    assert workflows_of_templates == [(going_on,)]


def test_ids_are_not_given_twice(tmp_path: Path) -> None:
    service = _service(tmp_path, "1d")
    with service:
        ids = [_run(service) for _ in range(3)]
    _age(service, dict.fromkeys(ids, 10.0))

    with service:
        until(lambda: ids[0] not in _known(service))
    with service:
        assert service.post_job("true") > max(ids)


def test_nothing_goes_for_its_age_after_the_clock_was_set(tmp_path: Path) -> None:
    service = _service(tmp_path, "forever")
    with service:
        ids = [_run(service) for _ in range(3)]
    _age(service, dict.fromkeys(ids, 1000.0))

    async def prune(jump_s: float) -> int:
        state, clock = StateDirectory(service.directory), VirtualClock()
        store = Store(state.database)
        engine = make_engine("machine", EngineSetup(state.attempts))
        objects = Objects(store, state.objects, "user")
        pruner = Pruner(
            Retention(30, None), state=state, store=store, engine=engine, objects=objects, clock=clock
        )
        clock.jump(jump_s)
        removed = await pruner.prune()
        store.close()
        return removed

    assert asyncio.run(prune(100 * DAY_S)) == 0
    assert asyncio.run(prune(-100 * DAY_S)) == 0
    assert asyncio.run(prune(0)) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", Retention(30, None)),
        ("20GB", Retention(None, 20)),
        ("7d, 1.5GB", Retention(7, 1.5)),
        ("forever", Retention(None, None)),
    ],
)
def test_a_retention_is_written_as_it_is_read(text: str, expected: Retention) -> None:
    assert Retention.parse(text) == Retention.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["30", "d", "-1d", "30d,7d", "1e9GB", "30d;20GB", "never", "30d,forever"])
def test_another_retention_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="PROMINENCE_LOCAL_RETENTION is "):
        Retention.parse(text)
