"""A call and the jobs that it takes: sent, perhaps found as another job, perhaps tried again.

A function call behind a fence goes on as whichever job owns it: where a lost answer led to two jobs, the one
that was followed may be the one that lost. A call is tried again only after all that may run for the attempt
before is proved to be over: its job has ended, and its fence is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prominence.exceptions import (
    NotFound,
    ProminenceError,
    ServiceError,
    ServiceUnavailable,
    SubmissionUncertain,
)
from prominence.logs import about, logger
from prominence.snapshot import JobSnapshot
from prominence_executors.calls.results import RemoteTraceback
from prominence_executors.failures import lost
from prominence_executors.fence import Fence, guarantee_in_force
from prominence_executors.outcome import forward_output
from prominence_executors.retries import side_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prominence import Job, ProminenceClient, Session
    from prominence.logs import About
    from prominence_executors.calls.objects import Copy
    from prominence_executors.fence import Claim, Guarantee, Pages
    from prominence_executors.future import ProminenceFuture
    from prominence_executors.groups import Group
    from prominence_executors.jobs import CallJobs
    from prominence_executors.options import JobOptions
    from prominence_executors.sessions.manifest import CallId
    from prominence_executors.work import Work

log = logger(__name__)


class Outcome:
    """A value or an error, held until the future has it."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error


@dataclass(slots=True, eq=False)
class Call:
    """What is to be run for a future, under an executor's options.

    ``contents`` are objects, by name, that must be stored before the job is sent; ``guarantee`` is what the
    caller chose for functions; ``noted`` is what a named session knows the call by.
    """

    future: ProminenceFuture[Any]
    jobs: CallJobs
    group: Group
    options: JobOptions
    guarantee: Guarantee = "settle"
    contents: Mapping[str, Copy] | None = None
    noted: CallId | None = None
    fence: Fence | None = None
    claim: Claim | None = None

    @property
    def calls(self) -> Sequence[Call]:
        """This one alone, as those of an array."""
        return (self,)

    @property
    def job(self) -> Job:
        """The job that the call is, or will be."""
        return self.jobs.current()

    @property
    def work(self) -> Work:
        """What its job is made of, and its outcome read by."""
        return self.jobs.work

    def submit(
        self,
        session: Session,
        pages: Pages,
        marks: Mapping[str, str] | None = None,
        before_sending: Callable[[], None] | None = None,
    ) -> int | None:
        """Send the job, behind a fence of ``pages`` where one is needed.

        ``before_sending`` may raise to prevent that, each time that it is to be sent. The job to follow is
        the future's then; the answer is the revision to follow it from, if there is one.
        """
        client, job = session.client, self.job
        self.fence = self.claim = None
        if self.needs_fence(client):
            self.fence = Fence.create(client, pages.new_key)
            self.fence.guard(job, may_rerun=self.options.may_rerun)
        try:
            job_id = job.create(has_fence=self.fence is not None, marks=marks, before_sending=before_sending)
        except (SubmissionUncertain, ServiceUnavailable, ServiceError) as error:
            if self.fence is None:
                raise
            self.claim = self.fence.claim_after(error)
            self._follow(self.claim.job_id or 0)
            revision = None
        else:
            revision = job.revision
            self.jobs.go_on_as(job_id, job)
        self._end_if_killed()
        return revision

    def needs_fence(self, client: ProminenceClient) -> bool:
        """Whether its job must claim it; may ask the service."""
        if self.work.kind != "function":
            return False
        return guarantee_in_force(client, self.guarantee, may_rerun=self.options.may_rerun) == "fence"

    def runs_as(self, job_id: int) -> None:
        """The service has made the job, of a workflow that was sent for this call and others."""
        self.jobs.go_on_as(job_id)
        self.log.info("made for %s", self.work.job_name)
        self._end_if_killed()

    def outcome_of(
        self, session: Session, snapshot: JobSnapshot, seen: Claim | None = None
    ) -> Outcome | None:
        """What came of the ended job; None where the call goes on as another, which is ``job`` then.

        ``seen`` is what the fence said after that end, where it was read already.
        """
        try:
            self.job.check_is_single()
            if self.fence is not None and self._is_passed_on(session, self.fence, snapshot.id, seen):
                return None
            if self.options.forward_output:
                forward_output(self.job)
            return Outcome(self.work.outcome(self.job, snapshot, self.claim))
        except BaseException as error:  # noqa: BLE001 - users' exceptions are of any kind
            return Outcome(error=_as_told(error))

    def outcome_without_job(self, session: Session, error: ProminenceError) -> Outcome | None:
        """What came of a job that the service has forgotten, or never made; None where another goes on.

        What was committed behind a fence tells it; otherwise the job is lost.
        """
        last = self.jobs.snapshot or JobSnapshot({"id": self.jobs.id})
        try:
            if self.fence is not None and self._is_passed_on(session, self.fence, self.jobs.id):
                return None
        except ProminenceError as no_answer:
            self.log.warning("it is lost, and its fence tells nothing either: %s", no_answer)
        if self.claim is None or self.claim.outcome is None:
            return Outcome(error=lost(self.job, error) if isinstance(error, NotFound) else error)
        try:
            return Outcome(self.work.outcome(self.job, last, self.claim))
        except BaseException as raised:  # noqa: BLE001 - users' exceptions are of any kind
            return Outcome(error=_as_told(raised))

    def is_tried_again(self, snapshot: JobSnapshot, outcome: Outcome) -> bool:
        """Whether there is to be another attempt, for which the future's job is then a new one."""
        side = side_of(outcome.error)
        if side is None or self.jobs.failures(side) >= getattr(self.options.retries, side):
            return False
        has_begun = self.claim is not None and self.claim.job_id is not None
        may_begin = self.options.may_rerun or not has_begun
        if not snapshot.has_certainly_ended or self.jobs.is_to_end or not may_begin:
            return False
        work = self.work.for_another_attempt(snapshot.id)
        if work is None:
            return False
        self.log.info("tried again as a new job, after %s", type(outcome.error).__name__)
        self.jobs.begin_again(outcome.error, work)
        return True

    def tell(self, outcome: Outcome) -> None:
        """Give the future its outcome; nothing here refers to it afterwards."""
        value, error, outcome.value, outcome.error = outcome.value, outcome.error, None, None
        if self.work.kind == "function":  # the outcome of another has the job
            self.jobs.release()
        self.log.info("its call has ended with %s", "a value" if error is None else type(error).__name__)
        try:
            if error is None:
                self.future.set_result(value)
            else:
                self.future.set_exception(error)
        except BaseException:  # of a callback: the standard library lets SystemExit and the like through
            self.log.exception("a callback of its future failed")

    @property
    def log(self) -> About:
        return about(log, "job", self.jobs.id, self.work.job_name)

    def _end_if_killed(self) -> None:
        if self.jobs.is_to_end:
            self.job.delete()

    def _is_passed_on(
        self, session: Session, fence: Fence, job_id: int | None, seen: Claim | None = None
    ) -> bool:
        """See whose the call is; True where it is that of another job, to be followed from now on."""
        try:
            self.claim = fence.settle(job_id, session.outage_tolerance, seen)
        except NotFound:  # somebody has deleted the session: what the job says of itself counts
            return False
        owner = self.claim.job_id
        if owner in {None, job_id}:
            return False
        self._follow(owner)
        self._end_if_killed()
        return True

    def _follow(self, job_id: int) -> None:
        self.log.warning("its call goes on as job %d, which claimed it first", job_id)
        self.jobs.go_on_as(job_id)


def _as_told(error: BaseException) -> BaseException:
    """The error of a call without the frames in which it was read here; where it was raised is its cause."""
    if isinstance(error, ProminenceError) or isinstance(error.__cause__, RemoteTraceback):
        error.__traceback__ = None
    return error
