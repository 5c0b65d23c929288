"""Numbers of a map's items by what they are at, as their chunks end."""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from prominence_executors.progress import Counted, Row
from prominence_executors.stats import ExecutorStats, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prominence_executors.chunks import SentChunk
    from prominence_executors.mapping import Progress


class ItemTally:
    """Counts the items of chunks; holds none of their results."""

    def __init__(self, total: int | None, on_end: Callable[[int, int], object] | None = None) -> None:
        """``on_end`` is called with numbers of items as chunks end: those that have ended, and all.

        Without a total all are those that were followed so far.
        """
        self._total = total
        self._on_end = on_end
        self._lock = threading.RLock()  # a map that is collected cancels what was not sent, in any thread
        self._telling = threading.RLock()
        self._unfinished: set[SentChunk] = set()
        self._ended: Counter[str] = Counter()
        self._row: Row | None = None

    def show(self, label: str) -> None:
        """Have the numbers shown, until all have ended or :meth:`end`."""
        self._row = Row(label, self.look)
        self._row.begin()

    def end(self) -> None:
        if self._row is not None:
            self._row.end()

    def follow(self, chunks: Iterable[SentChunk]) -> None:
        for chunk in chunks:
            with self._lock:
                self._unfinished.add(chunk)
            chunk.future.add_done_callback(partial(self._note, chunk))

    def look(self) -> Counted:
        with self._lock:
            unfinished, counted = list(self._unfinished), self._ended.copy()
        for chunk in unfinished:
            counted += _ended(chunk) if chunk.future.done() else Counter({state_of(chunk.future): chunk.size})
        if self._total is not None:
            counted["pending"] += self._total - counted.total()  # not followed yet
        return Counted(ExecutorStats(**counted), self._total)

    def _note(self, chunk: SentChunk, _: object) -> None:
        with self._telling:  # so that numbers are told in their order
            with self._lock:
                self._unfinished.discard(chunk)
                self._ended += _ended(chunk)
                ended = self._ended.total()
                followed = ended + sum(each.size for each in self._unfinished) if self._total is None else 0
            if self._on_end is not None:
                self._on_end(ended, self._total or followed)
        if ended == self._total:
            self.end()


def tally_for(progress: Progress, label: str, total: int | None) -> ItemTally | None:
    """What shows or tells numbers of items as it is wished; None where nobody wants them."""
    if callable(progress):
        return ItemTally(total, progress)
    if not progress or total == 0:
        return None
    tally = ItemTally(total)
    tally.show(label)
    return tally


def _ended(chunk: SentChunk) -> Counter[str]:
    if chunk.future.cancelled():
        return Counter(cancelled=chunk.size)
    failures = chunk.size if chunk.future.exception() is not None else chunk.future.result().failures
    return Counter(failed=failures, succeeded=chunk.size - failures)
