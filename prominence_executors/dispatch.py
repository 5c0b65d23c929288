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

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from prominence.exceptions import JobFailedError, NotFound, ServiceError, StageInFailed
from prominence.logs import about, logger
from prominence.plugins import plugins
from prominence.snapshot import JobSnapshot
from prominence.threads import WorkThreads
from prominence.watched import Watch
from prominence_executors.arrays import ArrayRun
from prominence_executors.call import Call, Outcome
from prominence_executors.claims import ClaimReader
from prominence_executors.future import cancel_unsent, kill_unwatched
from prominence_executors.pending import PendingCalls
from prominence_executors.sessions import names
from prominence_executors.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prominence import Session
    from prominence.exceptions import ProminenceError
    from prominence_executors.arrays import Array, SentArray
    from prominence_executors.endings import OnExit
    from prominence_executors.fence import Claim
    from prominence_executors.future import ProminenceFuture
    from prominence_executors.groups import Group
    from prominence_executors.pending import Taken
    from prominence_executors.progress import Row
    from prominence_executors.sessions.driving import Driving

log = logger(__name__)

_FETCHERS: Final = 8
_COLLECTORS: Final = 4
_here = threading.local()


class Dispatcher:
    """Runs calls as jobs of one session, at most ``most`` of them at a time."""

    def __init__(
        self, session: Session, most: int, *, driving: Driving | None = None, on_exit: OnExit = "wait"
    ) -> None:
        self.session = session
        self.storage = Storage(session, driving)
        self.on_exit = on_exit
        self._driving = driving
        self._pending = PendingCalls(most)
        self._is_about_to_send = False
        self.adopting = threading.Lock()
        """Held while futures for jobs of other processes are looked for and made."""
        self._fetchers = WorkThreads("prominence-fetcher", _FETCHERS)
        self._claims = ClaimReader(session, self._fetchers)
        self.collectors = WorkThreads("prominence-collector", _COLLECTORS)
        self.progress: Row | None = None

    @property
    def most(self) -> int:
        """Calls whose jobs may be with the service at a time."""
        return self._pending.most

    @property
    def session_name(self) -> str | None:
        return None if self._driving is None else self._driving.name

    def add(self, sending: Call | Array, *, is_late: bool = False) -> None:
        _ = self.session.sender  # what keeps calls from being sent is raised here, before one is taken
        try:
            for call in sending.calls:
                call.group.add(call, is_late=is_late)
            if self._driving is not None:
                self._driving.note(sending.calls, is_array=not isinstance(sending, Call))
            self._begin_progress()
            self._pending.put(sending)
            self._send_in_background()
        except BaseException:  # as by Ctrl-C: the caller gets no futures that anything could wait for
            self._take_back(sending)
            raise

    def _take_back(self, sending: Call | Array) -> None:
        """Forget what was not sent yet; what is being sent goes on, and is waited for."""
        self._pending.withdraw(sending)
        for call in sending.calls:
            if cancel_unsent(call.future):
                call.group.discard(call)

    def take_over(self, call: Call) -> None:
        """Bring back the outcome of a call that was sent by another process."""
        call.group.add(call)
        call.future.set_running_or_notify_cancel()
        self._begin_progress()
        self._pending.occupy(1)
        snapshot = call.jobs.snapshot
        if snapshot is not None and snapshot.has_certainly_ended:
            go_on = partial(self.on_change, call, snapshot)
        else:
            go_on = partial(self._follow, call)
        try:
            self.session.sender.add(go_on)  # in the caller's thread Ctrl-C would become its outcome
        except RuntimeError as error:  # no thread can be started
            self._fail(call, error)

    def take_over_array(self, sent: SentArray) -> None:
        """The same for calls that were sent as one workflow."""
        for call in sent.calls.values():
            call.group.add(call)
            call.future.set_running_or_notify_cancel()
        self._pending.occupy(len(sent.calls))
        self._begin_progress()
        run = ArrayRun(self.session, sent.calls, self.collectors, self)
        try:
            self.session.sender.add(partial(run.take_over, sent))  # as above
        except RuntimeError as error:
            run.fail(error)

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

    def _begin_progress(self) -> None:
        if self.progress is not None:
            self.progress.begin()

    def end_progress(self, group: Group) -> None:
        """Nobody waits for the group any more."""
        if group.is_root and self.progress is not None:
            self.progress.end()

    def _send_pending(self) -> None:
        self._pending.lift_limit()
        self._send_what_may()
        self.session.sender.join()

    def send_where_there_is_room(self) -> None:
        """Return when the senders have the calls for whose jobs there is room: those are not cancelled."""
        taking = threading.Thread(target=self._send_what_may, name="prominence-taker", daemon=True)
        try:
            taking.start()  # in the caller's thread Ctrl-C could lose a call that was taken
        except RuntimeError:  # no thread can be started
            self._send_what_may()
        else:
            taking.join()

    def cancel_pending(self, futures: set[ProminenceFuture[Any]]) -> None:
        """Cancel those of these futures whose jobs were not sent."""
        for future in futures:
            cancel_unsent(future)
        self._send_in_background()

    def _send_in_background(self) -> None:
        """Send what may be sent, from a thread that Ctrl-C does not interrupt when it has taken a call."""
        if self._is_about_to_send or not self._pending.may_give():
            return
        try:
            self._is_about_to_send = True
            self.session.sender.add(self._send_in_its_turn)
        except RuntimeError:  # no thread can be started: what is taken then ends with that error
            self._send_in_its_turn()
        except BaseException:
            self._is_about_to_send = False
            raise

    def _send_in_its_turn(self) -> None:
        self._is_about_to_send = False
        self._send_what_may()

    def _send_what_may(self) -> None:
        while (taken := self._pending.take()) is not None:
            try:
                self.session.sender.add(partial(self._send, taken))
            except BaseException as error:  # noqa: BLE001 - it was taken, so it must end
                for index in taken.wanted:
                    self._fail(taken.sending.calls[index], error)

    def _send(self, taken: Taken) -> None:
        if isinstance(taken.sending, Call):
            self._send_call(taken.sending)
        else:
            self._send_array(taken.sending, taken.wanted)

    def _send_array(self, array: Array, wanted: Sequence[int]) -> None:
        run = ArrayRun(self.session, {index: array.calls[index] for index in wanted}, self.collectors, self)
        try:
            self._prepare(array)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the futures' outcome
            run.fail(error)
        else:
            run.start(array, self.storage.fences.prefix, self._marks(array), self._before_sending)

    def on_left_out(self, call: Call) -> None:
        """Send a call alone that was taken to be sent with others."""
        try:
            self.session.sender.add(partial(self._send_call, call))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the future's outcome
            self._fail(call, error)

    def _send_call(self, call: Call) -> None:
        try:
            self._prepare(call)
            revision = call.submit(self.session, self.storage.fences, self._marks(call), self._before_sending)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the future's outcome
            self._fail(call, error)
        else:
            self._follow(call, revision)

    def _prepare(self, sending: Call | Array) -> None:
        """Return when it may be sent."""
        if self._driving is not None:
            self._driving.admit(sending.calls[-1])
        self.storage.objects.ensure(sending.contents or {})
        sending.contents = None  # not to be kept until the end

    @property
    def _before_sending(self) -> Callable[[], None] | None:
        return None if self._driving is None else self._driving.check

    def _marks(self, sending: Call | Array) -> dict[str, str]:
        """Labels of its jobs; those of an array have its first call's."""
        noted = sending.calls[0].noted
        return names.marks(self.storage.name, None if noted is None else str(noted))

    def on_left_over(self, call: Call) -> None:
        self._follow(call)

    def _follow(self, call: Call, revision: int | None = None) -> None:
        job_id = call.jobs.id
        assert job_id is not None  # noqa: S101 - the call was sent
        try:
            self.session.watcher.add(_CallWatch(job_id, self, call), revision)
        except BaseException as error:  # noqa: BLE001 - the same
            self._fail(call, error)

    def on_loss(self, call: Call, error: BaseException) -> None:
        """Nothing more can be learned of a call's job, or none was made."""
        tells_something = call.jobs.id is not None or call.fence is not None
        if isinstance(error, NotFound | JobFailedError) and tells_something:
            self._fetch(call, lambda: self._lost(call, error))
        else:
            self._fail(call, error)

    def on_change(self, call: Call, snapshot: JobSnapshot) -> None:
        call.jobs.note(snapshot)
        _tell_plugins(call.future, snapshot)
        if snapshot.has_ended:
            self._bring_back(call, snapshot)

    def _bring_back(self, call: Call, snapshot: JobSnapshot) -> None:
        def read(claim: Claim | None) -> None:
            self._fetch(call, lambda: self._ended(call, snapshot, claim))

        if call.fence is None:
            read(None)
            return
        try:
            self._claims.ask(call.fence, read)
        except RuntimeError as error:  # no thread can be started
            self._fail(call, error)

    def _fetch(self, call: Call, work: Callable[[], None]) -> None:
        try:
            self._fetchers.add(work)
        except RuntimeError as error:  # no thread can be started
            self._fail(call, error)

    def _ended(self, call: Call, snapshot: JobSnapshot, seen: Claim | None = None) -> None:
        outcome = call.outcome_of(self.session, snapshot, seen)
        if outcome is None:
            self._follow(call)
            return
        try:
            if call.is_tried_again(snapshot, outcome):
                self.session.sender.add(partial(self._send_call, call))
                return
        except BaseException as error:  # noqa: BLE001 - the same
            outcome.error = error
        self._finish(call, outcome)

    def _lost(self, call: Call, error: ProminenceError) -> None:
        outcome = call.outcome_without_job(self.session, error)
        if outcome is None:
            self._follow(call)
        else:
            self._finish(call, outcome)

    def _fail(self, call: Call, error: BaseException) -> None:
        self._finish(call, Outcome(error=error))

    def _finish(self, call: Call, outcome: Outcome) -> None:
        """Settle the future; then, with no reference to its outcome left here, make room for the next."""
        self._pending.vacate()
        if isinstance(outcome.error, ServiceError | StageInFailed):
            self.storage.objects.doubt(call.work.objects)
        _here.finishing = self
        try:
            call.tell(outcome)
        finally:
            _here.finishing = None
            call.group.discard(call)
            self._send_what_may()

    def is_finishing_here(self) -> bool:
        """True in a callback of one of its futures, which must not wait for that future."""
        return getattr(_here, "finishing", None) is self


class _CallWatch(Watch[JobSnapshot]):
    """Has the dispatcher told of one call's job."""

    __slots__ = ("_call", "_dispatcher")

    def __init__(self, job_id: int, dispatcher: Dispatcher, call: Call) -> None:
        super().__init__(job_id)
        self._dispatcher = dispatcher
        self._call = call

    def changed(self, snapshot: JobSnapshot) -> None:
        self._dispatcher.on_change(self._call, snapshot)

    def failed(self, error: ProminenceError) -> None:
        self._dispatcher.on_loss(self._call, error)


def _tell_plugins(future: ProminenceFuture[Any], snapshot: JobSnapshot) -> None:
    hook = plugins().hook.prominence_job_changed
    if not hook.get_hookimpls():
        return
    try:
        hook(job=future.job, snapshot=snapshot)
    except Exception:  # a plugin's mistake must not end the watcher
        log_of_job = about(log, "job", snapshot.id)
        log_of_job.exception("a plugin failed on its change to %s", snapshot.status)
