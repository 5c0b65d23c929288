"""`concurrent.futures` for a PROMINENCE service: functions and commands as jobs."""

from __future__ import annotations

import weakref
from concurrent.futures import Executor
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, ParamSpec, Self, TypeVar, overload

from prominence import Session
from prominence.description.checks import is_whole
from prominence.exceptions import InvalidDescription
from prominence.notebooks import table
from prominence_executors import endings, mapping
from prominence_executors.adopting import futures_for
from prominence_executors.calls.modules import Shipment
from prominence_executors.calls.packing import Packer
from prominence_executors.calls.pickling import Pickling
from prominence_executors.chunks import ChunkSender
from prominence_executors.dispatch import Dispatcher
from prominence_executors.endings import check_way_out
from prominence_executors.fence import check_guarantee, guarantee_in_force
from prominence_executors.groups import Group
from prominence_executors.options import JobOptions
from prominence_executors.progress import Counted, Row
from prominence_executors.sessions.attaching import UnsentCall, check_exists, found_again
from prominence_executors.sessions.driving import driven
from prominence_executors.submittable import Submittable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from os import PathLike
    from types import TracebackType
    from typing import Unpack

    from prominence import Job, Task
    from prominence_executors.calls.objects import StoredObject
    from prominence_executors.endings import OnExit
    from prominence_executors.fence import Guarantee
    from prominence_executors.future import ProminenceFuture
    from prominence_executors.mapping import ChunkSize, MapOptions, Progress, Results
    from prominence_executors.outcome import CompletedJob
    from prominence_executors.stats import ExecutorStats

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

MAX_WORKERS: Final = 1000


class ProminenceExecutor(Executor):
    """Runs functions and commands as PROMINENCE jobs, each with a future.

    Options (see :class:`JobOptions`) are keywords, checked at once: ``image``, ``resources``, ``env``,
    ``labels``, ``policies``, ``output_files``, ``check`` and others. ``max_workers`` bounds the jobs that
    are queued or running at the service at a time; calls beyond it wait here and can be cancelled.
    The service is that of ``session``, by default the one of the environment, or else one on this machine.
    A name as ``session`` makes the calls of this executor findable, under that name, for :meth:`attach`; one
    process at a time may use it, else SessionInUse is raised. Calls that are there under the name already are
    not taken over, which a warning in the log tells. ``service`` says then whose service it is at.
    ``on_exit`` says what shutting down, or the end of the program, does about calls that have not ended:
    ``"wait"`` for them, ``"detach"`` (send those that were not sent, and leave their jobs to :meth:`attach`;
    for sessions with a name), or ``"cancel"`` them and end their jobs.
    ``guarantee`` says what keeps a function call from being made by two jobs: ``"fence"``, or ``"settle"``
    for services and images without a key-value store or HTTPS; :attr:`guarantee` tells what is in force.
    ``progress`` shows on standard error, or in a notebook, how many calls are at what, how many end in a time
    and how long the others take at this rate.
    """

    def __init__(
        self,
        max_workers: int = MAX_WORKERS,
        *,
        session: Session | str | None = None,
        service: Session | None = None,
        on_exit: OnExit = "wait",
        guarantee: Literal["fence", "settle"] = "fence",
        progress: bool = False,
        _takes_over: bool = False,
        **options: Any,
    ) -> None:
        if not is_whole(max_workers):
            raise InvalidDescription("max_workers", max_workers, "a whole number above 0")
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._max_workers = max_workers
        self._options = JobOptions().changed(options)
        self._guarantee: Guarantee = guarantee
        check_guarantee(guarantee, may_rerun=self._options.may_rerun)
        self._shipment = Shipment(self._options.ship)
        _check_session(session, service)
        name = session if isinstance(session, str) else None
        check_way_out(on_exit, name)
        given = service if session is None or isinstance(session, str) else session
        self._owns_session = given is None
        used = given or Session()
        driving = None if name is None else driven(used, name, takes_over=_takes_over)
        self._dispatcher = Dispatcher(used, max_workers, driving=driving, on_exit=on_exit)
        self._group = Group(self._dispatcher)
        if progress:
            row = Row(name or "calls", partial(_counted, self._group, weakref.ref(self)))
            self._dispatcher.progress = row
            weakref.finalize(self, row.look_again).atexit = False
        self._attached: tuple[ProminenceFuture[Any], ...] = ()
        self._unsent: tuple[UnsentCall, ...] = ()
        endings.finish_at_exit(self._group)

    @classmethod
    def attach(cls, session: str, *, service: Session | None = None, **options: Any) -> Self:
        """Go on with a session whose driver has ended, here or on another machine.

        Returns an executor that drives the session from now on. :attr:`attached` has the futures of all calls
        that were sent, :attr:`unsent` names the others, which existed only in the old driver. Takes up to a
        minute where the old driver was on another machine and did not shut down, and the settle window where
        calls are missing. Raises SessionInUse while another process drives the session, SessionNotFound,
        SessionMismatch.
        """
        used = service or Session()
        check_exists(used, session)
        executor = cls(session=session, service=used, _takes_over=True, **options)
        executor._owns_session = service is None
        try:
            found = found_again(session, executor._submittable())
            for call in found.alone:
                executor._dispatcher.take_over(call)
            for array in found.arrays:
                executor._dispatcher.take_over_array(array)
        except BaseException:
            executor._group.abandon()
            executor.shutdown()
            raise
        executor._attached = tuple(call.future for call in found.calls)
        executor._unsent = tuple(found.unsent)
        return executor

    @property
    def attached(self) -> tuple[ProminenceFuture[Any], ...]:
        """The futures of the calls that :meth:`attach` found, in the order in which they were submitted.

        What ``map`` sent is there by chunks, also with a ``chunksize`` of 1: the future of one gives the list
        of its values, with exceptions in the places of items that failed. Its ``is_chunk`` is True.
        """
        return self._attached

    @property
    def unsent(self) -> tuple[UnsentCall, ...]:
        """The calls that :meth:`attach` found to have never been sent; submit them again."""
        return self._unsent

    @overload
    def submit(
        self, fn: str | Sequence[str | PathLike[str]] | Task | Job, /
    ) -> ProminenceFuture[CompletedJob]: ...
    @overload
    def submit(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> ProminenceFuture[R]: ...
    @overload
    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> ProminenceFuture[R]: ...
    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> ProminenceFuture[Any]:
        """Run a function call, a command, a task or a job as a job.

        A function's future gives its value, or raises its exception with the remote traceback as cause; a
        coroutine function is run to its end in an event loop of the job. A
        command is a line, split into words as a shell does but run without one, or a list of words, taken
        literally; its future gives a :class:`CompletedJob` and raises TaskExitError when the exit code is
        not 0, unless the option ``check`` is False. A Task is such a command with an image and environment
        of its own, and a Job is run as it is described: options about what jobs are do not change it. All
        raise a JobFailedError when the job fails.

        What cannot be pickled or is too large makes the future raise; nothing is sent then.
        """
        call = self._submittable().call(fn, args, kwargs)
        if not call.future.done():
            self._dispatcher.add(call)
        return call.future

    def future_for(self, job_id: int | str) -> ProminenceFuture[Any]:
        """The future of a job that is known by its id, as another program or another run of this one sent it.

        For a job of one of this executor's own calls it is that call's. For any other job of the user it is a
        new one: it gives the value of the function call that the job makes (a list of values for a chunk of a
        map), and of any other job a :class:`CompletedJob`, for which the option ``check`` counts. It belongs
        to this executor then, whose end does about it what ``on_exit`` says; its job is not tried again.

        Raises NotFound where the service knows no such job of this user.
        """
        return self.futures_for([job_id])[0]

    def futures_for(self, job_ids: Iterable[int | str]) -> list[ProminenceFuture[Any]]:
        """The futures of jobs that are known by their ids, in that order; see :meth:`future_for`.

        A hundred jobs take one request.
        """
        return futures_for(job_ids, self._submittable(), self._dispatcher)

    @property
    def guarantee(self) -> Guarantee:
        """What keeps a function call from being made by two jobs at once; may ask the service.

        ``fence``: a job claims its call in the service's key-value store before it makes it.
        ``idempotent``: the service itself knows a repeated submission (the one on this machine does).
        ``settle``: nothing beyond what holds for all jobs, see docs/reliability.md.
        """
        client = self._dispatcher.session.client
        return guarantee_in_force(client, self._guarantee, may_rerun=self._options.may_rerun)

    @overload
    def map(
        self,
        fn: Callable[..., Coroutine[Any, Any, R]],
        /,
        *iterables: Iterable[Any],
        **options: Unpack[MapOptions],
    ) -> Results[R]: ...
    @overload
    def map(
        self, fn: Callable[..., R], /, *iterables: Iterable[Any], **options: Unpack[MapOptions]
    ) -> Results[R]: ...
    def map(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: ChunkSize = 1,
        buffersize: int | None = None,
        return_exceptions: bool = False,
        progress: Progress = False,
    ) -> Results[Any]:
        """Call a function with the items of iterables, as the builtin ``map``; an iterator over the results.

        The inputs are taken now, or with ``buffersize`` so many chunks ahead of the results. ``chunksize``
        items share a job; with ``"auto"`` a few are run alone, and what they took decides. From 100 jobs up
        they are sent together, as workflows. An item that fails raises its exception at its place, or gives
        it as its result with ``return_exceptions``; the iterator then goes on. TimeoutError is raised when a
        result is not there ``timeout`` seconds after this call.
        With ``progress=True`` numbers of items are shown, as those of calls for an executor that was made so;
        a function is called with the numbers of those that have ended and of all as jobs end.
        """
        return mapping.run(
            ChunkSender(fn, self._submittable(), self._dispatcher),
            zip(*iterables),  # noqa: B905 - the shortest one ends it, as in the standard library
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            return_exceptions=return_exceptions,
            progress=progress,
        )

    def put(self, value: T) -> StoredObject[T]:
        """Store an object once, for any number of calls; as an argument the result stands for the object.

        Returns when it is stored. Raises whatever pickling raises, and what
        :meth:`prominence.ProminenceClient.upload_object` raises.
        """
        pickling = Pickling(self._dispatcher.storage.objects)
        stored = pickling.put(value)
        self._dispatcher.storage.objects.ensure(pickling.contents)
        return stored

    def close(self, *, delete: bool = False) -> None:
        """Shut down and wait; with ``delete`` also delete what this executor has stored with the service.

        Results that were not asked for yet are among it; what futures have already is not touched. Raises
        SessionInUse, and deletes nothing, while jobs of the session queue or run, or another process drives
        it.
        """
        self.shutdown()
        if delete:
            self._dispatcher.storage.delete(self._group.root.unfinished())
            if self._owns_session:
                self._dispatcher.session.close()

    def with_options(self, **options: Any) -> ProminenceExecutor:
        """An executor with some options replaced (whole: ``env`` too), which shares all else with this one.

        Shutting it down concerns its own futures alone; shutting this one down concerns both.
        """
        other = object.__new__(type(self))
        other._max_workers = self._max_workers
        other._options = self._options.changed(options)
        other._guarantee = self._guarantee
        check_guarantee(other._guarantee, may_rerun=other._options.may_rerun)
        other._shipment = Shipment(other._options.ship) if "ship" in options else self._shipment
        other._owns_session = False
        other._dispatcher = self._dispatcher
        other._group = Group(self._dispatcher, self._group)
        other._attached, other._unsent = (), ()
        endings.finish_at_exit(other._group)
        return other

    def _submittable(self) -> Submittable:
        options, dispatcher = self._options, self._dispatcher
        initializer = options.initializer and partial(options.initializer, *options.initargs)
        packer = Packer(dispatcher.storage.objects, self._shipment, initializer)
        return Submittable(options, dispatcher.session, packer, self._guarantee, self._group)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; wait for those that are under way, as the standard library does.

        With ``cancel_futures`` calls that were not sent yet are cancelled; jobs that were sent go on. What
        waiting means is up to ``on_exit``.
        """
        self._group.close(cancel=cancel_futures)
        if cancel_futures:
            self._dispatcher.send_where_there_is_room()
            self._dispatcher.cancel_pending(set(self._group.unfinished()))
        if wait and not self._dispatcher.is_finishing_here():
            self._group.finish()
            if self._owns_session:
                self._dispatcher.session.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            unfinished = self._group.unfinished()
            if kind is not None and issubclass(kind, KeyboardInterrupt) and unfinished:
                endings.tell_what_ctrl_c_does(self._group, len(unfinished))
            return super().__exit__(kind, error, trace)
        except KeyboardInterrupt:
            endings.leave([self._group])
            raise

    def stats(self) -> ExecutorStats:
        """Numbers of this executor's calls by their state, as last heard and without asking."""
        return self._group.stats()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an executor belongs to its process: make another one where it is needed")

    def __repr__(self) -> str:
        described = " ".join(f"{name}={value!r}" for name, value in self._described().items())
        return f"<{type(self).__name__} {described}: {self.stats()}>"

    def _repr_html_(self) -> str:
        return table(type(self).__name__, {**self._described(), **asdict(self.stats())})

    def _described(self) -> dict[str, object]:
        name = self._group.session_name
        shown = {"image": self._options.image, "max_workers": self._max_workers}
        return shown if name is None else {"session": name, **shown}


def _check_session(session: object, service: object) -> None:
    if not isinstance(session, Session | str | None):
        raise InvalidDescription("session", session, "a Session, or a name")
    if not isinstance(service, Session | None):
        raise InvalidDescription("service", service, "a Session")
    if isinstance(session, Session) and service is not None:
        raise InvalidDescription("service", service, "possible only with a name as session")


def _counted(group: Group, executor: weakref.ref[ProminenceExecutor]) -> Counted:
    stats = group.stats()
    is_forgotten = executor() is None and stats.ended == stats.total
    return Counted(stats, stats.total, is_last=group.has_ended or is_forgotten)
