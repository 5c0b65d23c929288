"""What jobs and workflows have in common once they can be submitted."""

from __future__ import annotations

import threading
import time
import warnings
from copy import deepcopy
from operator import index
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from prominence.client.submission import Submission
from prominence.exceptions import (
    DuplicateRun,
    InvalidDescription,
    NotFound,
    ProminenceError,
    ServerBugWarning,
)
from prominence.logs import about, logger
from prominence.notebooks import table
from prominence.snapshot import Events, Snapshot
from prominence.waiting import wait_for_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prominence.client.calls import Listing
    from prominence.client.submission import Submitted
    from prominence.description import JobDescription, Violation
    from prominence.session import Session
    from prominence.watch import Watcher
    from prominence.watched import Watch

log = logger(__name__)

S = TypeVar("S", bound=Snapshot)


class Life(Generic[S]):
    """An identity with a service, and the last that was heard of it.

    Two descriptions may be equal; what lives is only ever itself.
    """

    _what: str  # how texts call it
    _snapshot_type: type[S]

    if TYPE_CHECKING:  # of the description that this is combined with
        name: str | None

        def _validated(self) -> tuple[dict[str, Any], list[Violation]]: ...

        @classmethod
        def attribute_path(cls, field: str) -> str: ...

    def __init__(self, id: int | None, session: Session | None) -> None:  # noqa: A002
        self._id = None if id is None else _checked_id(id)
        self._given_session = session
        self._submission = Submission()
        self._twins_are_told = False
        self._is_prepared = False
        self._has_plugins_changes = False
        self._is_known = False  # the service has told its id
        self._creating = threading.Lock()
        self._snapshot: S | None = None
        self._revision: int | None = None

    def __copy__(self) -> Self:
        """A new one of the same description, not submitted."""
        return self._unsent(self._description_state())

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A new one of the same description, not submitted, that shares no part of it."""
        return self._unsent(deepcopy(self._description_state(), memo))

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: the description, the id, and the submission that another process may have to resolve.

        The session stays behind, with what was heard of the service: the default one takes its place.
        """
        state = self._description_state()
        state |= {name: getattr(self, name) for name in ("_id", "_twins_are_told", "_is_prepared")}
        state["_is_known"] = self._is_known or self._snapshot is not None
        if self._submission.sends:  # the tag of what never arrived is not for two processes to share
            state["_submission"] = self._submission
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        Life.__init__(self, None, None)
        self.__dict__.update(state)

    def _description_state(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _OF_LIFE}

    def _unsent(self, description: dict[str, Any]) -> Self:
        made = type(self).__new__(type(self))
        Life.__init__(made, None, self._given_session)
        # Where plugins have changed the description, that is in it.
        made.__dict__.update(description, _is_prepared=self._is_prepared)
        return made

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        """The description, or who it is and the last that was heard of it."""
        if self._id is None:
            return super().__repr__()
        shown = {"id": self._id, "name": self.name, "status": self._snapshot and self._snapshot.status}
        named = (f"{name}={value!r}" for name, value in shown.items() if value is not None)
        return f"{type(self).__name__}({', '.join(named)})"

    def _repr_html_(self) -> str:
        known = self._snapshot
        rows: dict[str, object] = {"id": self._id or "not submitted", "name": self.name or ""}
        if known is not None:
            rows["status"] = known.status + (f": {known.reason}" if known.reason else "")
            rows |= {name: _utc(epoch) for name, epoch in known.events.items()}
            rows |= self._numbers(known)
        return table(type(self).__name__, rows)

    def _numbers(self, known: S) -> Mapping[str, object]:
        """Further rows of the table, of what is known."""
        del known
        return {}

    @property
    def id(self) -> int | None:
        """The service's number; None before :meth:`create`."""
        return self._id

    @property
    def status(self) -> str | None:
        """``idle``, ``running``, ... as the service says now; None before :meth:`create`.

        Ends with ``completed``, ``failed``, ``deleted`` or ``killed``. ``completed`` does not mean success:
        see ``succeeded``.
        """
        return None if self._id is None else self._current().status

    @property
    def status_reason(self) -> str:
        """Why it has its status, in the service's words; often empty."""
        return "" if self._id is None else self._current().reason

    @property
    def events(self) -> Events:
        """Unix epochs ``createTime``, ``startTime`` and ``endTime``, as far as they are known."""
        return Events() if self._id is None else self._current().events

    @property
    def revision(self) -> int | None:
        """The embedded service's, of the answer that told the id or the last state."""
        return self._revision

    @property
    def is_replaceable(self) -> bool:
        """Whether one that is made of the same description, and is :meth:`known_as` this one, is as good."""
        has_doubts = self._submission.sends > (self._id is not None)
        return not has_doubts and not self._has_plugins_changes

    def known_as(self, id: int, snapshot: S | None) -> None:  # noqa: A002
        """Be the one with this id, of which that much was heard."""
        self._id, self._snapshot, self._is_known = id, snapshot, True

    def use(self, session: Session) -> None:
        """Be of this session's service, where none was given before; raises ProminenceError for another."""
        if self._given_session not in {None, session}:
            raise ProminenceError(f"the {self._what} belongs to another session")
        self._given_session = session

    def create(
        self,
        *,
        has_fence: bool = False,
        marks: Mapping[str, str] | None = None,
        before_sending: Callable[[], None] | None = None,
    ) -> int:
        """Submit it; its id.

        Raises InvalidDescription before anything is sent, SubmissionUncertain when answers were lost and it
        could not be found, DuplicateRun when it arrived more than once. Calling it again after an error finds
        out first what came of the requests before, and submits only what never arrived. Issues a
        ServerBugWarning for what some remote services choke on; what would hang there is an error.

        ``has_fence`` says that what is run sees to it itself that only one of several that arrived does its
        work. Then none is deleted, there is no DuplicateRun, and the oldest is taken for this one.
        ``marks`` are labels of what is submitted, and of its jobs, which are no part of the description.
        ``before_sending`` is called before each request that may submit it, and may raise to prevent that.
        """
        with self._creating:
            if self._id is not None:
                raise ProminenceError(f"the {self._what} is submitted already, as {self._id}")
            self._let_plugins_prepare()
            description, violations = self._validated()
            self._heed(violations)
            self._submission.has_fence |= has_fence
            self._submission.marks = marks or {}
            self._submission.before_sending = before_sending
            try:
                self._id, self._revision = self._submit(description)
            finally:
                self._submission.before_sending = None
            self._is_known = True
            text = "submitted as %r, submission %s"
            about(log, self._what, self._id).info(text, self.name, self._submission.tag)
            return self._id

    def _let_plugins_prepare(self) -> None:
        """Once, whatever becomes of the submission."""
        if self._is_prepared:
            return
        from prominence.plugins import plugins

        hook = plugins().hook.prominence_prepare_job
        for job in self._jobs_to_prepare():
            self._has_plugins_changes = bool(hook.get_hookimpls())  # or may have
            hook(job=job)
        self._is_prepared = True

    def _jobs_to_prepare(self) -> Iterable[JobDescription]:
        raise NotImplementedError

    def _heed(self, violations: list[Violation]) -> None:
        """Of rules that only some servers have: the service on this machine has none of their bugs."""
        if not violations or self._session.client.is_own_service:
            return
        for violation in sorted(violations, key=lambda each: not each.hangs):
            what = (violation.field, violation.value)
            attribute = self.attribute_path(violation.field)
            if violation.hangs:
                rule = f"{violation.rule} ({violation.message}; on some servers it would never end)"
                raise InvalidDescription(*what, rule, attribute)
            rule = f"{violation.rule} (some servers answer or act as to: {violation.message})"
            warnings.warn(ServerBugWarning(*what, rule, attribute), stacklevel=3)

    def done(self) -> bool:
        """True when it has ended, in whatever way; asks the service."""
        self._known_id()
        return self._current().has_certainly_ended

    def wait(self, timeout: float = 0) -> str:
        """Wait until it has ended; its last status, which ``status`` then tells without asking.

        ``completed`` does not mean success: see ``succeeded`` and ``status_reason``. ``timeout`` is in
        seconds, 0 waits for ever. Raises WaitTimeout when it has passed, NotFound when the service does not
        know it, ServiceUnavailable when no usable answer came for the session's ``outage_tolerance``. Where
        :meth:`create` had to send it twice and both have come to run, the first call raises DuplicateRun.
        """
        known = self._snapshot
        if known is None or not known.has_certainly_ended:
            is_known = self._is_known or known is not None
            known = self._snapshot = wait_for_end(
                self._watcher, self._what, self._known_id(), self._revision, timeout, is_known=is_known
            )
        self.check_is_single()
        return known.status

    def follow(
        self, on_change: Callable[[S], None], on_failure: Callable[[ProminenceError], None]
    ) -> Watch[S]:
        """Have each new state told, the last time when it has ended.

        Returns at once. Both are called in the session's watcher thread, so they must be quick;
        ``on_failure`` when nothing more can be learned.
        """

        def changed(snapshot: S) -> None:
            self._snapshot = snapshot
            on_change(snapshot)

        has_ended = self._snapshot is not None and self._snapshot.has_ended  # then no change will tell
        revision = None if has_ended else self._revision
        is_known = self._is_known or self._snapshot is not None
        return self._watcher.watch(self._known_id(), changed, on_failure, revision, is_known=is_known)

    def check_is_single(self) -> None:
        """Raise DuplicateRun, once, where :meth:`create` had to send it twice and both have come to run."""
        if not self._submission.may_have_twins or self._twins_are_told:
            return
        try:
            self._look_for_twins(self._submission)
        except DuplicateRun:
            self._twins_are_told = True
            raise
        self._twins_are_told = True

    def _look_for_twins(self, submission: Submission) -> None:
        raise NotImplementedError

    @property
    def _watcher(self) -> Watcher[S]:
        raise NotImplementedError

    def _submit(self, description: dict[str, Any]) -> Submitted:
        raise NotImplementedError

    def _described(self) -> Listing:
        raise NotImplementedError

    def _describe(self) -> S:
        """What the service says now, with URLs that were just signed; raises NotFound without an answer."""
        listing = self._described()
        if not listing.entries:
            raise NotFound(f"the service does not know {self._what} {self._id}, or it is somebody else's")
        self._revision = listing.revision
        return self._snapshot_type(listing.entries[0])

    def _current(self) -> S:
        """The state now; what has ended is not asked for again."""
        if self._snapshot is not None and self._snapshot.has_certainly_ended:
            return self._snapshot
        return self._refresh()

    def _refresh(self) -> S:
        self._snapshot = self._describe()
        return self._snapshot

    @property
    def _session(self) -> Session:
        from prominence.session import Session

        return self._given_session or Session.default()

    def _known_id(self) -> int:
        if self._id is None:
            raise ProminenceError(f"the {self._what} is not submitted yet: call create() first")
        return self._id


_OF_LIFE: Final = frozenset(vars(Life(None, None)))
"""Attributes that are no part of the description."""


def _utc(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(epoch))


def _checked_id(given: int) -> int:
    """The id as a plain number; numbers of other libraries will do."""
    if isinstance(given, bool) or not hasattr(given, "__index__") or index(given) < 1:
        raise InvalidDescription("id", given, "a whole number above 0, as the service gave it")
    return index(given)
