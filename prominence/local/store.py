"""The service's memory on disk: one SQLite database, written by one thread, committed once a turn.

Changes made while the event loop handles what is ready are committed together, and whoever answers a
request first waits for :meth:`Store.committed`. A commit survives the end of the process; one that holds
a submission also survives power loss (``synchronous=FULL`` for that commit).
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from prominence.exceptions import LocalServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
create table jobs (
    id integer primary key,
    name text not null,
    status text not null,
    reason text not null default '',
    description text not null,
    submission text unique,
    created integer not null,
    started integer,
    ended integer,
    attempt integer not null default 1,
    execution text not null default '{}',
    outputs text not null default '{}',
    revision integer not null
);
create index jobs_by_revision on jobs (revision);
create index jobs_by_name on jobs (name);
create index jobs_active on jobs (id) where status in ('idle', 'running');
create table labels (job integer not null, name text not null, value text not null);
create index labels_by_value on labels (name, value);
create table inputs (job integer primary key, inputs text not null);
"""


class Store:
    """A connection that is used in the event loop's thread alone."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._waiting: asyncio.Future[None] | None = None
        self._syncing = False
        try:
            self._connection.execute("pragma journal_mode = wal")
            self._migrate(path)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise LocalServiceError(f"the database {path} cannot be used: {error}") from error

    def _migrate(self, path: Path) -> None:
        found = self._connection.execute("pragma user_version").fetchone()[0]
        if found == 0:
            self._connection.executescript(f"begin;{_SCHEMA}pragma user_version = {SCHEMA_VERSION};commit;")
        elif found != SCHEMA_VERSION:
            self._connection.close()
            raise LocalServiceError(
                f"the database {path} has version {found}, this release reads {SCHEMA_VERSION}: "
                "use the release that wrote it, or move the file away"
            )

    def read(self, sql: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        return self._connection.execute(sql, tuple(values)).fetchall()

    def write(self, sql: str, values: Iterable[Any] = (), *, survive_power_loss: bool = False) -> None:
        """Make a change, to be committed with the others of this turn of the event loop."""
        if self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            loop.call_soon(self._finish_turn)
        if survive_power_loss and not self._syncing and self._connection.in_transaction:
            self._connection.execute("commit")  # SQLite takes another level only between transactions
        if not self._connection.in_transaction:
            self._syncing = survive_power_loss
            self._connection.execute(f"pragma synchronous = {'full' if survive_power_loss else 'normal'}")
            self._connection.execute("begin immediate")
        self._connection.execute(sql, tuple(values))

    async def committed(self) -> None:
        """Return when all changes made so far are on disk; raises what kept them from it."""
        if self._waiting is not None:
            await asyncio.shield(self._waiting)

    def close(self) -> None:
        self._finish_turn()
        self._connection.close()

    def _finish_turn(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        try:
            if self._connection.in_transaction:
                self._connection.execute("commit")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            waiting.set_exception(error)
            waiting.exception()  # nobody may be waiting, and that is not worth a warning
        else:
            waiting.set_result(None)
