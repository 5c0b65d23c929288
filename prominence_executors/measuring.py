"""``chunksize="auto"``: the first items run one to a job, and what they took tells how many are to share one.

A chunk is to run for several times as long as it takes to have a job at all; it must leave work for every cpu
there is, and be far from the walltime. What cannot be measured in time is decided by how it looks then.
"""

from __future__ import annotations

import math
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Final

from prominence.exceptions import ProminenceError
from prominence.threads import InterruptibleCondition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prominence_executors.chunks import ChunkSender, Item, SentChunk

SAMPLE: Final = 4
_RUN_PER_OVERHEAD: Final = 4.0
_CHUNKS_PER_PLACE: Final = 2
_PART_OF_WALLTIME: Final = 0.25
_SHORTEST_OVERHEAD_S: Final = 1.0
_LONGEST_WAIT_S: Final = 60.0
_LOOK_S: Final = 0.1
_JOBS_WHERE_NOTHING_IS_KNOWN: Final = 1000
_SHORTEST_RUN_S: Final = 1e-7


class MeasuredChunks:
    """Sends a sample of the items now, and the rest from another thread once that is measured."""

    def __init__(self, sender: ChunkSender, items: Sequence[Item]) -> None:
        self._sender = sender
        self._items = items[SAMPLE:]
        self._changed = InterruptibleCondition()
        self._began = sender.clock.monotonic()
        self._durations: dict[SentChunk, float] = {}
        self.rest: Future[list[SentChunk]] = Future()
        self.sample = [sender.send([item]) for item in items[:SAMPLE]]
        for chunk in self.sample:
            chunk.future.add_done_callback(lambda _, chunk=chunk: self._note(chunk))  # type: ignore[misc]
        sender.send_later(self._send_rest)

    def _note(self, chunk: SentChunk) -> None:
        with self._changed:
            self._durations[chunk] = self._sender.clock.monotonic() - self._began
            self._changed.notify_all()

    def _send_rest(self) -> None:
        try:
            size = self._size()
            if self._sender.is_cancelled:
                self.rest.set_exception(CancelledError())
            else:
                self.rest.set_result(self._sender.send_all(self._items, size))
        except BaseException as error:  # noqa: BLE001 - whoever waits for results must hear of it
            self.rest.set_exception(error)

    def _size(self) -> int:
        waited_s = self._wait_for_sample()
        runs = [
            (duration, outcome.seconds)
            for chunk, duration in self._durations.items()
            if not chunk.future.cancelled() and chunk.future.exception() is None
            for outcome in chunk.future.result()
        ]
        if not runs:  # they run for long, or fail as jobs; or they wait for a place
            is_waiting = all(chunk.future.status != "running" for chunk in self.sample)
            jobs = _JOBS_WHERE_NOTHING_IS_KNOWN if is_waiting and not self._durations else len(self._items)
            return math.ceil(len(self._items) / jobs)
        unfinished = len(self.sample) - len(self._durations)
        run_s = (sum(seconds for _, seconds in runs) + unfinished * waited_s) / (len(runs) + unfinished)
        overhead_s = min(duration - seconds for duration, seconds in runs)
        longest_s = min(_RUN_PER_OVERHEAD * overhead_s, _PART_OF_WALLTIME * self._sender.walltime_s)
        wanted = math.ceil(longest_s / max(run_s, _SHORTEST_RUN_S))
        return max(1, min(wanted, math.ceil(len(self._items) / (_CHUNKS_PER_PLACE * self._places()))))

    def _wait_for_sample(self) -> float:
        """Return when the sample has ended, or runs or waits for too long; the seconds that it took."""
        clock = self._sender.clock
        overhead_s: float | None = None
        while True:
            with self._changed:
                waited_s = clock.monotonic() - self._began
                if len(self._durations) == len(self.sample):
                    return waited_s
                clock.wait(self._changed, _LOOK_S)
            if overhead_s is None and any(chunk.future.status == "running" for chunk in self.sample):
                overhead_s = max(waited_s, _SHORTEST_OVERHEAD_S)
            longest_s = _LONGEST_WAIT_S if overhead_s is None else (1 + _RUN_PER_OVERHEAD) * overhead_s
            if waited_s >= longest_s:
                return waited_s

    def _places(self) -> int:
        try:
            return self._sender.places()
        except ProminenceError:  # some services do not tell
            return SAMPLE
