"""Old jobs make room: what has ended is removed after its time, or when all of it takes too much space.

Only jobs and workflows that ended are touched, at least a day after their end, a workflow with all its jobs.
In the queue (``leaveInQueue``) they stay their 90 days. Uploaded objects are their owner's to delete.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from typing import TYPE_CHECKING, Final

from prominence.clock import MACHINE_CLOCK, Clock
from prominence.local.engine import AttemptId
from prominence.local.listing import AMONG, IS_ACTIVE, KEPT_S
from prominence.local.trees import bytes_below
from prominence.logs import logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prominence.local.directory import StateDirectory
    from prominence.local.engine import Engine
    from prominence.local.objects import Objects
    from prominence.local.store import Store
    from prominence.settings import Retention

log = logger(__name__)

_FIRST_PASS_S: Final = 1.0
_PASS_INTERVAL_S: Final = 3600.0
_STEP: Final = 100
_PAUSE_S: Final = 0.05  # between steps, for those who wait for answers
_SPARED_S: Final = 86400.0  # a program may fetch its results late, and submissions are looked up
_DAY_S: Final = 86400.0
_GB: Final = 10**9
_JUMP_S: Final = 3600.0
_FREE: Final = f"not {IS_ACTIVE} and ended < ? and not (kept and ended > ?)"
# the newest ids and revisions stay, so that none is given twice
_OLDEST: Final = f"""
select 'job' as kind, id, ended from jobs
    where {_FREE} and id < (select max(id) from jobs) and revision < (select max(revision) from jobs)
    and (workflow is null or workflow not in (select id from workflows))
    and not exists (select 1 from carried_over join templates on templates.id = template
        where job = jobs.id and templates.workflow in (select id from workflows))
union all
select 'workflow', id, ended from workflows
    where {_FREE} and id < (select max(id) from workflows)
    and revision < (select max(revision) from workflows)
order by ended, id limit {_STEP}
"""
_LEFT_TEMPLATES: Final = """
select id from templates where workflow not in (select id from workflows)
    and not exists (select 1 from jobs where jobs.template = templates.id)
"""
_ROWS_OF_JOB: Final = {"jobs": "id", "labels": "job", "inputs": "job"}
_ROWS_OF_WORKFLOW: Final = {
    "workflows": "id",
    "workflow_descriptions": "workflow",
    "workflow_labels": "workflow",
}
_ROWS_OF_TEMPLATE: Final = {
    "templates": "id",
    "template_descriptions": "template",
    "children": "parent",
    "retries": "template",
    "carried_over": "template",
}


class Pruner:
    """Keeps the state directory within a :class:`Retention`, in small steps beside the service's work."""

    def __init__(
        self,
        retention: Retention,
        *,
        state: StateDirectory,
        store: Store,
        engine: Engine,
        objects: Objects,
        clock: Clock = MACHINE_CLOCK,
    ) -> None:
        self._retention = retention
        self._state = state
        self._store = store
        self._engine = engine
        self._objects = objects
        self._clock = clock
        self._begin = self._clock.time() - self._clock.monotonic()

    async def prune_from_time_to_time(self) -> None:
        await asyncio.sleep(_FIRST_PASS_S)
        while True:
            try:
                await self.prune()
            except (OSError, sqlite3.Error):
                log.exception("old jobs cannot be removed now")
            await asyncio.sleep(_PASS_INTERVAL_S)

    async def prune(self) -> int:
        """Remove what is too old or too much; returns the number of jobs and workflows removed."""
        if not self._clock_is_trusted():
            log.warning("the clock was set: nothing is removed until the next start")
            return 0
        self._objects.remove_abandoned_places()
        now = self._clock.time()
        removed = 0
        if self._retention.days is not None:
            before = now - max(self._retention.days * _DAY_S, _SPARED_S)
            removed += await self._remove_old(before)
            await asyncio.to_thread(self._objects.nameless.prune, before)
        if self._retention.gigabytes is not None:
            removed += await self._shrink(self._retention.gigabytes * _GB, now - _SPARED_S)
        if removed:
            log.info("removed %d old jobs and workflows (%s)", removed, self._retention)
        return removed

    async def _remove_old(self, before: float) -> int:
        removed = 0
        while found := self._oldest(before):
            await self._remove(found)
            removed += len(found)
        return removed

    async def _shrink(self, most_bytes: float, before: float) -> int:
        kept_in = (self._state.attempts, self._state.snapshots)
        used = sum([await asyncio.to_thread(bytes_below, directory) for directory in kept_in])
        removed = 0
        while used > most_bytes and (found := self._oldest(before)):
            used -= await self._remove(found)
            removed += len(found)
        return removed

    def _oldest(self, before: float) -> list[sqlite3.Row]:
        kept_since = self._clock.time() - KEPT_S
        return self._store.read(_OLDEST, (before, kept_since) * 2)

    async def _remove(self, found: Sequence[sqlite3.Row]) -> int:
        """Remove files, then rows, so that nothing is left of what is not known any more; bytes made free.

        Jobs of a workflow are free to go once its own row is gone.
        """
        jobs = [row["id"] for row in found if row["kind"] == "job"]
        freed = await self._remove_files(jobs) if jobs else 0
        with self._store.atomic():
            self._delete(_ROWS_OF_JOB, jobs)
            self._delete(_ROWS_OF_WORKFLOW, [row["id"] for row in found if row["kind"] == "workflow"])
            self._delete(_ROWS_OF_TEMPLATE, [row["id"] for row in self._store.read(_LEFT_TEMPLATES)])
        await self._store.committed()
        await asyncio.sleep(_PAUSE_S)
        return freed

    async def _remove_files(self, jobs: Sequence[int]) -> int:
        attempts = self._store.read(f"select id, attempt from jobs where id in {AMONG}", [json.dumps(jobs)])
        freed = await self._engine.forget(
            [AttemptId(row["id"], number) for row in attempts for number in range(1, row["attempt"] + 1)]
        )
        for job in jobs:
            snapshot = self._state.snapshots / f"{job}.tgz"
            freed += snapshot.stat().st_size if snapshot.exists() else 0
            snapshot.unlink(missing_ok=True)
            for each in self._objects.below(f"scratch/{job}/"):
                await self._objects.delete(each.key)
        return freed

    def _delete(self, tables: Mapping[str, str], ids: Sequence[int]) -> None:
        for table, column in tables.items():
            self._store.write(f"delete from {table} where {column} in {AMONG}", [json.dumps(ids)])

    def _clock_is_trusted(self) -> bool:
        """False after the machine's clock was set while this service ran: ages mean nothing then."""
        now = self._clock.time() - self._clock.monotonic()
        return abs(now - self._begin) < _JUMP_S
