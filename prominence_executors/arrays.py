"""Many calls as one workflow: a factory makes a job of each, and the jobs are listed together.

::

    sender thread            watcher thread           collector thread            fetcher threads
    -------------            --------------           ----------------            ---------------
    gate and keys
    workflow.create()   -->  on_change(progress) -->  list the workflow's jobs
                                                      whose is the gate?
                                                      detail of those that ended  -->  outcome of each

The jobs are listed when the workflow's progress has changed, as often as that takes a tenth of the time, and
at its end; what a listing leaves out then is followed job by job. Behind a fence another workflow may have
been first at the gate, where a lost answer led to two: then that one is followed. The keys of calls are
closed only after that has been looked at, for jobs of the other may not have come to theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from prominence import Workflow
from prominence.exceptions import (
    JobFailedError,
    NotFound,
    ServiceError,
    ServiceUnavailable,
    SubmissionUncertain,
)
from prominence.following import bearing_outages
from prominence.logs import about, logger
from prominence.snapshot import JobSnapshot, log_state
from prominence.sources import JobSource
from prominence.threads import InterruptibleCondition
from prominence_executors.array_fence import ArrayFence
from prominence_executors.calls.packing import index_of
from prominence_executors.fence import Fence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prominence import Session
    from prominence.snapshot import WorkflowSnapshot
    from prominence.threads import WorkThreads
    from prominence_executors.call import Call
    from prominence_executors.calls.objects import Copy
    from prominence_executors.fence import Claim

T = TypeVar("T")

log = logger(__name__)

ARRAY_FROM: Final = 100
"""Calls from which they are sent as arrays."""
ARRAY_MOST: Final = 5000

_PAUSE_PER_LISTING: Final = 10.0
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
    contents: Mapping[str, Copy] | None


@dataclass(frozen=True, slots=True)
class SentArray:
    """Calls, by index, that another process has sent as a workflow."""

    calls: Mapping[int, Call]
    workflow_id: int
    fence: ArrayFence | None


class Listener(Protocol):
    """What is told of the calls of an array, of each once."""

    def on_change(self, call: Call, snapshot: JobSnapshot) -> None:
        """It has ended as a job that its fence, where there is one, may show to be another's."""

    def on_loss(self, call: Call, error: BaseException) -> None:
        """Nothing more can be learned of its job, or none was made."""

    def on_left_out(self, call: Call) -> None:
        """It was not sent with the others."""

    def on_left_over(self, call: Call) -> None:
        """Its job is in no listing of its workflow any more, which has ended."""


class ArrayRun:
    """Calls of an array, by index, that are sent together and followed as one workflow."""

    def __init__(
        self,
        session: Session,
        calls: Mapping[int, Call],
        collectors: WorkThreads,
        listener: Listener,
        *,
        follow: Callable[..., object] = Workflow.follow,
    ) -> None:
        """``follow`` has a workflow's states told, as :meth:`prominence.Workflow.follow`."""
        self._session = session
        self._left = dict(calls)
        self._collectors = collectors
        self._listener = listener
        self._follow_workflow = follow
        self._workflow = Workflow(session=session)
        self._fence: ArrayFence | None = None
        self._is_gate_ours = False
        self._seen: set[int] = set()
        self._listing_s = 0.0
        self._changes = InterruptibleCondition()
        self._has_ended = False
        self._is_collecting = False
        self._has_news = False

    def start(
        self,
        array: Array,
        fences: str,
        marks: Mapping[str, str] | None = None,
        before_sending: Callable[[], None] | None = None,
    ) -> None:
        """Submit the workflow, and return when that is done.

        ``fences`` is what keys of fences begin with; ``marks`` are labels of the workflow and its jobs.
        ``before_sending`` may raise to prevent that, each time that it is to be sent.
        """
        try:
            self._make_fences(fences)
            if self._left:
                self._submit(array, marks, before_sending)
                self._follow()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the calls' outcome
            self.fail(error)

    def take_over(self, sent: SentArray) -> None:
        """Go on with what another process has sent."""
        self._workflow = self._known(sent.workflow_id)
        self._fence = sent.fence
        try:
            self._follow()
        except BaseException as error:  # noqa: BLE001 - the same
            self.fail(error)

    def _make_fences(self, prefix: str) -> None:
        client = self._session.client
        if not self._one_call.needs_fence(client):
            return
        self._fence = ArrayFence.create(client, prefix)
        made = self._fence.make_keys(list(self._left), self._session.sender.add)
        for index, call in list(self._left.items()):
            if index in made:
                call.fence = made[index]
            else:
                self._listener.on_left_out(self._left.pop(index))

    def _submit(
        self, array: Array, marks: Mapping[str, str] | None, before_sending: Callable[[], None] | None
    ) -> None:
        self._workflow = array.workflow(list(self._left))
        if self._fence is not None:
            (template,) = self._workflow.jobs
            self._fence.guard(template, may_rerun=self._one_call.options.may_rerun)
        try:
            has_fence = self._fence is not None
            self._workflow.create(has_fence=has_fence, marks=marks, before_sending=before_sending)
        except (SubmissionUncertain, ServiceUnavailable, ServiceError) as error:
            if self._fence is None:
                raise
            self._goes_on_as(self._fence.gate.claim_after(error).workflow_id or 0)

    @property
    def _one_call(self) -> Call:
        """Any of those that are left: what is asked of it is the same for all."""
        return next(iter(self._left.values()))

    def _follow(self) -> None:
        workflow = self._workflow
        self._follow_workflow(workflow, partial(self._changed, workflow), partial(self._failed, workflow))

    def _changed(self, workflow: Workflow, snapshot: WorkflowSnapshot) -> None:
        with self._changes:
            if workflow is not self._workflow:
                return
            self._has_ended = self._has_ended or snapshot.has_ended
            self._changes.notify_all()
            if self._is_collecting:
                self._has_news = True
                return
            self._is_collecting = True
        try:
            self._collectors.add(self._collect_while_there_is_news)
        except RuntimeError as error:  # no thread can be started
            self.fail(error)

    def _failed(self, workflow: Workflow, error: BaseException) -> None:
        if workflow is self._workflow:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Tell it of all calls that are left."""
        for index in list(self._left):
            self._fail_one(index, error)

    def _fail_one(self, index: int, error: BaseException) -> None:
        if (call := self._taken(index)) is not None:
            self._listener.on_loss(call, error)

    def _taken(self, index: int) -> Call | None:
        """The call, of which nothing more is to be told from here; None where all was."""
        with self._changes:
            return self._left.pop(index, None)

    def _collect_while_there_is_news(self) -> None:
        clock = self._session.client.clock
        try:
            while True:
                with self._changes:
                    self._has_news = False
                    workflow, is_last = self._workflow, self._has_ended
                self._bearing_outages(self._collect)
                if is_last and workflow is self._workflow and self._settle_rest():
                    return
                with self._changes:
                    self._is_collecting = self._has_news
                    if not self._has_news:
                        return
                    ends = clock.monotonic() + self._pause_s
                    while not self._has_ended and clock.monotonic() < ends:
                        clock.wait(self._changes, ends - clock.monotonic())
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
            self.fail(error)

    @property
    def _pause_s(self) -> float:
        return min(max(_PAUSE_PER_LISTING * self._listing_s, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)

    def _collect(self) -> None:
        """Take note of the workflow's jobs; those that have ended are described, by hundreds."""
        client = self._session.client
        indexes: dict[int, int] = {}
        for index, entry in self._listed().items():
            snapshot, call = JobSnapshot(entry), self._left.get(index)
            if call is None:
                continue
            self._seen.add(index)
            if call.jobs.id != snapshot.id:
                call.runs_as(snapshot.id)
            known = call.jobs.snapshot
            if known is None or known.state != snapshot.state:
                log_state(about(log, "job", snapshot.id), snapshot)
            call.jobs.note(snapshot)
            if snapshot.has_certainly_ended:
                indexes[snapshot.id] = index
        if indexes and self._is_passed_on(Fence.claim):
            return
        source = JobSource(client)
        for part in source.parts(list(indexes)):
            for entry in source.detail(part).entries:
                if entry["id"] in indexes and (ended := self._taken(indexes[entry["id"]])) is not None:
                    self._listener.on_change(ended, JobSnapshot(entry))

    def _listed(self) -> dict[int, dict[str, Any]]:
        """The jobs of calls, by index; of several the youngest, which is the last try."""
        clock = self._session.client.clock
        began = clock.monotonic()
        entries = self._session.client.list_workflow_jobs(self._workflow.id or 0).entries
        self._listing_s = clock.monotonic() - began
        by_age = sorted(entries, key=lambda entry: int(entry["id"]))
        return {index: entry for entry in by_age if (index := index_of(entry)) is not None}

    def _settle_rest(self) -> bool:
        """The workflow has ended: every job of it has, too, whatever the listings say so far.

        False where the calls go on as another workflow's.
        """
        clock = self._session.client.clock
        for _ in range(_LOOKS_FOR_MISSING):
            if self._seen.issuperset(self._left):
                break
            clock.sleep(_PAUSE_FOR_MISSING_S)
            self._bearing_outages(self._collect)
        if self._bearing_outages(lambda: self._is_passed_on(Fence.close_unclaimed)):
            return False
        self._workflow.check_is_single()
        for index in list(self._left):
            if index not in self._seen:
                self._fail_one(index, self._never_made())
            elif (left := self._taken(index)) is not None:
                self._listener.on_left_over(left)
        return True

    def _is_passed_on(self, claim_of: Callable[[Fence], Claim]) -> bool:
        """See whose the gate is; True where it is another workflow's, to be followed from now on."""
        if self._fence is None or self._is_gate_ours:
            return False
        try:
            owner = claim_of(self._fence.gate).workflow_id
        except NotFound:  # somebody has deleted the session: what the jobs say of themselves counts
            return False
        self._is_gate_ours = owner == self._workflow.id
        if self._is_gate_ours or owner is None:
            return False
        self._goes_on_as(owner)
        self._follow()
        return True

    def _known(self, workflow_id: int) -> Workflow:
        workflow = Workflow(session=self._session)
        workflow.known_as(workflow_id, None)
        return workflow

    def _goes_on_as(self, workflow_id: int) -> None:
        log_of_ours = about(log, "workflow", self._workflow.id, self._workflow.name)
        log_of_ours.warning("its calls go on as workflow %s, which claimed them first", workflow_id)
        with self._changes:
            self._workflow = self._known(workflow_id)
            self._is_gate_ours = True
            self._has_ended = False
            self._seen.clear()

    def _bearing_outages(self, look: Callable[[], T]) -> T:
        return bearing_outages(look, self._session.client, self._session.outage_tolerance)

    def _never_made(self) -> JobFailedError:
        status, reason = self._workflow.status or "", self._workflow.status_reason
        text = (
            f"workflow {self._workflow.id} ended ({status}: {reason or 'no reason given'}) without this job"
        )
        return JobFailedError(text, status=status, reason=reason)
