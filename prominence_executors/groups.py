"""Futures that belong to one executor: who waits for them, and numbers of them."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

from prominence.threads import InterruptibleCondition
from prominence_executors.stats import ExecutorStats, way_it_ended

if TYPE_CHECKING:
    from prominence_executors.call import Call
    from prominence_executors.dispatch import Dispatcher
    from prominence_executors.endings import OnExit
    from prominence_executors.future import ProminenceFuture


class Group:
    """Futures that are shut down together; a child's futures are its parent's too."""

    def __init__(self, dispatcher: Dispatcher, parent: Group | None = None) -> None:
        self._dispatcher = dispatcher
        self._parent = parent
        self._condition = InterruptibleCondition()
        self._unfinished: set[Call] = set()
        self._is_open = True
        self._holds = 0
        self._is_abandoned = False
        self._ended: Counter[str] = Counter()
        self._ended_by_job: weakref.WeakValueDictionary[int, ProminenceFuture[Any]] = (
            weakref.WeakValueDictionary()
        )
        self.is_cancelled = False

    @property
    def is_root(self) -> bool:
        return self._parent is None

    @property
    def on_exit(self) -> OnExit:
        """What the end of the executor does about futures that have no outcome yet."""
        return self._dispatcher.on_exit

    @property
    def root(self) -> Group:
        """The one that has the futures of all."""
        return self if self._parent is None else self._parent.root

    @property
    def session_name(self) -> str | None:
        """By which the futures can be had again; None where they cannot."""
        return self._dispatcher.session_name

    def add(self, call: Call, *, is_late: bool = False) -> None:
        """Take the future of a call; raises RuntimeError when none are taken any more, here or above."""
        with self._condition:
            if not is_late:
                self._check_open()
            if self._parent is not None:
                self._parent.add(call, is_late=is_late)
            self._unfinished.add(call)

    def hold(self) -> None:
        """Have :meth:`wait` wait until :meth:`release`, for futures that are added later, ``is_late``.

        Raises RuntimeError when new futures are not taken any more.
        """
        with self._condition:
            self._check_open()
            if self._parent is not None:
                self._parent.hold()
            self._holds += 1

    def release(self) -> None:
        with self._condition:
            self._holds -= 1
            self._condition.notify_all()
        if self._parent is not None:
            self._parent.release()

    def discard(self, call: Call) -> None:
        """The future of a call has its outcome, and nothing is left to do for it."""
        with self._condition:
            self._unfinished.discard(call)
            self._ended[way_it_ended(call.future)] += 1
            if self.is_root:
                self._ended_by_job.update(dict.fromkeys(call.jobs.ids(), call.future))
            if not self._unfinished:
                self._condition.notify_all()
        if self._parent is not None:
            self._parent.discard(call)

    def close(self, *, cancel: bool = False) -> None:
        with self._condition:
            self._is_open = False
            self.is_cancelled = self.is_cancelled or cancel

    def _check_open(self) -> None:
        if not self._is_open:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def belongs_to_parent(self) -> None:
        """After a fork: nothing in this process will ever finish these futures."""
        self._condition = InterruptibleCondition()
        self._is_open = False
        for call in self._unfinished:
            call.future._belongs_to_parent()  # noqa: SLF001 - of no use to anybody else
        self._unfinished = set()
        self._holds = 0

    def abandon(self) -> None:
        """Let nobody wait for these futures any more; they get their outcomes all the same."""
        self._dispatcher.end_progress(self)
        with self._condition:
            self._unfinished.clear()
            self._is_abandoned = True
            self._condition.notify_all()

    def finish(self) -> None:
        """Bring the futures to the end that the executor was made for, and return when that is reached."""
        self._dispatcher.finish(self)

    def unfinished(self) -> list[ProminenceFuture[Any]]:
        with self._condition:
            return [call.future for call in self._unfinished]

    def future_of(self, job_id: int) -> ProminenceFuture[Any] | None:
        """The future that a job was sent for; None where there is none, or nobody holds it any more."""
        with self._condition:
            under_way = (call.future for call in self._unfinished if job_id in call.jobs.ids())
            return next(under_way, None) or self._ended_by_job.get(job_id)

    @property
    def has_ended(self) -> bool:
        """No futures are taken any more, and all have their outcomes."""
        return not (self._is_open or self._unfinished or self._holds)

    def stats(self) -> ExecutorStats:
        with self._condition:  # which is not held for as long as counting takes
            unfinished, ended = [call.future for call in self._unfinished], self._ended.copy()
        return ExecutorStats.of(unfinished, ended)

    def wait_for_late(self) -> None:
        """Return when no more futures will be added."""
        with self._condition:
            while self._holds and not self._is_abandoned:
                self._condition.wait()

    def wait(self) -> None:
        """Return when every future has its outcome and nothing is left to do for it."""
        with self._condition:
            while (self._unfinished or self._holds) and not self._is_abandoned:
                self._condition.wait()
