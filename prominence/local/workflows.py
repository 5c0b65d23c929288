"""Workflows as their callers see them: accepted, made into jobs, ended, listed."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from prominence.local.errors import Refusal
from prominence.local.listing import WORKFLOWS
from prominence.logs import about, logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prominence.local.engine import Engine
    from prominence.local.jobs import Jobs
    from prominence.local.ledger import Created, Found, Ledger, Matches
    from prominence.local.listing import Query
    from prominence.local.store import Store
    from prominence.local.workflow_tables import WorkflowTables

log = logger(__name__)

_MAKE_AGAIN_S: Final = 1.0


class Workflows:
    def __init__(
        self, store: Store, ledger: Ledger, tables: WorkflowTables, jobs: Jobs, engine: Engine
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._jobs = jobs
        self._engine = engine
        self.tables = tables
        self.pages = ledger.pages

    async def make_jobs(self) -> None:
        """Make jobs as soon as they can be run, for as long as the service lives."""
        while True:
            await self.tables.due.wait()
            self.tables.due.clear()
            try:
                await self._record_deletions()
                while made := self.tables.make_jobs():
                    await self._store.committed()
                    self._ledger.tell_waiting()
                    await self._jobs.submit(made)
            except sqlite3.Error:
                log.exception("cannot make the jobs of workflows; trying again")
                await asyncio.sleep(_MAKE_AGAIN_S)
                self.tables.due.set()

    async def create(self, description: dict[str, Any]) -> Created:
        """Accept a validated workflow; raises Refusal where one of its jobs can never run here."""
        for job in description["jobs"]:
            if (reason := self._engine.refuses(job)) is not None:
                raise Refusal(400, f"job {job['name']}: {reason}")
        created = await self._accepted(lambda: self.tables.create(description))
        if description.get("notifications"):
            text = "there is no mail system here, so nobody is notified"
            about(log, "workflow", created.id).info(text)
        return created

    async def clone(self, workflow: int) -> Created:
        return await self._accepted(lambda: self.tables.clone(workflow))

    async def rerun(self, workflow: int) -> Created:
        return await self._accepted(lambda: self.tables.rerun(workflow))

    async def remove(self, workflow: int) -> None:
        self.tables.remove(workflow)
        await self._store.committed()

    async def delete(self, ids: Iterable[int]) -> bool:
        """End workflows with their jobs; False when none of them is active.

        Where that cannot be recorded the jobs are ended all the same, and it is recorded when it can be.
        """
        ids = list(ids)
        try:
            attempts = self.tables.delete(ids)
            await self._store.committed()
        except sqlite3.Error:
            await self._jobs.end_unrecorded(self.tables.delete_later(ids))
            raise
        self._ledger.tell_waiting()
        await self._jobs.cancel(attempts or ())
        return attempts is not None

    async def _record_deletions(self) -> None:
        if due := set(self.tables.deletions_due):
            attempts = self.tables.delete(due)
            await self._store.committed()
            self.tables.deletions_due -= due
            self._ledger.tell_waiting()
            await self._jobs.cancel(attempts or ())

    async def find(self, query: Query) -> Found:
        """Workflows that changed after a revision, waited for; or those of a short listing."""
        return await self._ledger.find(WORKFLOWS, query)

    async def search(self, query: Query) -> Matches:
        return await self._ledger.search(WORKFLOWS, query)

    async def _accepted(self, change: Callable[[], Created]) -> Created:
        created = change()
        await self._store.committed()
        self._ledger.tell_waiting()
        return created
