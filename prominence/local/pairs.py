"""The key-value store: keys are paths, values are bytes; every change is on disk when it is acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from prominence.local.store import BELOW, bounds

if TYPE_CHECKING:
    from prominence.local.store import Store

_HIDDEN: Final = "_internal_"


class Pair(NamedTuple):
    key: str
    value: bytes


class Pairs:
    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> bytes | None:
        rows = self._store.read("select value from pairs where key = ?", (key,))
        return bytes(rows[0]["value"]) if rows else None

    def below(self, prefix: str) -> list[Pair]:
        """Pairs whose key begins with ``prefix``, in order, but for those that are kept out of listings."""
        rows = self._store.read(f"select key, value from pairs where {BELOW} order by key", bounds(prefix))
        return [Pair(row["key"], bytes(row["value"])) for row in rows if _HIDDEN not in row["key"]]

    async def set(self, key: str, value: bytes) -> None:
        self._write("insert or replace into pairs values (?, ?)", key, value)
        await self._store.committed()

    async def swap(self, key: str, value: bytes, previous: bytes) -> bool:
        """Set a key that has the value ``previous``; False, and no change, when it has another or none."""
        if self.get(key) != previous:
            return False  # nothing comes between this look and the change: both are of one turn
        await self.set(key, value)
        return True

    async def delete(self, key: str) -> None:
        self._write("delete from pairs where key = ?", key)
        await self._store.committed()

    async def delete_below(self, prefix: str) -> None:
        self._write(f"delete from pairs where {BELOW}", *bounds(prefix))
        await self._store.committed()

    def _write(self, sql: str, *values: str | bytes) -> None:
        self._store.write(sql, values, survive_power_loss=True)
