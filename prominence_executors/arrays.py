"""Many calls as one workflow: a factory makes a job of each, and the jobs are listed together.

::

    sender thread            watcher thread           collector thread            fetcher threads
    -------------            --------------           ----------------            ---------------
    workflow.create()   -->  on_change(progress) -->  list the workflow's jobs
                                                      detail of those that ended  -->  outcome of each

The jobs are listed when the workflow's progress has changed, and no more often than a tenth of the time that
allows; what a listing leaves out when the workflow has ended is followed job by job.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from prominence.exceptions import JobFailedError
from prominence.following import bearing_outages
from prominence.logs import about, logger
from prominence.snapshot import JobSnapshot, log_state
from prominence.sources import JobSource
from prominence_executors.calls import packing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prominence import Session, Workflow
    from prominence.snapshot import WorkflowSnapshot
    from prominence.threads import WorkThreads
    from prominence_executors.attempts import Call
    from prominence_executors.calls.objects import ObjectStore

log = logger(__name__)

ARRAY_FROM: Final = 100
"""Calls from which they are sent as arrays."""
ARRAY_MOST: Final = 5000

_PAUSE_PER_COLLECTION: Final = 10.0
_SHORTEST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 15.0
_LOOKS_FOR_MISSING: Final = 5  # jobs are in no listing for a moment while they go from the queue to history
_PAUSE_FOR_MISSING_S: Final = 2.0


@dataclass(slots=True)
class Array:
    """Calls to be sent together; ``workflow`` makes the workflow of those with some indexes.

    ``contents`` are objects, by name, that must be stored before.
    """

    calls: Sequence[Call]
    workflow: Callable[[Sequence[int]], Workflow]
    contents: Mapping[str, bytes]


class ArrayRun:
    """The wanted ones of an array's calls, sent; each is told of once, when its job has ended or is lost."""

    def __init__(
        self,
        session: Session,
        array: Array,
        wanted: Sequence[int],
        collectors: WorkThreads,
        *,
        on_end: Callable[[Call, JobSnapshot], None],
        on_failure: Callable[[Call, BaseException], None],
    ) -> None:
        self._session = session
        self._array = array
        self._workflow = array.workflow(wanted)
        self._left = {index: array.calls[index] for index in wanted}
        self._collectors = collectors
        self._on_end = on_end
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._has_ended = False
        self._is_collecting = False
        self._has_news = False

    def start(self, objects: ObjectStore) -> None:
        """Store what the jobs need, submit the workflow, and return when that is done."""
        try:
            objects.ensure(self._array.contents)
            self._array.contents = {}  # not to be kept until the workflow's end
            self._workflow.create()
            self._workflow.follow(self._changed, self._fail)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the calls' outcome
            self._fail(error)

    def _changed(self, snapshot: WorkflowSnapshot) -> None:
        with self._lock:
            self._has_ended = self._has_ended or snapshot.has_ended
            if self._is_collecting:
                self._has_news = True
                return
            self._is_collecting = True
        self._collectors.add(self._collect_while_there_is_news)

    def _fail(self, error: BaseException) -> None:
        for index in list(self._left):
            self._fail_one(index, error)

    def _fail_one(self, index: int, error: BaseException) -> None:
        with self._lock:
            call = self._left.pop(index, None)
        if call is not None:
            self._on_failure(call, error)

    def _end_one(self, index: int, snapshot: JobSnapshot) -> None:
        with self._lock:
            call = self._left.pop(index, None)
        if call is not None:
            self._on_end(call, snapshot)

    def _collect_while_there_is_news(self) -> None:
        clock = self._session.client.clock
        try:
            while True:
                began = clock.monotonic()
                with self._lock:
                    self._has_news = False
                    is_last = self._has_ended
                bearing_outages(self._collect, self._session.client, self._session.outage_tolerance)
                if is_last:
                    self._settle_rest()
                    return
                with self._lock:
                    self._is_collecting = self._has_news
                    if not self._has_news:
                        return
                pause = _PAUSE_PER_COLLECTION * (clock.monotonic() - began)
                clock.sleep(min(max(pause, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S))
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
            self._fail(error)

    def _collect(self) -> None:
        """Take note of the workflow's jobs; those that have ended are described, by hundreds."""
        client = self._session.client
        indexes: dict[int, int] = {}
        for entry in client.list_workflow_jobs(self._workflow.id or 0).entries:
            snapshot = JobSnapshot(entry)
            index = int((entry.get("parameters") or {}).get(packing.INDEX, -1))
            call = self._left.get(index)
            if call is None:
                continue
            if call.future.job_id is None:
                call.runs_as(snapshot.id)
            known = call.future.last_snapshot
            if known is None or known.state != snapshot.state:
                log_state(about(log, "job", snapshot.id), snapshot)
            call.future._saw(snapshot)  # noqa: SLF001 - the future's own half of this
            if snapshot.has_certainly_ended:
                indexes[snapshot.id] = index
        source = JobSource(client)
        for part in source.parts(list(indexes)):
            for entry in source.detail(part).entries:
                if entry["id"] in indexes:
                    self._end_one(indexes[entry["id"]], JobSnapshot(entry))

    def _settle_rest(self) -> None:
        """The workflow has ended: every job of it has, too, whatever the listings say so far."""
        clock = self._session.client.clock
        for _ in range(_LOOKS_FOR_MISSING):
            if all(call.future.job_id is not None for call in list(self._left.values())):
                break
            clock.sleep(_PAUSE_FOR_MISSING_S)
            bearing_outages(self._collect, self._session.client, self._session.outage_tolerance)
        self._workflow.check_is_single()
        for index, call in list(self._left.items()):
            if (job_id := call.future.job_id) is None:
                self._fail_one(index, self._never_made())
            else:
                ended, failed = partial(self._followed, index), partial(self._fail_one, index)
                self._session.watcher.watch(job_id, ended, failed)

    def _followed(self, index: int, snapshot: JobSnapshot) -> None:
        if snapshot.has_ended:
            self._end_one(index, snapshot)

    def _never_made(self) -> JobFailedError:
        status, reason = self._workflow.status or "", self._workflow.status_reason
        text = (
            f"workflow {self._workflow.id} ended ({status}: {reason or 'no reason given'}) without this job"
        )
        return JobFailedError(text, status=status, reason=reason)
