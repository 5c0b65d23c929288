"""Following a job's output while it is written.

Output is read by offset. It begins from the start again when the service starts the job again, which is seen
in two ways: the job's start changes, and what was read last is not where it was. So each look asks for the
end of what it has, too.
"""

from __future__ import annotations

import codecs
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from prominence.exceptions import AuthenticationError, ServiceUnavailable
from prominence.logs import logger
from prominence.sources import WAIT_FEATURE
from prominence.threads import InterruptibleCondition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prominence.client.api import ProminenceClient
    from prominence.client.job_calls import Stream
    from prominence.clock import Clock
    from prominence.snapshot import JobSnapshot
    from prominence.watch import Watcher

log = logger(__name__)

_SHORTEST_PAUSE_S: Final = 0.1
_QUIET_SHARE: Final = 0.1  # of the time without output: how late the end is told
_LONGEST_PAUSE_S: Final = 5.0
_OVERLAP: Final = 64  # bytes; shorter ones are found again by chance more often

T = TypeVar("T")


def follow_output(
    client: ProminenceClient,
    job_id: int,
    stream: Stream,
    node: int,
    describe: Callable[[], JobSnapshot],
    *,
    pause: Callable[[float], None],
    outage_tolerance_s: float,
) -> Iterator[str]:
    """A job's output piece by piece as it is written, until the job has ended.

    Output begins anew when the job is started again; a line in brackets says so. Raises ServiceUnavailable
    when no usable answer came for ``outage_tolerance_s``. ``pause`` lets up to so many seconds pass.
    """

    def borne(call: Callable[[], T]) -> T:
        return bearing_outages(call, client, outage_tolerance_s)

    output, run = _Output(client, job_id, stream, node), _Run()
    clock, snapshot = client.clock, borne(describe)
    quiet_since = clock.monotonic()
    while True:
        has_ended = snapshot.has_certainly_ended
        piece = borne(output.unread)
        if not has_ended:
            snapshot = borne(describe)  # after the piece, which may be of the run before
        if run.is_over(snapshot, is_output_gone=piece is None):
            if output.was_begun:
                yield f"{output.begin_anew()}\n[job {job_id} was started again: its output begins anew]\n"
        elif piece:
            yield output.take(piece)
            quiet_since = clock.monotonic()
        elif has_ended:
            if rest := output.begin_anew():
                yield rest
            return
        elif not snapshot.has_certainly_ended:  # else what it wrote last is read at once
            pause_s = _QUIET_SHARE * (clock.monotonic() - quiet_since)
            pause(min(max(pause_s, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S))


@contextmanager
def pauses_until_news(
    client: ProminenceClient, watcher: Watcher[JobSnapshot], job_id: int
) -> Iterator[Callable[[float], None]]:
    """Pauses of some seconds that end at once when the job changes, where the service tells changes.

    Elsewhere that would cost requests of its own, and pauses are as long as they are asked to be.
    """
    news, watch = _News(client.clock), None

    def pause(seconds: float) -> None:
        nonlocal watch
        if WAIT_FEATURE not in client.features:
            client.clock.sleep(seconds)
            return
        if watch is None:
            watch = watcher.watch(job_id, news.note, news.note)
        news.wait(seconds)

    try:
        yield pause
    finally:
        if watch is not None:
            watcher.unwatch(watch)


class _News:
    """Whether something has happened since it was last waited for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._condition = InterruptibleCondition()
        self._is_there = False

    def note(self, _: object) -> None:
        with self._condition:
            self._is_there = True
            self._condition.notify_all()

    def wait(self, seconds: float) -> None:
        with self._condition:
            if not self._is_there:
                self._clock.wait(self._condition, seconds)
            self._is_there = False


class _Run:
    """One run of a job, until it is started again."""

    def __init__(self) -> None:
        self._known: JobSnapshot | None = None

    def is_over(self, snapshot: JobSnapshot, *, is_output_gone: bool) -> bool:
        """True when the job was started again; then the next run is meant."""
        was_restarted = self._known is not None and snapshot.was_restarted_since(self._known)
        if snapshot.has_begun:
            self._known = snapshot
        return was_restarted or is_output_gone


class _Output:
    """What has been read of one output of a job, and the text in it."""

    def __init__(self, client: ProminenceClient, job_id: int, stream: Stream, node: int) -> None:
        self._client = client
        self._job_id = job_id
        self._stream = stream
        self._node = node
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._read = 0
        self._tail = b""

    @property
    def was_begun(self) -> bool:
        return self._read > 0

    def unread(self) -> bytes | None:
        """What was written beyond the bytes that were taken; None when those are not there any more."""
        offset = self._read - len(self._tail)
        found = self._client.read_output(self._job_id, self._stream, node=self._node, offset=offset)
        return found[len(self._tail) :] if found.startswith(self._tail) else None

    def take(self, piece: bytes) -> str:
        """The text of a piece, up to its last whole character."""
        self._read += len(piece)
        self._tail = (self._tail + piece)[-_OVERLAP:]
        return self._decoder.decode(piece)

    def begin_anew(self) -> str:
        """What is left of a character that was not completed."""
        self._read, self._tail = 0, b""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest


def bearing_outages(
    call: Callable[[], T], client: ProminenceClient, tolerance_s: float, *, was_good: bool = False
) -> T:
    """What a call returns, made again while it raises ServiceUnavailable, for at most that long.

    With ``was_good``, of a token that was accepted a moment ago, it bears with AuthenticationError too: a
    login meanwhile puts that right.
    """
    borne = (ServiceUnavailable, AuthenticationError) if was_good else (ServiceUnavailable,)
    clock = client.clock
    end = clock.monotonic() + tolerance_s
    while True:
        try:
            return call()
        except borne as error:
            if clock.monotonic() >= end:
                raise
            client.trouble.tell(log, "the service is not to be reached at the moment: %s", error)
        clock.sleep(_LONGEST_PAUSE_S)
