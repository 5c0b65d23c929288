"""A future that wraps a remote job."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from prominence.exceptions import ProminenceError
from prominence.logs import about, logger
from prominence.notebooks import table
from prominence.threads import InterruptibleCondition
from prominence_executors.jobs import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prominence import Job
    from prominence.client import Stream
    from prominence.snapshot import JobSnapshot
    from prominence_executors.jobs import CallJobs

R = TypeVar("R")

log = logger(__name__)


class ProminenceFuture(Future[R]):
    """The outcome of a call or command that runs as a job.

    A standard future, with the job beside it. ``cancel`` only stops what was not sent yet, as in the
    standard library; :meth:`kill` ends the job itself.
    """

    _condition: InterruptibleCondition  # type: ignore[assignment]  # has what futures and waits use of one

    def __init__(
        self,
        jobs: CallJobs,
        *,
        in_background: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """With ``in_background``, which runs a callable elsewhere, ``cancel`` ends a job that was sent."""
        super().__init__()
        self._condition = InterruptibleCondition()
        self._jobs = jobs
        self._in_background = in_background

    @property
    def job(self) -> Job:
        """The job; its id is None until it is sent."""
        return self._jobs.show()

    @property
    def job_id(self) -> int | None:
        """The job's id; None until it is sent."""
        return self._jobs.id

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The jobs of this call that have ended, each with its last state and its error, in their order."""
        if not self.done() or self.job_id is None:
            return self._jobs.earlier
        return (*self._jobs.earlier, Attempt(self.job, self.last_snapshot, self.exception()))

    @property
    def status(self) -> str:
        """The job's status as last heard, without asking; ``pending`` before it is sent."""
        if (snapshot := self.last_snapshot) is not None:
            return snapshot.status
        return "pending" if self.job_id is None else "idle"

    @property
    def is_chunk(self) -> bool:
        """Whether it is a chunk of a ``map``, as sessions have them, whose result is a list."""
        return self._jobs.work.is_chunk

    @property
    def last_snapshot(self) -> JobSnapshot | None:
        """What was last heard of the job, without asking; None until something was."""
        return self._jobs.snapshot

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
        if cancel_unsent(self):
            return True
        if self._in_background is not None and not self.done():
            self._in_background(partial(kill_unwatched, self))
        return False

    def kill(self) -> bool:
        """End the job, queued or running; the future then raises JobDeleted (or was cancelled).

        False when there was nothing to end any more.
        """
        if cancel_unsent(self):
            return True
        if self.done():
            return False
        # Before the id is looked at, as the sender looks at this when it has the id.
        self._jobs.is_to_end = True
        if self.job_id is None:
            return True  # being sent: ended as soon as it has an id
        return self.job.delete()

    def _belongs_to_parent(self) -> None:
        """After a fork: raise rather than wait for a thread that is not in this process."""
        self._condition = InterruptibleCondition()
        self._done_callbacks: list[object] = []
        if not self.done():
            self.set_exception(ProminenceError("this future belongs to the parent process"))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a future belongs to its process: pass on its result(), or the id of its job")

    def _repr_html_(self) -> str:
        name, status = self._jobs.work.job_name, self._shown()
        rows: dict[str, object] = {"job": self.job_id, "name": name, "status": status}
        if (error := self._raised()) is not None:
            from prominence_executors.explanation import in_a_line

            rows["error"] = in_a_line(error)
        return table(type(self).__name__, rows)

    def __repr__(self) -> str:
        raised = "" if (error := self._raised()) is None else f" raised={type(error).__name__}"
        chunk = " chunk=True" if self.is_chunk else ""
        shown = f"job={self.job_id}{chunk} status={self._shown()}{raised}"
        return f"<{type(self).__name__} {shown} at {id(self):#x}>"

    def _shown(self) -> str:
        return "cancelled" if self.cancelled() else self.status

    def _raised(self) -> BaseException | None:
        return self.exception() if self.done() and not self.cancelled() else None


def cancel_unsent(future: Future[Any]) -> bool:
    """As the standard library's futures are cancelled: no job is ended, whatever the options say."""
    return Future.cancel(future)


def kill_unwatched(future: ProminenceFuture[Any]) -> None:
    """End the future's job where nobody waits to hear whether that was done; the future goes on."""
    try:
        future.kill()
    except ProminenceError as error:
        about(log, "job", future.job_id).warning("cancelled, but it could not be ended: %s", error)
