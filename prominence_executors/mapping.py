"""``map``: items in chunks, each chunk a job, and what came of the items in their order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from prominence.exceptions import InvalidDescription
from prominence_executors.arrays import ARRAY_FROM, ARRAY_MOST
from prominence_executors.calls.results import ItemOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prominence.clock import Clock
    from prominence_executors.dispatch import Dispatcher, Group
    from prominence_executors.future import ProminenceFuture
    from prominence_executors.submittable import Submittable

R = TypeVar("R")

Item: TypeAlias = tuple[Any, ...]
"""The arguments of one call."""
Chunk: TypeAlias = list[Item]
ChunkSize: TypeAlias = int | Literal["auto"]
Progress: TypeAlias = Callable[[int, int], object]


def check_numbers(chunksize: object, buffersize: object) -> None:
    """Raises InvalidDescription for sizes that are none."""
    if chunksize != "auto" and (not isinstance(chunksize, int) or chunksize < 1):
        raise InvalidDescription("chunksize", chunksize, 'a whole number of at least 1, or "auto"')
    if buffersize is not None and (not isinstance(buffersize, int) or buffersize < 1):
        raise InvalidDescription("buffersize", buffersize, "a whole number of at least 1, or None")


@dataclass(frozen=True, slots=True)
class SentChunk:
    future: ProminenceFuture[list[ItemOutcome]]
    size: int


def run(
    sender: Sender,
    items: Iterator[Item],
    *,
    timeout: float | None,
    chunksize: ChunkSize,
    buffersize: int | None,
    return_exceptions: bool,
    progress: Progress | None,
) -> Results[Any]:
    """Send what is to be sent now; the iterator sends the rest."""
    check_numbers(chunksize, buffersize)
    clock = sender.clock
    deadline = None if timeout is None else clock.monotonic() + timeout
    size = 1 if chunksize == "auto" else chunksize
    send_next: Callable[[], SentChunk | None] = _nothing
    if buffersize is None:
        sent = sender.send_all(list(items), size)
        _tell_progress(sent, progress)
    else:
        batches = iter(lambda: list(islice(items, size)), [])
        sent = [sender.send(batch) for batch in islice(batches, buffersize)]

        rest = map(sender.send, batches)
        send_next = partial(next, rest, None)
    return Results(
        sent, send_next, sender.cancel, clock=clock, deadline=deadline, return_exceptions=return_exceptions
    )


def _tell_progress(sent: Sequence[SentChunk], progress: Progress | None) -> None:
    if progress is None:
        return
    total, done, lock = sum(chunk.size for chunk in sent), 0, threading.Lock()

    def tell(size: int, _: object) -> None:
        nonlocal done
        with lock:  # also so that numbers are told in their order
            done += size
            progress(done, total)

    for chunk in sent:
        chunk.future.add_done_callback(partial(tell, chunk.size))


class Sender:
    """Sends chunks of items for one map."""

    def __init__(
        self, function: Callable[..., Any], calls: Submittable, dispatcher: Dispatcher, group: Group
    ) -> None:
        self._function = function
        self._calls = calls
        self._dispatcher = dispatcher
        self._group = group

    @property
    def clock(self) -> Clock:
        return self._dispatcher.session.client.clock

    def send(self, chunk: Chunk) -> SentChunk:
        call = self._calls.chunk(self._function, chunk)
        if not call.future.done():
            self._dispatcher.add(call, self._group)
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
        self._dispatcher.add(array, self._group)
        return [SentChunk(call.future, len(chunk)) for call, chunk in zip(array.calls, chunks, strict=True)]

    def cancel(self, chunks: Iterable[SentChunk]) -> None:
        self._dispatcher.cancel_pending({chunk.future for chunk in chunks})


class Results(Iterator[R]):
    """What came of the items of a map, in their order.

    An item that failed raises its exception at its place, and the next step goes on with the item after
    it. When ``timeout`` has passed TimeoutError is raised; then, and when nobody holds this any more, what
    was not sent is cancelled.
    """

    def __init__(
        self,
        chunks: Iterable[SentChunk],
        send_next: Callable[[], SentChunk | None],
        cancel: Callable[[Iterable[SentChunk]], None],
        *,
        clock: Clock,
        deadline: float | None,
        return_exceptions: bool,
    ) -> None:
        """``send_next`` is called when a chunk was taken; it sends one more if there is one."""
        self._chunks = deque(chunks)
        self._send_next = send_next
        self._cancel = cancel
        self._ready: deque[ItemOutcome] = deque()
        self._clock = clock
        self._deadline = deadline
        self._return_exceptions = return_exceptions

    def __next__(self) -> R:
        while not self._ready:
            self._take_chunk()
        outcome = self._ready.popleft()
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
        self._ready.clear()
        self._send_next = _nothing
        self._cancel(chunks)

    def _take_chunk(self) -> None:
        if not self._chunks:
            raise StopIteration
        chunk = self._chunks[0]
        left = None if self._deadline is None else max(0, self._deadline - self._clock.monotonic())
        try:
            error: BaseException | None = chunk.future.exception(left)
        except CancelledError as cancelled:
            error = cancelled
        except TimeoutError:
            self.close()
            raise
        self._chunks.popleft()
        self._ready.extend(
            chunk.future.result() if error is None else [ItemOutcome(error=error)] * chunk.size
        )
        if (following := self._send_next()) is not None:
            self._chunks.append(following)


def _nothing() -> None:
    return None
