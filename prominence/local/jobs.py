"""Jobs as their callers see them, run by the engine: accepted, ended, listed, their output read.

The database is the truth; what an answer says was committed before it is sent. An engine only ever sees
attempts whose job is in the database.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any, Final, TypeVar

from prominence.description.rules import is_reserved
from prominence.local import queue_limits
from prominence.local.attempts import attempt_of
from prominence.local.errors import Refusal
from prominence.local.listing import ACTIVE, JOBS
from prominence.logs import about, logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prominence.local.attempts import Attempts
    from prominence.local.engine import AttemptId, Change, Engine, OutputPart, Stream
    from prominence.local.job_tables import JobTables
    from prominence.local.ledger import Created, Found, Ledger, Matches
    from prominence.local.listing import Query
    from prominence.local.queue_limits import QueueLimits
    from prominence.local.store import Store

log = logger(__name__)

_RECORD_AGAIN_S: Final = 1.0
_CHANGES_AT_ONCE: Final = 200

T = TypeVar("T")


class Jobs:
    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        tables: JobTables,
        engine: Engine,
        attempts: Attempts,
        *,
        limits: QueueLimits,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._engine = engine
        self._attempts = attempts
        self._limits = limits
        self.tables = tables
        self.url = attempts.url
        self.inputs = attempts.inputs
        self.pages = ledger.pages

    async def recover(self) -> None:
        """Hand every job that may still run to the engine, which knows how far each one is."""
        for job in self._attempts.unreadable():
            about(log, "job", job).error("it cannot be taken up: its description is damaged")
            self.tables.fail([self.tables.row(job)], "Unable to execute task(s): the description is damaged")
        self._limits.watch_all()
        await self._engine.recover(self._attempts.unfinished(), self._attempts.being_ended())

    async def follow_engine(self) -> None:
        """Record what the engine reports, for as long as the service lives."""
        seen = 0
        while True:
            changes = await self._engine.changes(seen)
            for some in _slices(changes):
                again = await self._record_all(some)
                seen = some[-1].sequence
                await self.submit(again)

    async def _record_all(self, changes: Sequence[Change]) -> list[int]:
        """Write down changes, however often it takes; the jobs that are to be tried again."""
        while True:
            try:
                with self._store.atomic():
                    again = [change.attempt.job for change in changes if self.tables.record(change)]
                await self._store.committed()
            except sqlite3.Error:
                log.exception("cannot record %d changes; trying again", len(changes))
                await asyncio.sleep(_RECORD_AGAIN_S)
            else:
                self._ledger.tell_waiting()
                return again

    async def end_overdue(self) -> None:
        """End what waits for longer than its job allows, for as long as the service lives."""
        while True:
            attempts = set(await self._limits.overdue())
            rows = self.tables.rows(each.job for each in attempts)
            waiting = [row for row in rows if row["status"] == "idle" and attempt_of(row) in attempts]
            await self._end_waiting(waiting)
            await self.cancel([attempt_of(row) for row in waiting])

    async def _end_waiting(self, rows: Sequence[sqlite3.Row]) -> None:
        while True:
            try:
                self.tables.fail(rows, queue_limits.REASON)
                await self._store.committed()
            except sqlite3.Error:
                log.exception("cannot record that %d jobs waited too long; trying again", len(rows))
                await asyncio.sleep(_RECORD_AGAIN_S)
            else:
                self._ledger.tell_waiting()
                return

    async def create(self, description: dict[str, Any]) -> Created:
        """Accept a validated job; raises Refusal where it can never run here.

        The same submission label again may give the job that has it, as :meth:`JobTables.create` says.
        """
        if (reason := self._engine.refuses(description)) is not None:
            raise Refusal(400, reason)
        created = self.tables.create(description)
        await self._store.committed()
        if created.is_new:
            if description.get("notifications"):
                about(log, "job", created.id).info("there is no mail system here, so nobody is notified")
            self._ledger.tell_waiting()
            await self.submit([created.id])
        return created

    async def delete(self, ids: Iterable[int]) -> bool:
        """End jobs; False when none of them is in the queue. One that has ended is only called deleted.

        Where that cannot be recorded they are ended all the same, and the end is recorded when it can be.
        """
        found = self.tables.rows(ids)
        rows = [row for row in found if self.tables.is_in_queue(row) and row["status"] != "deleted"]
        attempts = [attempt_of(row) for row in rows if row["status"] in ACTIVE]
        try:
            self.tables.delete(rows)
            await self._store.committed()
        except sqlite3.Error:
            await self.end_unrecorded(attempts)
            raise
        self._ledger.tell_waiting()
        await self.cancel(attempts)
        return bool(rows)

    async def clone(self, job: int) -> Created:
        """Accept a job with the description of another one, as a submission of its own."""
        self.tables.row(job)
        description = self._attempts.description(job)
        labels = {
            name: value
            for name, value in (description.pop("labels", None) or {}).items()
            if not is_reserved(name)
        }
        return await self.create({**description, **({"labels": labels} if labels else {})})

    async def remove(self, job: int) -> None:
        """Let a job leave the queue when it has ended, or now if it has; raises Refusal if it has left."""
        self.tables.remove(job)
        await self._store.committed()

    async def cancel(self, attempts: Sequence[AttemptId]) -> None:
        """Have the engine end attempts of jobs that are deleted."""
        for some in _slices(attempts):
            await self._engine.cancel(some)
            await asyncio.sleep(0)  # there may be ten thousand, and other callers

    async def end_unrecorded(self, attempts: Sequence[AttemptId]) -> None:
        """Have the engine end attempts of jobs that are to be deleted, but could not be called so yet."""
        self.tables.end_as_deleted(attempts)
        await self.cancel(attempts)

    async def find(self, query: Query) -> Found:
        """The jobs that a listing asks for; with ``query.since`` waits for one that changed after it."""
        return await self._ledger.find(JOBS, query)

    async def search(self, query: Query) -> Matches:
        return await self._ledger.search(JOBS, query)

    def labels(self, ids: Sequence[int]) -> dict[int, dict[str, str]]:
        return self._ledger.labels(JOBS, ids)

    async def read_output(self, job: int, stream: Stream, node: int, offset: int) -> OutputPart | None:
        """What a job has written so far; None while there is nothing, a refusal for an unknown job."""
        attempt = attempt_of(self.tables.row(job))
        found = await self._engine.read_output(attempt, node, stream, offset)
        if found is None and node:
            return await self._engine.read_output(attempt, 0, stream, offset)  # as the real service does
        return found

    async def submit(self, jobs: Iterable[int]) -> None:
        """Give jobs to the engine, but for those that were deleted meanwhile."""
        jobs = list(jobs)
        self._limits.watch(jobs)
        await self._engine.submit(self._attempts.idle(jobs))
        self.tables.end_never_started(jobs)


def _slices(many: Sequence[T]) -> Iterator[Sequence[T]]:
    """Parts small enough for one turn of the event loop."""
    return (many[start : start + _CHANGES_AT_ONCE] for start in range(0, len(many), _CHANGES_AT_ONCE))
