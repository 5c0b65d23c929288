"""A future that wraps a remote job."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, NoReturn, TypeVar

from prominence.exceptions import ProminenceError
from prominence.logs import about, logger
from prominence.notebooks import table
from prominence.threads import InterruptibleCondition
from prominence_executors.attempts import Attempt, side_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prominence import Job
    from prominence.client import Stream
    from prominence.snapshot import JobSnapshot
    from prominence_executors.attempts import Side
    from prominence_executors.work import Work

R = TypeVar("R")

log = logger(__name__)

_keeping = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_keeping=threading.Lock()))


class ProminenceFuture(Future[R]):
    """The outcome of a call or command that runs as a job.

    A standard future, with the job beside it. ``cancel`` only stops what was not sent yet, as in the
    standard library; :meth:`kill` ends the job itself.
    """

    def __init__(
        self,
        work: Work,
        job: Job | None = None,
        *,
        in_background: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """With ``in_background``, which runs a callable elsewhere, ``cancel`` ends a job that was sent.

        ``job`` is the caller's own, where there is one already.
        """
        super().__init__()
        self._condition = InterruptibleCondition()
        self._work = work
        self._job = job
        self._is_shown = job is not None  # somebody else may have the job
        self._id: int | None = None
        self._in_background = in_background
        self._snapshot: JobSnapshot | None = None
        self._kill_wanted = False
        self._failed: tuple[Attempt, ...] = ()

    @property
    def job(self) -> Job:
        """The job; its id is None until it is sent."""
        self._is_shown = True
        return self._job_at_hand()

    @property
    def job_id(self) -> int | None:
        """The job's id; None until it is sent."""
        job = self._job
        return self._id if job is None else job.id

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The jobs of this call that have ended, each with its last state and its error, in their order."""
        if not self.done() or self.job_id is None:
            return self._failed
        return (*self._failed, Attempt(self.job, self._snapshot, self.exception()))

    @property
    def status(self) -> str:
        """The job's status as last heard, without asking; ``pending`` before it is sent."""
        if self._snapshot is not None:
            return self._snapshot.status
        return "pending" if self.job_id is None else "idle"

    @property
    def last_snapshot(self) -> JobSnapshot | None:
        """What was last heard of the job, without asking; None until something was."""
        return self._snapshot

    def explain(self) -> str:
        """Timeline, cause, evidence and next step in a few lines of text, without asking the service."""
        from prominence_executors.explanation import explain

        return explain(self)

    def stdout(self) -> str:
        """What the job has written so far; empty before it is sent."""
        return "" if self.job_id is None else self.job.stdout()

    def stderr(self) -> str:
        """What the job has written to its standard error so far; empty before it is sent."""
        return "" if self.job_id is None else self.job.stderr()

    def logs(self, *, follow: bool = False, stream: Stream = "stdout") -> Iterator[str]:
        """The output piece by piece, as :meth:`prominence.Job.logs`; nothing before the job is sent."""
        return iter(()) if self.job_id is None else self.job.logs(follow=follow, stream=stream)

    def cancel(self) -> bool:
        """True when the call was not sent yet, and never will be; no request is made.

        With the option ``kill_when_cancelled`` a job that was sent is ended in the background: still False,
        and the future raises JobDeleted soon.
        """
        if self._cancel_unsent():
            return True
        if self._in_background is not None and not self.done():
            self._in_background(self._kill_unwatched)
        return False

    def kill(self) -> bool:
        """End the job, queued or running; the future then raises JobDeleted (or was cancelled).

        False when there was nothing to end any more.
        """
        if self._cancel_unsent():
            return True
        if self.done():
            return False
        self._kill_wanted = True  # before the id is looked at, as the sender looks at this when it has the id
        if self.job_id is None:
            return True  # being sent: ended as soon as it has an id
        return self.job.delete()

    def _cancel_unsent(self) -> bool:
        return super().cancel()

    def _kill_unwatched(self) -> None:
        try:
            self.kill()
        except ProminenceError as error:  # nobody waits for this request; the future goes on
            about(log, "job", self.job_id).warning("cancelled, but it could not be ended: %s", error)

    def _is_to_end(self) -> bool:
        """Asked when the job has its id, and before another attempt."""
        return self._kill_wanted

    def _job_at_hand(self) -> Job:
        """The job, which may be another object later unless somebody was shown it."""
        if (job := self._job) is None:
            job = self._work.job()
            if self._id is not None:
                job.known_as(self._id, self._snapshot)
            with _keeping:
                job = self._job = self._job or job
        return job

    def _release_job(self) -> None:
        """Forget the job until somebody asks for it, where nobody has and it can be made again."""
        if self._job is not None and not self._is_shown and self._job.is_replaceable:
            self._job = None

    def _goes_on_as(self, job_id: int, job: Job | None = None) -> None:
        """This is the job's id from now on; without ``job`` it is another one's than before."""
        self._id, self._snapshot = job_id, None
        self._job = job
        self._release_job()

    def _job_ids(self) -> list[int]:
        """Of the jobs that were sent for the call, the last one at first."""
        ids = (self.job_id, *(attempt.job.id for attempt in self._failed))
        return [each for each in ids if each is not None]

    def _failed_before(self, attempts: Sequence[Attempt]) -> None:
        """These jobs were sent for the call before the one that it is now."""
        self._failed = (*attempts,)

    def _begins_again(self, error: BaseException | None, work: Work) -> None:
        """The job has failed, and a new one of ``work`` is to be sent."""
        self._failed = (*self._failed, Attempt(self.job, self._snapshot, error))
        self._work = work
        self._job = self._id = self._snapshot = None
        self._is_shown = False

    def _failures(self, side: Side) -> int:
        return sum(side_of(attempt.error) == side for attempt in self._failed)

    def _belongs_to_parent(self) -> None:
        """After a fork: raise rather than wait for a thread that is not in this process."""
        self._condition = InterruptibleCondition()
        self._done_callbacks: list[object] = []
        if not self.done():
            self.set_exception(ProminenceError("this future belongs to the parent process"))

    def _saw(self, snapshot: JobSnapshot) -> None:
        self._snapshot = snapshot
        if (job := self._job) is not None:
            job.known_as(snapshot.id, snapshot)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a future belongs to its process: pass on its result(), or the id of its job")

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {"job": self.job_id, "name": self._work.job_name, "status": self._shown()}
        if (error := self._raised()) is not None:
            from prominence_executors.explanation import in_a_line

            rows["error"] = in_a_line(error)
        return table(type(self).__name__, rows)

    def __repr__(self) -> str:
        raised = "" if (error := self._raised()) is None else f" raised={type(error).__name__}"
        return f"<{type(self).__name__} job={self.job_id} status={self._shown()}{raised} at {id(self):#x}>"

    def _shown(self) -> str:
        return "cancelled" if self.cancelled() else self.status

    def _raised(self) -> BaseException | None:
        return self.exception() if self.done() and not self.cancelled() else None
