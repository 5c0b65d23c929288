"""The jobs of a call: the one that it is now, and those that it was before."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prominence_executors.retries import side_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prominence import Job
    from prominence.snapshot import JobSnapshot
    from prominence_executors.retries import Side
    from prominence_executors.work import Work

_keeping = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_keeping=threading.Lock()))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One job of a call: the last that was heard of it, and the error that it ended with, if any."""

    job: Job
    snapshot: JobSnapshot | None
    error: BaseException | None


class CallJobs:
    """What a call and its future have in common; all of it is known here, without asking the service.

    The current job is an id, and what was last heard of it. The object for it is made of the call's ``work``
    when somebody wants it, and kept from when somebody was shown it: it might be compared then.
    """

    __slots__ = ("_id", "_is_shown", "_job", "earlier", "is_to_end", "snapshot", "work")

    def __init__(self, work: Work, job: Job | None = None) -> None:
        """``job`` is the caller's own, where there is one already."""
        self.work = work
        self.snapshot: JobSnapshot | None = None
        """What was last heard of the current job."""
        self.earlier: tuple[Attempt, ...] = ()
        self.is_to_end = False
        """Whether somebody has ended it: asked when its job has an id, and before another attempt."""
        self._id: int | None = None
        self._job = job
        self._is_shown = job is not None

    @property
    def id(self) -> int | None:
        """That of the current job; None until it is sent."""
        job = self._job
        return self._id if job is None else job.id

    def ids(self) -> list[int]:
        """Of the jobs that were sent for the call, the current one at first."""
        found = (self.id, *(attempt.job.id for attempt in self.earlier))
        return [each for each in found if each is not None]

    def show(self) -> Job:
        """The current job, which is the same object until there is another job."""
        self._is_shown = True
        return self.current()

    def current(self) -> Job:
        """The current job, which may be another object later unless it was shown."""
        if (job := self._job) is None:
            job = self.work.job()
            if self._id is not None:
                job.known_as(self._id, self.snapshot)
            with _keeping:
                job = self._job = self._job or job
        return job

    def release(self) -> None:
        """Forget the object until somebody wants it, where nobody was shown it and it can be made again."""
        if self._job is not None and not self._is_shown and self._job.is_replaceable:
            self._job = None

    def go_on_as(self, job_id: int, job: Job | None = None) -> None:
        """The call is the job of this id from now on; without ``job`` it is another one than before."""
        self._id, self.snapshot = job_id, None
        self._job = job
        self.release()

    def note(self, snapshot: JobSnapshot) -> None:
        """This was heard of the current job."""
        self.snapshot = snapshot
        if (job := self._job) is not None:
            job.known_as(snapshot.id, snapshot)

    def note_earlier(self, attempts: Sequence[Attempt]) -> None:
        """These were the call's jobs before the current one."""
        self.earlier = (*attempts,)

    def begin_again(self, error: BaseException | None, work: Work) -> None:
        """The current job has failed, and a new one of ``work`` is to be sent."""
        self.earlier = (*self.earlier, Attempt(self.show(), self.snapshot, error))
        self.work = work
        self._job = self._id = self.snapshot = None
        self._is_shown = False

    def failures(self, side: Side) -> int:
        """Number of earlier jobs whose failure was that side's."""
        return sum(side_of(attempt.error) == side for attempt in self.earlier)
