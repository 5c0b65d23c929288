"""From a submitted call to its outcome: waiting for a place, sent, followed, brought back.

::

    submit()            sender threads          watcher thread         fetcher threads
    --------            --------------          --------------         ---------------
    Call, pending  -->  objects.ensure()
                        fence, job.create()
                        job.follow()       -->  on_change(snapshot)
                                                ended              -->  outcome of the job, or
                   <--  ............................................... another attempt;
                                                                        future.set_result(...)
                                                                        next pending call

Of an array of calls the first two steps are those of its workflow; see :mod:`prominence_executors.arrays`.
No thread holds the executor, so that one that is forgotten can be collected while its jobs go on.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

from prominence.exceptions import JobFailedError, NotFound, ServiceError, SessionInUse, StageInFailed
from prominence.logs import about, logger
from prominence.plugins import plugins
from prominence.snapshot import JobSnapshot
from prominence.threads import WorkThreads
from prominence.watched import Watch
from prominence_executors.arrays import ArrayRun
from prominence_executors.call import Call, Outcome
from prominence_executors.calls.objects import ObjectStore
from prominence_executors.claims import ClaimReader
from prominence_executors.fence import Pages
from prominence_executors.future import cancel_unsent, kill_unwatched
from prominence_executors.sessions import names
from prominence_executors.sessions.leftovers import active_jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prominence import Session
    from prominence.exceptions import ProminenceError
    from prominence_executors.arrays import Array, SentArray
    from prominence_executors.endings import OnExit
    from prominence_executors.fence import Claim
    from prominence_executors.future import ProminenceFuture
    from prominence_executors.groups import Group
    from prominence_executors.progress import Row
    from prominence_executors.sessions.driving import Driving

log = logger(__name__)

_FETCHERS: Final = 8
_COLLECTORS: Final = 4
_NAME_CHARACTERS: Final = 16
_SHOWN: Final = 10
_LISTED_AGAIN_S: Final = 1.0
_here = threading.local()


class Dispatcher:
    """Runs calls as jobs of one session, at most ``most`` of them at a time."""

    def __init__(
        self, session: Session, most: int, *, driving: Driving | None = None, on_exit: OnExit = "wait"
    ) -> None:
        self.session = session
        self.most = most
        self._driving = driving
        self.on_exit = on_exit
        self._lock = threading.Lock()
        self.adopting = threading.Lock()
        """Held while futures for jobs of other processes are looked for and made."""
        self._pending: deque[tuple[Call | Array, Group]] = deque()
        self._in_flight = 0
        self._fetchers = WorkThreads("prominence-fetcher", _FETCHERS)
        self._claims = ClaimReader(session, self._fetchers)
        self.collectors = WorkThreads("prominence-collector", _COLLECTORS)
        self.progress: Row | None = None

    @cached_property
    def name(self) -> str:
        """Part of the names of all that is stored for these calls."""
        if self._driving is not None:
            return self._driving.name
        return self.session.client.new_tag()[:_NAME_CHARACTERS]

    @property
    def session_name(self) -> str | None:
        return None if self._driving is None else self._driving.name

    @cached_property
    def _fence_pages(self) -> Pages:
        return Pages(names.key(self.name, "fences"))

    @cached_property
    def objects(self) -> ObjectStore:
        """Where large data of calls is stored."""
        return ObjectStore(self.session.client, self.name)

    def add(self, sending: Call | Array, group: Group, *, is_late: bool = False) -> None:
        _ = self.session.sender  # what keeps calls from being sent is raised here, before one is taken
        for call in sending.calls:
            group.add(call, is_late=is_late)
        if self._driving is not None:
            self._driving.note(sending.calls, is_array=not isinstance(sending, Call))
        if self.progress is not None:
            self.progress.begin()
        with self._lock:
            self._pending.append((sending, group))
        self._send_what_may()

    def take_over(self, call: Call, group: Group) -> None:
        """Bring back the outcome of a call that was sent by another process."""
        group.add(call)
        call.future.set_running_or_notify_cancel()
        if self.progress is not None:
            self.progress.begin()
        with self._lock:
            self._in_flight += 1
        snapshot = call.jobs.snapshot
        if snapshot is not None and snapshot.has_certainly_ended:
            self.changed(call, group, snapshot)
        else:
            self.follow(call, group)

    def take_over_array(self, sent: SentArray, group: Group) -> None:
        """The same for calls that were sent as one workflow."""
        for call in sent.calls.values():
            group.add(call)
            call.future.set_running_or_notify_cancel()
        with self._lock:
            self._in_flight += len(sent.calls)
        if self.progress is not None:
            self.progress.begin()
        ArrayRun(self.session, sent.calls, self.collectors, _Listener(self, group)).take_over(sent)

    def finish(self, group: Group) -> None:
        """Bring a group to its end, in the way that the executor was made for."""
        if self.on_exit == "detach":
            group.wait_for_late()
            self._send_pending()
            group.abandon()
        elif self.on_exit == "cancel":
            futures = group.unfinished()
            self.cancel_pending(set(futures))
            for future in futures:
                self.session.sender.add(partial(kill_unwatched, future))
        group.wait()
        if group.is_root:
            self.collectors.join()
            self._fetchers.join()
            self.end_progress(group)
            if self._driving is not None:
                self._driving.end()

    def end_progress(self, group: Group) -> None:
        """Nobody waits for the group any more."""
        if group.is_root and self.progress is not None:
            self.progress.end()

    def forget(self, group: Group) -> None:
        """Delete what is stored with the service for these calls.

        Raises SessionInUse, with nothing deleted, where some of it may still be needed: by calls that have
        not ended, of whatever process, or by another process that drives the session.
        """
        if self._driving is None:
            self._forget(group)
            return
        self._driving.confirm()
        try:
            self._forget(group)
        finally:
            self._driving.end()

    def _forget(self, group: Group) -> None:
        if under_way := [*map(repr, group.root.unfinished()), *map(str, self._jobs_under_way())]:
            shown = ", ".join(under_way[:_SHOWN]) + (" ..." if len(under_way) > _SHOWN else "")
            raise SessionInUse(
                f"what {self.name} has stored is not deleted, as it is needed by jobs: {shown}"
            )
        self.objects.delete_all()
        names.delete_keys(self.session.client, self.name)

    def _jobs_under_way(self) -> list[int]:
        """Those of the session that queue or run, in two listings: one alone may be late."""
        client = self.session.client
        if not active_jobs(client, self.name):
            return []
        client.clock.sleep(_LISTED_AGAIN_S)
        return active_jobs(client, self.name)

    def _send_pending(self) -> None:
        with self._lock:
            self.most = sys.maxsize
        self._send_what_may()
        self.session.sender.join()

    def cancel_pending(self, futures: set[ProminenceFuture[Any]]) -> None:
        """Cancel those of these futures whose jobs were not sent."""
        for future in futures:
            cancel_unsent(future)
        self._send_what_may()

    def _send_what_may(self) -> None:
        while (taken := self._next()) is not None:
            try:
                self.session.sender.add(partial(self._send, *taken))
            except BaseException as error:  # noqa: BLE001 - it was taken, so it must end
                sending, wanted, group = taken
                for index in wanted:
                    self._fail(sending.calls[index], group, error)

    def _next(self) -> tuple[Call | Array, Sequence[int], Group] | None:
        """What may be sent next, and which of its calls are wanted; cancelled ones are told so on the way."""
        while True:
            with self._lock:
                if not self._pending:
                    return None
                sending, group = self._pending[0]
                calls = sending.calls
                has_room = self._in_flight + len(calls) <= self.most
                if not has_room and not all(call.future.cancelled() for call in calls):
                    return None
                self._pending.popleft()
                wanted = [
                    index for index, call in enumerate(calls) if call.future.set_running_or_notify_cancel()
                ]
                self._in_flight += len(wanted)
            for index in set(range(len(calls))).difference(wanted):
                group.discard(calls[index])
            if wanted:
                return sending, wanted, group

    def _send(self, sending: Call | Array, wanted: Sequence[int], group: Group) -> None:
        if isinstance(sending, Call):
            self._send_call(sending, group)
            return
        calls = {index: sending.calls[index] for index in wanted}
        run = ArrayRun(self.session, calls, self.collectors, _Listener(self, group))
        try:
            self._prepare(sending)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the futures' outcome
            run.fail(error)
        else:
            run.start(sending, self._fence_pages.prefix, self._marks(sending), self._before_sending)

    def send_alone(self, call: Call, group: Group) -> None:
        """Send a call that was taken to be sent with others."""
        try:
            self.session.sender.add(partial(self._send_call, call, group))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the future's outcome
            self._fail(call, group, error)

    def _send_call(self, call: Call, group: Group) -> None:
        try:
            self._prepare(call)
            revision = call.submit(self.session, self._fence_pages, self._marks(call), self._before_sending)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the future's outcome
            self._fail(call, group, error)
        else:
            self.follow(call, group, revision)

    def _prepare(self, sending: Call | Array) -> None:
        """Return when it may be sent."""
        if self._driving is not None:
            self._driving.admit(sending.calls[-1])
        self.objects.ensure(sending.contents or {})
        sending.contents = None  # not to be kept until the end

    @property
    def _before_sending(self) -> Callable[[], None] | None:
        return None if self._driving is None else self._driving.check

    def _marks(self, sending: Call | Array) -> dict[str, str]:
        """Labels of its jobs; those of an array have its first call's."""
        noted = sending.calls[0].noted
        return names.marks(self.name, None if noted is None else str(noted))

    def follow(self, call: Call, group: Group, revision: int | None = None) -> None:
        job_id = call.jobs.id
        assert job_id is not None  # noqa: S101 - the call was sent
        try:
            self.session.watcher.add(_CallWatch(job_id, self, call, group), revision)
        except BaseException as error:  # noqa: BLE001 - the same
            self._fail(call, group, error)

    def nothing_more(self, call: Call, group: Group, error: BaseException) -> None:
        tells_something = call.jobs.id is not None or call.fence is not None
        if isinstance(error, NotFound | JobFailedError) and tells_something:
            self._fetch(call, group, lambda: self._lost(call, group, error))
        else:
            self._fail(call, group, error)

    def changed(self, call: Call, group: Group, snapshot: JobSnapshot) -> None:
        call.jobs.note(snapshot)
        _tell_plugins(call.future, snapshot)
        if snapshot.has_ended:
            self._bring_back(call, group, snapshot)

    def _bring_back(self, call: Call, group: Group, snapshot: JobSnapshot) -> None:
        def read(claim: Claim | None) -> None:
            self._fetch(call, group, lambda: self._ended(call, group, snapshot, claim))

        if call.fence is None:
            read(None)
            return
        try:
            self._claims.ask(call.fence, read)
        except RuntimeError as error:  # no thread can be started
            self._fail(call, group, error)

    def _fetch(self, call: Call, group: Group, work: Callable[[], None]) -> None:
        try:
            self._fetchers.add(work)
        except RuntimeError as error:  # no thread can be started
            self._fail(call, group, error)

    def _ended(self, call: Call, group: Group, snapshot: JobSnapshot, seen: Claim | None = None) -> None:
        outcome = call.outcome_of(self.session, snapshot, seen)
        if outcome is None:
            self.follow(call, group)
            return
        try:
            if call.is_tried_again(snapshot, outcome):
                self.session.sender.add(partial(self._send_call, call, group))
                return
        except BaseException as error:  # noqa: BLE001 - the same
            outcome.error = error
        self._finish(call, group, outcome)

    def _lost(self, call: Call, group: Group, error: ProminenceError) -> None:
        outcome = call.outcome_without_job(self.session, error)
        if outcome is None:
            self.follow(call, group)
        else:
            self._finish(call, group, outcome)

    def _fail(self, call: Call, group: Group, error: BaseException) -> None:
        self._finish(call, group, Outcome(error=error))

    def _finish(self, call: Call, group: Group, outcome: Outcome) -> None:
        """Settle the future; then, with no reference to its outcome left here, make room for the next."""
        with self._lock:
            self._in_flight -= 1
        if isinstance(outcome.error, ServiceError | StageInFailed):
            self.objects.doubt(call.work.objects)
        _here.finishing = self
        try:
            call.tell(outcome)
        finally:
            _here.finishing = None
            group.discard(call)
            self._send_what_may()

    def is_finishing_here(self) -> bool:
        """True in a callback of one of its futures, which must not wait for that future."""
        return getattr(_here, "finishing", None) is self


class _CallWatch(Watch[JobSnapshot]):
    """Has the dispatcher told of one call's job."""

    __slots__ = ("_call", "_dispatcher", "_group")

    def __init__(self, job_id: int, dispatcher: Dispatcher, call: Call, group: Group) -> None:
        super().__init__(job_id)
        self._dispatcher = dispatcher
        self._call = call
        self._group = group

    def changed(self, snapshot: JobSnapshot) -> None:
        self._dispatcher.changed(self._call, self._group, snapshot)

    def failed(self, error: ProminenceError) -> None:
        self._dispatcher.nothing_more(self._call, self._group, error)


@dataclass(frozen=True, slots=True)
class _Listener:
    """Hears of an array's calls, of one group."""

    dispatcher: Dispatcher
    group: Group

    def has_ended(self, call: Call, snapshot: JobSnapshot) -> None:
        self.dispatcher.changed(call, self.group, snapshot)

    def is_lost(self, call: Call, error: BaseException) -> None:
        self.dispatcher.nothing_more(call, self.group, error)

    def is_left_out(self, call: Call) -> None:
        self.dispatcher.send_alone(call, self.group)

    def is_left_over(self, call: Call) -> None:
        self.dispatcher.follow(call, self.group)


def _tell_plugins(future: ProminenceFuture[Any], snapshot: JobSnapshot) -> None:
    hook = plugins().hook.prominence_job_changed
    if not hook.get_hookimpls():
        return
    try:
        hook(job=future.job, snapshot=snapshot)
    except Exception:  # a plugin's mistake must not end the watcher
        log_of_job = about(log, "job", snapshot.id)
        log_of_job.exception("a plugin failed on its change to %s", snapshot.status)
