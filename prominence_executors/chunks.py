"""Chunks of a map's items, each sent as a job; many of them as arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from prominence_executors.arrays import ARRAY_FROM, ARRAY_MOST
from prominence_executors.submittable import function_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prominence.clock import Clock
    from prominence_executors.calls.results import ChunkOutcomes
    from prominence_executors.dispatch import Dispatcher
    from prominence_executors.future import ProminenceFuture
    from prominence_executors.submittable import Submittable

Item: TypeAlias = tuple[Any, ...]
"""The arguments of one call."""
Chunk: TypeAlias = list[Item]


@dataclass(frozen=True, slots=True)
class SentChunk:
    future: ProminenceFuture[ChunkOutcomes]
    size: int


class ChunkSender:
    """Sends chunks of items for one map."""

    def __init__(self, function: Callable[..., Any], calls: Submittable, dispatcher: Dispatcher) -> None:
        if not callable(function):
            raise TypeError(f"map needs a function, not {function!r}: send commands by submit, one at a time")
        self._function = function
        self._calls = calls
        self._dispatcher = dispatcher
        self._group = calls.group
        self._is_late = False

    @property
    def clock(self) -> Clock:
        return self._dispatcher.session.client.clock

    @property
    def name(self) -> str:
        return function_name(self._function)

    @property
    def walltime_s(self) -> float:
        return 60.0 * (self._calls.options.resources.walltime or math.inf)

    @property
    def is_cancelled(self) -> bool:
        """True when nothing more is to be sent."""
        return self._group.is_cancelled

    def places(self) -> int:
        """Number of jobs that the service can run at a time, as it is now."""
        sites = self._dispatcher.session.client.resources()["existing"]
        cpus = sum(site["capacity"]["cpus"] for site in sites)
        return max(1, int(cpus) // (self._calls.options.resources.cpus or 1))

    def send_later(self, send: Callable[[], None]) -> None:
        """Have more sent from another thread, also when the executor is shut down meanwhile."""

        def work() -> None:
            self._is_late = True
            try:
                send()
            finally:
                self._group.release()

        self._group.hold()
        try:
            self._dispatcher.collectors.add(work)
        except RuntimeError:  # no thread can be started
            self._group.release()
            raise

    def send(self, chunk: Chunk) -> SentChunk:
        call = self._calls.chunk(self._function, chunk)
        if not call.future.done():
            self._dispatcher.add(call, is_late=self._is_late)
        return SentChunk(call.future, len(chunk))

    def send_all(self, items: Sequence[Item], size: int) -> list[SentChunk]:
        """All items in chunks of that size; many chunks as arrays."""
        chunks = [list(items[start : start + size]) for start in range(0, len(items), size)]
        most = min(ARRAY_MOST, self._dispatcher.most // 2)  # the next begins while the last jobs of one run
        if most < ARRAY_FROM:
            return [self.send(chunk) for chunk in chunks]
        pages = [chunks[start : start + most] for start in range(0, len(chunks), most)]
        return [sent for page in pages for sent in self._send_page(page)]

    def _send_page(self, chunks: Sequence[Chunk]) -> list[SentChunk]:
        if len(chunks) < ARRAY_FROM:
            return [self.send(chunk) for chunk in chunks]
        try:
            array = self._calls.array(self._function, chunks)
        except Exception:  # noqa: BLE001 - pickling runs users' code; those concerned will raise it
            return [self.send(chunk) for chunk in chunks]
        if array is None:
            half = len(chunks) // 2
            return [*self._send_page(chunks[:half]), *self._send_page(chunks[half:])]
        self._dispatcher.add(array, is_late=self._is_late)
        return [SentChunk(call.future, len(chunk)) for call, chunk in zip(array.calls, chunks, strict=True)]

    def cancel(self, chunks: Iterable[SentChunk]) -> None:
        self._dispatcher.cancel_pending({chunk.future for chunk in chunks})
