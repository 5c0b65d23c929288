"""A service that jobs take on scripted states at, and somebody who hears of them."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from prominence.client.calls import Listing
from prominence.client.trouble import Trouble
from prominence.exceptions import ProminenceError, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from support.clock import VirtualClock

    from prominence.snapshot import JobSnapshot

LIMIT_S = 5.0
GONE = None
Entry = dict[str, Any]


def entry(status: str, job_id: int = 7, **fields: Any) -> Entry:
    return {"id": job_id, "status": status, **fields}


ENDED: Entry = {"events": {"endTime": 20}}


class ScriptedService:
    """Stands in for the client: jobs take on the states of their script, one at each look.

    ``requests`` holds what was asked for: ("bulk", ids), ("detail", ids), ("alone", id), ("feed", revision).
    """

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.trouble = Trouble("the service", clock)
        self.url = "https://a-host-of-some-length.example.org/prominence/v1"
        self.features: frozenset[str] = frozenset()
        self.revision: int | None = None
        self.requests: list[tuple[str, Any]] = []
        self.times: list[float] = []
        self.foreign: list[Entry] = []
        self.during_bulk: Callable[[], None] = lambda: None
        self._states: dict[int, deque[Entry | None]] = {}
        self._shown: dict[int, Entry | None] = {}
        self._alone: dict[int, deque[Entry | None]] = {}
        self._detail: dict[int, deque[Entry | None]] = {}
        self._failures: deque[BaseException] = deque()
        self._failing_until = 0.0
        self._change = threading.Condition()
        self._feed: deque[Listing] = deque()
        self._is_over = False

    def script(self, *states: Entry | None, job_id: int = 7) -> None:
        """What bulk answers say of a job; the last is repeated."""
        self._states[job_id] = deque(states)

    def script_alone(self, *states: Entry | None, job_id: int = 7) -> None:
        """What answers about one job say of it, where that is not the state of the last bulk answer."""
        self._alone[job_id] = deque(states)

    def script_detail(self, *states: Entry | None, job_id: int = 7) -> None:
        self._detail[job_id] = deque(states)

    def fail(self, *errors: BaseException) -> None:
        """Raise these at the next requests."""
        self._failures = deque(errors)

    def be_away(self, seconds: float) -> None:
        """Give no answer for so long; each request takes a minute to find out."""
        self._failing_until = self.clock.elapsed + seconds

    def tell(self, revision: int | None, *entries: Entry) -> None:
        """Answer a long poll."""
        with self._change:
            self._feed.append(Listing(list(entries), revision))
            self._change.notify_all()

    def end(self) -> None:
        """Answer all long polls without news, so that nobody hangs in one."""
        with self._change:
            self._is_over = True
            self._change.notify_all()

    def wait_for_requests(self, *wanted: tuple[str, Any]) -> None:
        with self._change:
            found = self._change.wait_for(
                lambda: set(map(str, wanted)) <= set(map(str, self.requests)), LIMIT_S
            )
        assert found, f"{wanted} not among {self.requests}"

    # the client's methods

    def list_jobs(self, *, ids: Iterable[int], detail: bool = False) -> Listing:
        wanted = list(ids)
        self._note("detail" if detail else "bulk", wanted)
        if not detail:
            self.during_bulk()
        look = self._detailed if detail else self._look
        found = [each for job_id in wanted if (each := look(job_id)) is not None]
        return Listing([*self.foreign, *reversed(found)], self.revision)

    def describe_job(self, job_id: int) -> Listing:
        self._note("alone", job_id)
        script = self._alone.get(job_id)
        found = _next(script) if script else self._shown.get(job_id, self._states[job_id][0])
        return Listing([] if found is None else [found], self.revision)

    def list_workflows(self, *, ids: Iterable[int]) -> Listing:
        return self.list_jobs(ids=ids)

    def list_changed_workflows(self, since: int, wait: float) -> Listing:
        return self.list_changed_jobs(since, wait)

    def list_changed_jobs(self, since: int, wait: float) -> Listing:
        self._note("feed", since)
        if not wait and not self._feed:
            return Listing([], since)
        with self._change:
            assert self._change.wait_for(lambda: self._feed or self._is_over, LIMIT_S * 3)
            if self._feed:
                return self._feed.popleft()
        self.clock.advance(wait)
        return Listing([], since)

    def _note(self, what: str, wanted: Any) -> None:
        with self._change:
            self.requests.append((what, wanted))
            self.times.append(self.clock.elapsed)
            self._change.notify_all()
        if self._failures:
            raise self._failures.popleft()
        if self.clock.elapsed < self._failing_until:
            self.clock.advance(60)
            raise ServiceUnavailable("nobody there")

    def _look(self, job_id: int) -> Entry | None:
        script = self._states.get(job_id)
        self._shown[job_id] = _next(script) if script else GONE
        return self._shown[job_id]

    def _detailed(self, job_id: int) -> Entry | None:
        script = self._detail.get(job_id)
        if script is not None:
            return _next(script)
        shown = self._shown[job_id]
        return shown and {**shown, "execution": {"tasks": [{"exitCode": 0}]}}

    def of(self, what: str) -> list[Any]:
        """What was asked for in this way."""
        return [wanted for kind, wanted in self.requests if kind == what]


def _next(script: deque[Entry | None]) -> Entry | None:
    return script.popleft() if len(script) > 1 else script[0]


class Listener:
    """Hears of one job."""

    def __init__(self) -> None:
        self.snapshots: list[JobSnapshot] = []
        self.error: ProminenceError | None = None
        self.thread: threading.Thread | None = None
        self._over = threading.Event()

    def on_change(self, snapshot: JobSnapshot) -> None:
        self.thread = threading.current_thread()
        self.snapshots.append(snapshot)
        if snapshot.has_ended:
            self._over.set()

    def on_failure(self, error: ProminenceError) -> None:
        self.thread = threading.current_thread()
        self.error = error
        self._over.set()

    def wait(self, limit_s: float = LIMIT_S) -> Self:
        """Return when the job has ended, or nothing more can be learned of it."""
        assert self._over.wait(limit_s), f"nothing heard of the end, but of {self.statuses}"
        return self

    @property
    def statuses(self) -> list[str]:
        return [snapshot.status for snapshot in self.snapshots]

    @property
    def is_done(self) -> bool:
        return self._over.is_set()
