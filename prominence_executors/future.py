"""A future that wraps a remote job."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from prominence.exceptions import ProminenceError
from prominence_executors.stats import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prominence import Job
    from prominence.client import Stream
    from prominence.snapshot import JobSnapshot
    from prominence_executors.attempts import Attempt

R = TypeVar("R")

log = logging.getLogger(__name__)


class ProminenceFuture(Future[R]):
    """The outcome of a call or command that runs as a job.

    A standard future, with the job beside it. ``cancel`` only stops what was not sent yet, as in the
    standard library; :meth:`kill` ends the job itself.
    """

    def __init__(
        self, job: Job, *, in_background: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        """With ``in_background``, which runs a callable elsewhere, ``cancel`` ends a job that was sent."""
        super().__init__()
        self._job = job
        self._in_background = in_background
        self._snapshot: JobSnapshot | None = None
        self._kill_lock = threading.Lock()
        self._kill_wanted = False
        self._attempts: tuple[Attempt, ...] = ()

    @property
    def job(self) -> Job:
        """The job; its id is None until it is sent."""
        return self._job

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The jobs of this call that have ended, each with its last state and its error, in their order."""
        return self._attempts

    @property
    def status(self) -> str:
        """The job's status as last heard, without asking; ``pending`` before it is sent."""
        if self._snapshot is not None:
            return self._snapshot.status
        return "pending" if self._job.id is None else "idle"

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
        return "" if self._job.id is None else self._job.stdout()

    def stderr(self) -> str:
        """What the job has written to its standard error so far; empty before it is sent."""
        return "" if self._job.id is None else self._job.stderr()

    def logs(self, *, follow: bool = False, stream: Stream = "stdout") -> Iterator[str]:
        """The output piece by piece, as :meth:`prominence.Job.logs`; nothing before the job is sent."""
        return iter(()) if self._job.id is None else self._job.logs(follow=follow, stream=stream)

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
        with self._kill_lock:
            self._kill_wanted = True
            if self._job.id is None:
                return True  # being sent: ended as soon as it has an id
        return self._job.delete()

    def _cancel_unsent(self) -> bool:
        return super().cancel()

    def _kill_unwatched(self) -> None:
        try:
            self.kill()
        except ProminenceError as error:  # nobody waits for this request; the future goes on
            log.warning("job %s was cancelled, but could not be ended: %s", self._job.id, error)

    def _is_to_end(self) -> bool:
        """Asked when the job has its id, and before another attempt."""
        with self._kill_lock:
            return self._kill_wanted

    def _goes_on_as(self, job: Job) -> None:
        with self._kill_lock:
            self._job, self._snapshot = job, None

    def _keep(self, attempt: Attempt) -> None:
        self._attempts = (*self._attempts, attempt)

    def _belongs_to_parent(self) -> None:
        """After a fork: raise rather than wait for a thread that is not in this process."""
        self._condition = threading.Condition()
        self._done_callbacks: list[object] = []
        if not self.done():
            self.set_exception(ProminenceError("this future belongs to the parent process"))

    def _saw(self, snapshot: JobSnapshot) -> None:
        self._snapshot = snapshot

    def _repr_html_(self) -> str:
        rows: dict[str, object] = {"job": self.job.id, "name": self.job.name, "status": self.status}
        if self.done() and not self.cancelled() and (error := self.exception()) is not None:
            from prominence_executors.explanation import in_a_line

            rows["error"] = in_a_line(error)
        return table(type(self).__name__, rows)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} job={self._job.id} status={self.status} at {id(self):#x}>"
