"""The service's memory on disk: one SQLite database, written by one thread, committed once a turn.

Changes made while the event loop handles what is ready are committed together, and whoever answers a
request first waits for :meth:`Store.committed`. A commit survives the end of the process; one that holds
a submission also survives power loss (``synchronous=FULL`` for that commit).
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from prominence.local.schema import open_database

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

BELOW: Final = "key >= ? and key < cast(? as text)"
"""SQL for keys that begin with a prefix, found by an index; its values are :func:`bounds`."""


def bounds(prefix: str) -> tuple[str, bytes]:
    """The first key that begins with ``prefix``, and what is behind the last: no text has a byte ff."""
    return prefix, prefix.encode() + b"\xff"


class Store:
    """A connection that is used in the event loop's thread alone."""

    def __init__(self, path: Path) -> None:
        self._connection = open_database(path)
        self._connection.row_factory = sqlite3.Row
        self._waiting: asyncio.Future[None] | None = None
        self._syncing = False
        self._rolled_back: sqlite3.Error | None = None

    def read(self, sql: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        return self._connection.execute(sql, tuple(values)).fetchall()

    def write(self, sql: str, values: Iterable[Any] = (), *, survive_power_loss: bool = False) -> None:
        """Make a change, to be committed with the others of this turn of the event loop."""
        self._begin(survive_power_loss=survive_power_loss)
        with self._noticing_rollbacks():
            self._connection.execute(sql, tuple(values))

    def write_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Make the same change with each of several rows of values."""
        self._begin()
        with self._noticing_rollbacks():
            self._connection.executemany(sql, rows)

    def insert(self, sql: str, values: Iterable[Any]) -> int:
        """Insert a row; its id, where the database chooses it."""
        self._begin()
        with self._noticing_rollbacks():
            return self._connection.execute(sql, tuple(values)).lastrowid or 0

    @contextmanager
    def atomic(self, *, survive_power_loss: bool = False) -> Iterator[None]:
        """All changes made inside, or none of them where an exception leaves it."""
        self._begin(survive_power_loss=survive_power_loss)
        self._connection.execute("savepoint part")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("rollback to part")
            raise
        finally:
            if self._connection.in_transaction:
                self._connection.execute("release part")

    async def committed(self) -> None:
        """Return when all changes made so far are on disk; raises what kept them from it."""
        if self._waiting is not None:
            await asyncio.shield(self._waiting)

    def identity(self) -> str:
        """What tells this database from any other that was in its place; "" for one of an early release."""
        return str(self.read("select name from identity")[0]["name"])

    def close(self) -> None:
        self._finish_turn()
        self._connection.close()

    def _begin(self, *, survive_power_loss: bool = False) -> None:
        if survive_power_loss and not self._syncing:
            self._finish_turn()  # SQLite takes another level only between transactions
        if self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            loop.call_soon(self._finish_turn)
        if not self._connection.in_transaction:
            self._syncing = survive_power_loss
            self._connection.execute(f"pragma synchronous = {'full' if survive_power_loss else 'normal'}")
            self._connection.execute("begin immediate")

    @contextmanager
    def _noticing_rollbacks(self) -> Iterator[None]:
        """A full disk can undo all of the turn's changes, not only the one that failed: then none is made."""
        try:
            yield
        except sqlite3.Error as error:
            if not self._connection.in_transaction:
                self._rolled_back = error
            raise

    def _finish_turn(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        rolled_back, self._rolled_back = self._rolled_back, None
        try:
            if rolled_back is not None:
                raise rolled_back
            if self._connection.in_transaction:
                self._connection.execute("commit")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            waiting.set_exception(error)
            waiting.exception()  # nobody may be waiting, and that is not worth a warning
        else:
            waiting.set_result(None)
