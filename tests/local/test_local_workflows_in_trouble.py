"""Workflows on a service that is killed, and on a disk that fails at any moment."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.service import LocalService, job
from support.until import until

from prominence.local import jobs as jobs_module
from prominence.local import workflows as workflows_module
from prominence.local.attempts import Attempts
from prominence.local.engine import Attempt, Change, Engine, Outcome
from prominence.local.job_tables import JobTables
from prominence.local.jobs import Jobs
from prominence.local.ledger import Ledger
from prominence.local.queue_limits import QueueLimits
from prominence.local.reports import Reports
from prominence.local.store import Store
from prominence.local.tokens import Signer
from prominence.local.workflow_tables import WorkflowTables
from prominence.local.workflows import Workflows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prominence.local.objects import Objects

LAYERS = "abc"


def _repeat(jobs: Sequence[str], number: int) -> dict[str, Any]:
    return {"name": f"f{jobs[0]}", "type": "repeat", "jobs": list(jobs), "number": number}


def _layers(commands: dict[str, str], number: int, **fields: Any) -> dict[str, Any]:
    """Each job so many times, and each after all of the one before it."""
    names = list(commands)
    return {
        "name": "layers",
        "jobs": [{"name": name, **job(command)} for name, command in commands.items()],
        "dependencies": {parent: [child] for parent, child in pairwise(names)},
        "factories": [_repeat(names, number)],
        **fields,
    }


def _progress(service: LocalService, workflow_id: int) -> dict[str, int]:
    found: dict[str, int] = service.get(f"/workflows/{workflow_id}").json()[0]["progress"]
    return found


def _run_with_kills(service: LocalService, tmp_path: Path, *, number: int, kills: int, seed: int) -> None:
    log = tmp_path / "log"
    commands = {
        layer: f'sh -c "echo {layer} >> {log}; sleep 0.1; echo {layer}. >> {log}"' for layer in LAYERS
    }
    total = number * len(LAYERS)
    moments = sorted(Random(seed).sample(range(total), kills))
    workflow_id = service.request("POST", "/workflows", json=_layers(commands, number)).json()["id"]
    for moment in moments:
        until(lambda moment=moment: _progress(service, workflow_id)["done"] >= moment)
        service.kill()
        service.start()

    until(lambda: service.get(f"/workflows/{workflow_id}").json()[0]["status"] == "completed")

    assert _progress(service, workflow_id)["done"] == total
    lines = log.read_text().split()
    assert Counter(lines) == {f"{layer}{end}": number for layer in LAYERS for end in ("", ".")}
    for parent, child in pairwise(LAYERS):
        last_end = max(place for place, line in enumerate(lines) if line == f"{parent}.")
        assert last_end < lines.index(child)


def test_a_killed_service_goes_on_with_its_workflows(own_service: LocalService, tmp_path: Path) -> None:
    _run_with_kills(own_service, tmp_path, number=6, kills=4, seed=4)


@pytest.mark.full
def test_a_service_that_is_killed_forty_times_goes_on_with_its_workflows(
    own_service: LocalService, tmp_path: Path
) -> None:
    _run_with_kills(own_service, tmp_path, number=40, kills=40, seed=40)


def test_a_workflow_that_cannot_be_read_fails_alone(own_service: LocalService, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waiting = f'sh -c "until test -e {gate}; do sleep 0.05; done"'
    commands = {"first": waiting, "second": "true"}
    bad, good = (
        own_service.request("POST", "/workflows", json=_layers(commands, 2)).json()["id"] for _ in range(2)
    )
    until(lambda: _progress(own_service, good)["queued"] == 2)
    own_service.kill()
    with sqlite3.connect(own_service.state.database) as connection:
        connection.execute(
            "update template_descriptions set factory = '{' where template in"
            " (select id from templates where workflow = ? and name = 'second')",
            (bad,),
        )
    connection.close()

    own_service.start()
    gate.touch()

    until(lambda: own_service.get(f"/workflows/{good}").json()[0]["status"] == "completed")
    entry = until(lambda: _failed(own_service, bad))
    assert entry["statusReason"] == "the description is damaged"


def _failed(service: LocalService, workflow_id: int) -> dict[str, Any] | None:
    entry: dict[str, Any] = service.get(f"/workflows/{workflow_id}").json()[0]
    return entry if entry["status"] == "failed" else None


def _make_with_kills(service: LocalService, number: int, kills: int) -> None:
    blocker = service.post_job("sleep 600", resources={"cpus": 10})
    until(lambda: service.describe(blocker)["status"] == "running")
    commands = {"each": "true"}
    workflow_id = service.request("POST", "/workflows", json=_layers(commands, number)).json()["id"]

    def names() -> list[str]:
        found = service.get("/jobs", id=str(workflow_id), workflow="true").json()
        return [each["name"] for each in found]

    for kill in range(kills):
        until(lambda kill=kill: len(names()) > kill * number // kills)
        service.kill()
        service.start()

    until(lambda: len(names()) >= number)

    assert sorted(names()) == sorted(f"layers/each/{instance}" for instance in range(number))
    assert _progress(service, workflow_id)["queued"] == number
    service.request("DELETE", f"/workflows/{workflow_id}")
    assert names() == []


def test_jobs_are_made_once_however_often_the_service_is_killed(own_service: LocalService) -> None:
    _make_with_kills(own_service, number=1500, kills=3)


@pytest.mark.full
def test_ten_thousand_jobs_are_made_once_however_often_the_service_is_killed(
    own_service: LocalService,
) -> None:
    _make_with_kills(own_service, number=10_000, kills=20)


class FailingConnection:
    """Fails at the change or commit with a number, as a full disk would: alone, or undoing all before it."""

    def __init__(self, connection: sqlite3.Connection, fails_at: int, *, undoes_all: bool) -> None:
        self._connection = connection
        self._fails_at = fails_at
        self._undoes_all = undoes_all
        self.changes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self._fail_at_change(sql)
        return self._connection.execute(sql, *values)

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
        self._fail_at_change(sql)
        return self._connection.executemany(sql, rows)

    def _fail_at_change(self, sql: str) -> None:
        if sql.split(maxsplit=1)[0] not in {"insert", "update", "delete", "begin", "commit"}:
            return
        self.changes += 1
        if self.changes == self._fails_at:
            if self._undoes_all and self._connection.in_transaction:
                self._connection.execute("rollback")
            raise sqlite3.OperationalError("database or disk is full")


class InstantEngine:
    """Ends every attempt at once; a command ``fail`` ends with 1, and one with ``once`` the first time."""

    def __init__(self) -> None:
        self._reports = Reports()
        self._failed_once: set[str] = set()
        self.started: list[int] = []

    def refuses(self, _description: dict[str, Any]) -> None:
        return

    async def submit(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            self.started.append(attempt.id.job)
            self._reports.started(attempt.id, 1.0)
            command = attempt.load().description["tasks"][0]["cmd"]
            code = int(command == "fail" or (command.startswith("once") and command not in self._failed_once))
            self._failed_once.add(command)
            outcome = Outcome("finished", 2.0, execution={"tasks": [{"exitCode": code}]})
            self._reports.ended(attempt.id, outcome)

    async def changes(self, since: int) -> list[Change]:
        return await self._reports.after(since)


class NoObjects:
    def named_in(self, _description: dict[str, Any]) -> dict[str, str]:
        return {}


TROUBLED: dict[str, Any] = {
    "name": "troubled",
    "labels": {"prominencesubmission": "5"},
    "policies": {"maximumRetries": 1},
    "jobs": [
        {"name": name, **job(command)}
        for name, command in {"a": "once", "b": "$i", "c": "fail", "d": "true", "e": "true"}.items()
    ],
    "dependencies": {"a": ["b"], "b": ["d", "c"], "c": ["e"]},
    "factories": [
        {"name": "f", "type": "zip", "jobs": ["b"], "parameters": [{"name": "i", "values": ["x", "once y"]}]}
    ],
}
TRIES = {"troubled/a": 2, "troubled/b/0": 1, "troubled/b/1": 2, "troubled/c": 2, "troubled/d": 1}


async def _is_over(store: Store) -> bool:
    """True when the workflow has ended, and that is on disk."""
    unfinished = "select 1 from workflows where status in ('idle', 'running')"
    if store.read(unfinished):
        return False
    with suppress(sqlite3.OperationalError):
        await store.committed()
    return not store.read(unfinished)


async def _run_troubled(directory: Path, fails_at: int, *, undoes_all: bool = False) -> int:
    """Run a workflow to its end whatever fails; how many changes that took."""
    store = Store(directory / "db")
    connection = FailingConnection(store._connection, fails_at, undoes_all=undoes_all)
    store._connection = cast("sqlite3.Connection", connection)
    ledger, engine = Ledger(store), InstantEngine()
    tables = WorkflowTables(store, ledger)
    job_tables = JobTables(store, ledger, tables)
    attempts = Attempts(store, cast("Objects", NoObjects()), Signer("secret" * 10), "http://127.0.0.1/x")
    as_engine = cast("Engine", engine)
    jobs = Jobs(store, ledger, job_tables, as_engine, attempts, limits=QueueLimits(store, 60))
    workflows = Workflows(store, ledger, tables, jobs, as_engine)
    background = [asyncio.create_task(jobs.follow_engine()), asyncio.create_task(workflows.make_jobs())]
    created = None
    while created is None:
        with suppress(sqlite3.OperationalError):  # the client sends it again, with the same label
            created = await workflows.create(TROUBLED)
    while not await _is_over(store):
        assert not any(task.done() for task in background)
        await asyncio.sleep(0)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)

    (row,) = store.read("select * from workflows")
    assert (row["status"], row["total"], row["done"], row["failed"]) == ("failed", 6, 4, 1)
    made = store.read("select id, name from jobs order by id")
    assert Counter(each["name"] for each in made) == TRIES
    assert engine.started == [each["id"] for each in made]
    store.close()
    return connection.changes


@pytest.mark.parametrize("undoes_all", [False, True], ids=["alone", "all"])
def test_a_disk_that_fails_at_any_change_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, undoes_all: bool
) -> None:
    monkeypatch.setattr(jobs_module, "_RECORD_AGAIN_S", 0)
    monkeypatch.setattr(workflows_module, "_MAKE_AGAIN_S", 0)
    tmp_path.joinpath("none").mkdir()
    changes = asyncio.run(_run_troubled(tmp_path / "none", 0))
    assert changes > 50
    for fails_at in range(1, changes + 1):
        directory = tmp_path / str(fails_at)
        directory.mkdir()
        asyncio.run(_run_troubled(directory, fails_at, undoes_all=undoes_all))
