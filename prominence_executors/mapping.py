"""``map``: what may be asked of it, and what came of the items in their order."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar

from prominence.description.checks import is_whole
from prominence.exceptions import InvalidDescription
from prominence_executors.arrays import ARRAY_FROM
from prominence_executors.calls.results import ItemOutcome
from prominence_executors.measuring import MeasuredChunks
from prominence_executors.tally import ItemTally, tally_for

if TYPE_CHECKING:
    from prominence_executors.chunks import Chunk, ChunkSender, Item, SentChunk

R = TypeVar("R")

ChunkSize: TypeAlias = int | Literal["auto"]
Progress: TypeAlias = bool | Callable[[int, int], object]


class MapOptions(TypedDict, total=False):
    """Keywords of ``map``, which says what they mean."""

    timeout: float | None
    chunksize: ChunkSize
    buffersize: int | None
    return_exceptions: bool
    progress: Progress


def check(timeout: Any, chunksize: Any, buffersize: Any, return_exceptions: Any, progress: Any) -> None:
    """Raises InvalidDescription for what is not possible."""
    if timeout is not None and (not isinstance(timeout, int | float) or math.isnan(timeout)):
        raise InvalidDescription("timeout", timeout, "seconds, or None")
    if chunksize != "auto" and (not is_whole(chunksize) or chunksize < 1):
        raise InvalidDescription("chunksize", chunksize, 'a whole number of at least 1, or "auto"')
    if not isinstance(return_exceptions, bool):
        raise InvalidDescription("return_exceptions", return_exceptions, "True or False")
    if not isinstance(progress, bool) and not callable(progress):
        raise InvalidDescription("progress", progress, "True, False, or a function of two numbers")
    if buffersize is not None and (not is_whole(buffersize) or buffersize < 1):
        raise InvalidDescription("buffersize", buffersize, "a whole number of at least 1, or None")


def run(
    sender: ChunkSender,
    items: Iterator[Item],
    *,
    timeout: float | None,
    chunksize: ChunkSize,
    buffersize: int | None,
    return_exceptions: bool,
    progress: Progress,
) -> Results[Any]:
    """Send what is to be sent now; the iterator, or another thread, sends the rest."""
    check(timeout, chunksize, buffersize, return_exceptions, progress)
    deadline = None if timeout is None else sender.clock.monotonic() + timeout
    results: Results[Any] = Results(sender, deadline, return_exceptions=return_exceptions)
    if buffersize is not None:
        size = 1 if chunksize == "auto" else chunksize
        results.count(progress, None)
        results.take_lazily(iter(lambda: list(islice(items, size)), []), buffersize)
        return results
    taken = list(items)
    results.count(progress, len(taken))
    if chunksize == "auto" and len(taken) > ARRAY_FROM:
        measured = MeasuredChunks(sender, taken)
        results.take(measured.sample, measured.rest)
    else:
        results.take(sender.send_all(taken, 1 if chunksize == "auto" else chunksize))
    return results


class Results(Iterator[R]):
    """What came of the items of a map, in their order.

    An item that failed raises its exception at its place, and the next step goes on with the item after
    it. Several threads may take results; each result is given to one of them. When ``timeout`` has passed
    TimeoutError is raised; then, and when nobody holds this any more, what was not sent is cancelled.
    """

    def __init__(self, sender: ChunkSender, deadline: float | None, *, return_exceptions: bool) -> None:
        self._sender = sender
        self._deadline = deadline
        self._return_exceptions = return_exceptions
        self._taking = threading.RLock()  # a lazy input may take results itself
        self._ready: deque[ItemOutcome] = deque()
        self._chunks: deque[SentChunk] = deque()
        self._rest: Future[list[SentChunk]] | None = None
        self._unsent: Iterator[Chunk] = iter(())
        self._tally: ItemTally | None = None
        self._given = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._sender.name}: {self._given} given>"

    def count(self, progress: Progress, total: int | None) -> None:
        """Show numbers of items, or call ``progress`` with them as chunks end."""
        self._tally = tally_for(progress, self._sender.name, total)

    def take(self, sent: Iterable[SentChunk], rest: Future[list[SentChunk]] | None = None) -> None:
        """Give these chunks, and then those that another thread is to send."""
        self._chunks.extend(sent)
        self._rest = rest
        if self._tally is not None:
            tally = self._tally
            tally.follow(self._chunks)
            if rest is not None:
                rest.add_done_callback(lambda rest: tally.follow(_sent_in(rest)))

    def take_lazily(self, unsent: Iterator[Chunk], ahead: int) -> None:
        """Send so many chunks now, and one more for each that was given."""
        self._chunks.extend(map(self._send, islice(unsent, ahead)))
        self._unsent = unsent

    def _send(self, chunk: Chunk) -> SentChunk:
        sent = self._sender.send(chunk)
        if self._tally is not None:
            self._tally.follow([sent])
        return sent

    def __next__(self) -> R:
        with self._taking:
            while not self._ready:
                self._take_chunk()
            outcome = self._ready.popleft()
        self._given += 1
        if outcome.error is not None and not self._return_exceptions:
            try:
                raise outcome.error
            finally:
                del outcome  # which the traceback would keep
        found: Any = outcome.value if outcome.error is None else outcome.error
        return found  # type: ignore[no-any-return]  # with ``return_exceptions`` exceptions are results, too

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what was not sent yet, and give nothing more."""
        chunks, self._chunks = self._chunks, deque()
        rest, self._rest = self._rest, None
        self._ready.clear()
        self._unsent = iter(())
        self._sender.cancel(chunks)
        self._end_count()
        if rest is not None:
            sender = self._sender
            rest.add_done_callback(lambda rest: sender.cancel(_sent_in(rest)))

    def _take_chunk(self) -> None:
        if not self._chunks and self._rest is not None:
            error = self._wait_for(self._rest)
            rest, self._rest = self._rest, None
            if error is not None:
                raise error
            self._chunks.extend(rest.result())
        if not self._chunks:
            self._end_count()
            raise StopIteration
        chunks, chunk = self._chunks, self._chunks[0]
        error = self._wait_for(chunk.future)
        if self._chunks is not chunks:  # closed meanwhile, by another thread
            return
        chunks.popleft()
        if error is not None:
            self._ready.extend([ItemOutcome(error=error)] * chunk.size)
        else:
            outcomes = chunk.future.result()
            self._ready.extend(outcomes)
            # Who still holds the future, as the thread that settles it may, is not to hold the values.
            outcomes[:] = [ItemOutcome(seconds=each.seconds) for each in outcomes[:1]] * chunk.size
        self._chunks.extend(map(self._send, islice(self._unsent, 1)))

    def _end_count(self) -> None:
        if self._tally is not None:
            self._tally.end()

    def _wait_for(self, future: Future[Any]) -> BaseException | None:
        """What it ended with, if not with a result; raises TimeoutError when the time is over first."""
        left = None if self._deadline is None else max(0, self._deadline - self._sender.clock.monotonic())
        try:
            return future.exception(left)
        except CancelledError as cancelled:
            return cancelled
        except TimeoutError:
            self.close()
            raise


def _sent_in(rest: Future[list[SentChunk]]) -> list[SentChunk]:
    return [] if rest.exception() is not None else rest.result()
