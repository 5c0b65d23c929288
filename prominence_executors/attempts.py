"""A call and the jobs that it takes: sent, perhaps found as another job, perhaps tried again.

A function call behind a fence goes on as whichever job owns it: where a lost answer led to two jobs, the one
that was followed may be the one that lost. A call is tried again only after all that may run for the attempt
before is proved to be over: its job has ended, and its fence is closed.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from prominence import Job
from prominence.exceptions import (
    ImagePullFailed,
    InvalidDescription,
    JobEvicted,
    JobFailedError,
    MissingDependency,
    NoMatchingResources,
    NotFound,
    OutcomeUnknown,
    ProminenceError,
    ResultNotPicklable,
    ServiceError,
    ServiceUnavailable,
    StageInFailed,
    StoreUnreachable,
    SubmissionUncertain,
    TaskExitError,
)
from prominence.snapshot import JobSnapshot
from prominence_executors.calls.results import RemoteTraceback
from prominence_executors.failures import lost
from prominence_executors.fence import Fence, guarantee_in_force
from prominence_executors.outcome import forward_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prominence import Session
    from prominence_executors.fence import Claim, Guarantee, Pages
    from prominence_executors.future import ProminenceFuture
    from prominence_executors.sessions.manifest import CallId, CallKind

log = logging.getLogger(__name__)

Side = Literal["infrastructure", "user"]

_INFRASTRUCTURE: Final = (
    ImagePullFailed,
    JobEvicted,
    NoMatchingResources,
    OutcomeUnknown,
    StageInFailed,
    StoreUnreachable,
)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call is submitted again after it has failed, each time as a new job.

    ``infrastructure`` counts failures of the service and its machines (evicted, an image or artifact not
    fetched, failed without a reason), ``user`` exceptions of functions and exit codes of commands. Walltime,
    memory, deletions and what cannot be pickled are never tried again: they would only happen again.
    """

    infrastructure: int = 0
    user: int = 0

    def check(self) -> None:
        """Raises InvalidDescription for what is not a number of retries."""
        for side in ("infrastructure", "user"):
            number = getattr(self, side)
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise InvalidDescription(f"retries.{side}", number, "must be a whole number, 0 or more")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One job of a call: the last that was heard of it, and the error that it ended with, if any."""

    job: Job
    snapshot: JobSnapshot | None
    error: BaseException | None


class Outcome:
    """A value or an error, held until the future has it."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self.value = value
        self.error = error


@dataclass(slots=True)
class Call:
    """What is to be run for a future; ``outcome`` makes the future's result of the ended job.

    ``contents`` are objects, by name, that must be stored before the job is sent. ``guarantee`` is what the
    caller of a function chose; a command has none. ``items`` are
    those of a chunk of a map; ``noted`` is what a named session knows
    the call by, and ``marks`` are labels of all its jobs.
    """

    future: ProminenceFuture[Any]
    job: Job
    outcome: Callable[[Job, JobSnapshot, Claim | None], Any]
    contents: Mapping[str, bytes] = field(default_factory=dict)
    forwards_output: bool = False
    retries: Retries = field(default_factory=Retries)
    guarantee: Guarantee | None = None
    may_rerun: bool = True
    kind: CallKind = "command"
    items: int | None = None
    noted: CallId | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    fence: Fence | None = None
    claim: Claim | None = None
    retried: Counter[Side] = field(default_factory=Counter)
    described: Job = field(init=False)

    def __post_init__(self) -> None:
        self.described = self.job  # jobs that take the call over are known by their ids only

    @property
    def calls(self) -> Sequence[Call]:
        """This one alone, as those of an array."""
        return (self,)

    def submit(self, session: Session, pages: Pages) -> None:
        """Send the job, behind a fence of ``pages`` where one is needed; ``job`` is the one to follow."""
        client = session.client
        self.fence = self.claim = None
        if self.guarantee and guarantee_in_force(client, self.guarantee, may_rerun=self.may_rerun) == "fence":
            self.fence = Fence.create(client, pages.for_next_call())
            self.fence.guard(self.job, may_rerun=self.may_rerun)
        try:
            self.job.create(has_fence=self.fence is not None, marks=self.marks)
        except (SubmissionUncertain, ServiceUnavailable, ServiceError) as error:
            self._go_on_behind_fence(session, error)
        self._end_if_killed()

    def runs_as(self, job: Job) -> None:
        """The service has made the job, of a workflow that was sent for this call and others."""
        self.job = job
        self.future._goes_on_as(job)  # noqa: SLF001 - the future's own half of this
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
            if self.forwards_output:
                forward_output(self.job)
            return Outcome(self.outcome(self.job, snapshot, self.claim))
        except BaseException as error:  # noqa: BLE001 - users' exceptions are of any kind
            return Outcome(error=error)

    def outcome_without_job(self, session: Session, error: NotFound) -> Outcome | None:
        """What came of a job that the service has forgotten; None where the call goes on as another.

        What was committed behind a fence tells it; otherwise the job is lost.
        """
        last = self.future.last_snapshot or JobSnapshot({"id": self.job.id})
        try:
            if self.fence is not None and self._is_passed_on(session, self.fence, last.id):
                return None
        except ProminenceError as no_answer:
            log.warning("the fence of job %s, which is lost, tells nothing either: %s", last.id, no_answer)
        if self.claim is None or self.claim.outcome is None:
            return Outcome(error=lost(self.job, error))
        try:
            return Outcome(self.outcome(self.job, last, self.claim))
        except BaseException as raised:  # noqa: BLE001 - users' exceptions are of any kind
            return Outcome(error=raised)

    def is_tried_again(self, session: Session, snapshot: JobSnapshot, outcome: Outcome) -> bool:
        """Whether there is to be another attempt, for which ``job`` is then a new one."""
        side = _side(outcome.error)
        if side is None or self.retried[side] >= getattr(self.retries, side):
            return False
        has_begun = self.claim is not None and self.claim.owner is not None
        if not snapshot.has_certainly_ended or self.future._is_to_end() or (has_begun and not self.may_rerun):  # noqa: SLF001
            return False
        self.retried[side] += 1
        log.info("job %s is tried again as a new one: %s", self.job.id, outcome.error)
        self._keep(outcome.error)
        self.job = Job.from_dict(self.described.to_dict())
        self.job.use(session)
        self.future._goes_on_as(self.job)  # noqa: SLF001 - the future's own half of this
        return True

    def tell(self, outcome: Outcome) -> None:
        """Give the future its outcome; nothing here refers to it afterwards."""
        value, error, outcome.value, outcome.error = outcome.value, outcome.error, None, None
        self._keep(error)
        try:
            if error is None:
                self.future.set_result(value)
            else:
                self.future.set_exception(error)
        except BaseException:  # of a callback: the standard library lets SystemExit and the like through
            log.exception("a callback of a future failed")

    def _keep(self, error: BaseException | None) -> None:
        self.future._keep(Attempt(self.job, self.future._snapshot, error))  # noqa: SLF001

    def _end_if_killed(self) -> None:
        if self.future._is_to_end():  # noqa: SLF001 - the future's own half of this
            self.job.delete()

    def _is_passed_on(self, session: Session, fence: Fence, job_id: int, seen: Claim | None = None) -> bool:
        """See whose the call is; True where it is that of another job, to be followed from now on."""
        try:
            self.claim = fence.settle(job_id, session.outage_tolerance, seen)
        except NotFound:  # somebody has deleted the session: what the job says of itself counts
            return False
        owner = self.claim.owner
        if owner in {None, job_id}:
            return False
        self._follow(session, owner)
        self._end_if_killed()
        return True

    def _go_on_behind_fence(self, session: Session, error: ProminenceError) -> None:
        """The submission failed, and yet may have arrived: nothing may run once the caller was told."""
        if self.fence is None:
            raise error
        try:
            self.claim = self.fence.close_unclaimed()
        except ProminenceError:
            log.warning(
                "the fence of a call that may have been submitted cannot be closed: %s", self.fence.key
            )
            raise error from None
        if self.claim.owner is not None:
            self._follow(session, self.claim.owner)
            return
        if isinstance(error, SubmissionUncertain):
            text = f"the call was not made, and never will be: its fence is closed ({error})"
            raise ServiceUnavailable(text) from error
        raise error

    def _follow(self, session: Session, job_id: int) -> None:
        log.warning("a call goes on as job %d, which claimed it first", job_id)
        found = [each for each in session.client.describe_job(job_id).entries if each["id"] == job_id]
        self.job = Job.attached(found[0], session) if found else Job(id=job_id, session=session)
        self.future._goes_on_as(self.job)  # noqa: SLF001 - the future's own half of this


def _side(error: BaseException | None) -> Side | None:
    """Whose failure it was; None for none, and for what would only happen again."""
    if error is None or isinstance(error, ResultNotPicklable | MissingDependency):
        return None
    if isinstance(error, TaskExitError) or isinstance(error.__cause__, RemoteTraceback):
        return "user"
    is_unexplained = type(error) is JobFailedError
    return "infrastructure" if is_unexplained or isinstance(error, _INFRASTRUCTURE) else None
