"""Jobs that are not willing to wait for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from support.service import job
from support.until import until

from prominence.local.attempts import Attempts
from prominence.local.job_tables import JobTables
from prominence.local.jobs import Jobs
from prominence.local.ledger import Ledger
from prominence.local.queue_limits import QueueLimits
from prominence.local.store import Store
from prominence.local.tokens import Signer
from prominence.local.workflow_tables import WorkflowTables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.service import LocalService

    from prominence.local.engine import Attempt, AttemptId, Engine
    from prominence.local.objects import Objects


def _blocked(service: LocalService) -> int:
    """A job that occupies the whole service until it is deleted."""
    blocker = service.post_job("sleep 600", resources={"cpus": 10})
    until(lambda: service.describe(blocker)["status"] == "running")
    return blocker


def test_a_job_that_waits_too_long_fails_and_others_go_on(own_service: LocalService) -> None:
    running = own_service.post_job("sleep 600", resources={"cpus": 10}, policies={"maximumTimeInQueue": 5})
    until(lambda: own_service.describe(running)["status"] == "running")
    patient = [
        own_service.post_job("true", policies=policies)
        for policies in ({"maximumTimeInQueue": 0}, {"maximumTimeInQueue": -1}, {})
    ]
    job_id = own_service.post_job("true", policies={"maximumTimeInQueue": 5, "maximumRetries": 3})

    ended = own_service.ended(job_id)

    assert (ended["status"], ended["statusReason"]) == ("failed", "Maximum time queued was exceeded")
    assert "startTime" not in ended["events"]
    assert own_service.describe(running)["status"] == "running"
    assert [own_service.describe(each)["status"] for each in patient] == ["idle"] * 3
    own_service.request("DELETE", f"/jobs/{running}")
    assert [own_service.ended(each)["status"] for each in patient] == ["completed"] * 3


def test_time_in_the_queue_goes_on_without_a_service(own_service: LocalService) -> None:
    blocker = _blocked(own_service)
    job_id = own_service.post_job("true", policies={"maximumTimeInQueue": 2})
    own_service.kill()
    own_service.start()

    assert own_service.ended(job_id)["statusReason"] == "Maximum time queued was exceeded"
    assert own_service.describe(blocker)["status"] == "running"


def test_a_job_of_a_workflow_that_waits_too_long_fails_it(own_service: LocalService) -> None:
    _blocked(own_service)
    task = {"image": "none", "runtime": "singularity", "cmd": "true"}
    job = {
        "name": "late",
        "resources": {"cpus": 1, "memory": 1, "disk": 1},
        "tasks": [task],
        "policies": {"maximumTimeInQueue": 1},
    }
    answer = own_service.request("POST", "/workflows", json={"name": "w", "jobs": [job]})
    workflow = answer.json()["id"]

    def ended() -> bool:
        return bool(own_service.get(f"/workflows/{workflow}").json()[0]["status"] == "failed")

    until(ended)
    (late,) = own_service.get("/jobs", id=str(workflow), workflow="true", all="true").json()
    assert late["statusReason"] == "Maximum time queued was exceeded"


class _FullEngine:
    """Never starts anything."""

    def __init__(self) -> None:
        self.cancelled: list[AttemptId] = []

    def refuses(self, _description: dict[str, Any]) -> None:
        return

    async def submit(self, _attempts: Sequence[Attempt]) -> None:
        return

    async def cancel(self, attempts: Sequence[AttemptId]) -> None:
        self.cancelled += attempts


async def _end_overdue_beside_a_removed_one(directory: Path) -> tuple[list[int], int]:
    """The jobs whose attempts were ended, and the one that had to be."""
    store, engine = Store(directory / "db"), _FullEngine()
    ledger = Ledger(store)
    attempts = Attempts(store, cast("Objects", None), Signer("secret" * 10), "http://127.0.0.1/x")
    limits = QueueLimits(store, 0.001)
    tables = WorkflowTables(store, ledger)
    job_tables = JobTables(store, ledger, tables)
    jobs = Jobs(store, ledger, job_tables, cast("Engine", engine), attempts, limits=limits)
    limited = job("true", policies={"maximumTimeInQueue": 1})
    removed, waiting = (await jobs.create(dict(limited)), await jobs.create(dict(limited)))
    store.write("delete from jobs where id = ?", [removed.id])
    ending = asyncio.create_task(jobs.end_overdue())
    while not engine.cancelled:
        assert not ending.done()
        await asyncio.sleep(0)
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    store.close()
    return [each.job for each in engine.cancelled], waiting.id


def test_a_job_that_was_removed_meanwhile_does_not_keep_others_waiting(tmp_path: Path) -> None:
    ended, waiting = asyncio.run(_end_overdue_beside_a_removed_one(tmp_path))

    assert ended == [waiting]
