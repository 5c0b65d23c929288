"""What jobs and workflows have in common: one space of ids, one count of changes, and who waits for them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from prominence.clock import MACHINE_CLOCK, Clock
from prominence.local.listing import AMONG, FEED_PAGE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Sequence

    from prominence.local.listing import Kind, Query
    from prominence.local.store import Store

PAGE: Final = 100
"""Rows that are read in one turn of the event loop."""


class Created(NamedTuple):
    """What was accepted, and the revision that it began with (0: it was there before)."""

    id: int
    revision: int

    @property
    def is_new(self) -> bool:
        return self.revision > 0


class Found(NamedTuple):
    """Jobs or workflows, and the latest revision that is in what is said of them."""

    rows: list[sqlite3.Row]
    revision: int


class Matches(NamedTuple):
    """What a listing is to show, and the latest revision that is in it; rows are read page by page."""

    kind: Kind
    ids: list[int]
    revision: int


class Ledger:
    """Ids that it gives are above all in the database, and above ``last_id``."""

    def __init__(self, store: Store, clock: Clock = MACHINE_CLOCK, *, last_id: int = 0) -> None:
        self._store = store
        self._clock = clock
        (newest,) = store.read(
            "select coalesce(max(id), 0) as id, coalesce(max(revision), 0) as revision from"
            " (select id, revision from jobs union all select id, revision from workflows)"
        )
        self._last_id: int = max(newest["id"], last_id)
        self._revision: int = newest["revision"]
        self._changed: asyncio.Future[None] | None = None

    def new_ids(self, count: int = 1) -> int:
        """The first of so many consecutive ids."""
        self._last_id += count
        return self._last_id - count + 1

    def new_revisions(self, count: int = 1) -> int:
        """The first of so many consecutive revisions; each change of a row takes one of its own."""
        self._revision += count
        return self._revision - count + 1

    def now(self) -> int:
        """The Unix epoch as the API has times, in whole seconds."""
        return int(self._clock.time())

    def update(self, kind: Kind, one: int, **columns: Any) -> None:
        """Change columns of a job or workflow, as a revision of its own."""
        columns["revision"] = self.new_revisions()
        changes = ", ".join(f"{name} = ?" for name in columns)
        self._store.write(f"update {kind.table} set {changes} where id = ?", (*columns.values(), one))

    def labels(self, kind: Kind, ids: Sequence[int]) -> dict[int, dict[str, str]]:
        """Labels by name; jobs and workflows without any are left out."""
        found: dict[int, dict[str, str]] = {}
        sql = f"select {kind.labelled} as id, name, value from {kind.labels} where {kind.labelled} in {AMONG}"
        for row in self._store.read(sql, [json.dumps(ids)]):
            found.setdefault(row["id"], {})[row["name"]] = row["value"]
        return found

    def tell_waiting(self) -> None:
        """Changes were committed: whoever waits for one looks again."""
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    async def search(self, kind: Kind, query: Query) -> Matches:
        rows = self._store.read(*query.sql(kind, self.now(), "id"))
        matches = Matches(kind, [row["id"] for row in rows], self._revision)
        await self._store.committed()
        return matches

    async def pages(self, matches: Matches) -> AsyncIterator[list[sqlite3.Row]]:
        """The rows as they are when their page is read; between pages other callers have their turn."""
        sql = f"select * from {matches.kind.view} where id in {AMONG}"
        for start in range(0, len(matches.ids), PAGE):
            ids = matches.ids[start : start + PAGE]
            found = {row["id"]: row for row in self._store.read(sql, [json.dumps(ids)])}
            await self._store.committed()
            yield [found[each] for each in ids if each in found]

    async def find(self, kind: Kind, query: Query) -> Found:
        """What a listing asks for; with ``query.since`` waits for something that changed after it."""
        deadline = self._clock.monotonic() + query.wait
        while True:
            rows = self._store.read(*query.sql(kind, self.now()))
            is_page = query.since is not None and len(rows) == FEED_PAGE
            found = Found(rows, rows[-1]["revision"] if is_page else self._revision)
            await self._store.committed()
            left = deadline - self._clock.monotonic()
            if found.rows or query.since is None or query.since > found.revision or left <= 0:
                return found
            if found.revision == self._revision:
                await self._next_change(left)

    async def _next_change(self, timeout_s: float) -> None:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._changed], timeout=timeout_s)
