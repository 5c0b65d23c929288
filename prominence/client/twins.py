"""What a service has with one submission's tag: the one that was meant, and what else there may be.

More than one job with a tag are twins when the submission was sent more than once. But services copy labels
when somebody clones a job, and some drop the filter of a listing and answer with every job. So an entry
counts only if it has the tag itself, and no more are taken for twins than were sent.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from prominence.client.retry import Happened, Kind, RequestFailed
from prominence.client.transport import DEADLINE_S, Request
from prominence.description.rules import SUBMISSION_LABEL
from prominence.exceptions import DuplicateRun, ProminenceError, ServiceError, ServiceUnavailable
from prominence.logs import about, logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prominence.client.transport import Transport
    from prominence.logs import About

log = logger(__name__)

Entry = dict[str, Any]

_ENDED: Final = frozenset({"completed", "failed", "deleted", "killed"})
_NOT_BEGUN: Final = frozenset({"idle", "pending", "created", "deploying", "waiting"})
_PAUSE_S: Final = 1.0
_END_TIME_WITHIN_S: Final = 10.0  # real services tell it a second after the deletion


class _MoreThanOne(Exception):
    """More than one may run; the text says why that is not mended."""


class Twins:
    """The jobs, or workflows, that carry one submission's tag."""

    def __init__(self, transport: Transport, path: str, tag: str, deadline: float) -> None:
        self._transport = transport
        self._clock = transport.clock
        self._path = path
        self._tag = tag
        self._deadline = deadline

    def listed(self, deadline_s: float = DEADLINE_S) -> list[Entry]:
        """All that have the tag now, with detail; raises RequestFailed."""
        query = {"all": "true", "constraint": f"{SUBMISSION_LABEL}={self._tag}", "detail": "true"}
        answer = self._transport.attempt(Request("GET", self._path, Kind.READ, query), deadline_s)
        try:
            found = answer.entries()
        except ServiceUnavailable as error:
            raise RequestFailed(Happened.LOST, error) from None
        return [entry for entry in found if (entry.get("labels") or {}).get(SUBMISSION_LABEL) == self._tag]

    def kept(self, entries: Sequence[Entry], sends: int, *, may_end_others: bool) -> int:
        """The id of the one to go on with.

        Others that have not begun are deleted if they may be; DuplicateRun says that more than one may run.
        """
        by_age = sorted(entries, key=lambda entry: int(entry["id"]))
        if sends == 1 or len(by_age) == 1:
            return int(by_age[0]["id"])  # younger ones are clones
        ids = [int(entry["id"]) for entry in by_age]
        try:
            return self._only_one(by_age, may_end_others=may_end_others and len(by_age) <= sends)
        except _MoreThanOne as more:
            raise self._duplicates(ids, str(more)) from None
        except ProminenceError as error:
            raise self._duplicates(ids, f"what became of them cannot be seen: {error}") from error

    def _only_one(self, by_age: Sequence[Entry], *, may_end_others: bool) -> int:
        live = [entry for entry in by_age if entry["status"] != "deleted" or self._has_begun(entry)]
        if len(live) > 1 and not may_end_others:
            raise _MoreThanOne("which of them are twins and which are clones cannot be told")
        begun = [entry for entry in live if self._has_begun(entry)]
        if len(begun) > 1:
            raise _MoreThanOne("more than one of them has begun")
        keep = (begun or live or by_age)[0]
        for other in live:
            if other is not keep:
                self._end(int(other["id"]))
        return int(keep["id"])

    def _end(self, twin: int) -> None:
        """Delete a twin, and see to it that it never began."""
        text = "submission %s arrived twice: deleting this one, which has not begun"
        self._about(twin).warning(text, self._tag)
        if self._has_begun(self._described(twin)):
            raise _MoreThanOne(f"{twin} has begun meanwhile")
        self._delete(twin)
        if self._has_begun(self._ended(twin)):
            raise _MoreThanOne(f"{twin} had begun when it was deleted")

    def _delete(self, twin: int) -> None:
        try:
            self._transport.send(Request("DELETE", f"{self._path}/{twin}", Kind.REMOVE), self._time_left())
        except ServiceError as error:
            self._about(twin).info("could not be deleted: %s", error)  # its state tells why

    def _ended(self, twin: int) -> Entry:
        """The twin once it has ended, with its times where the service tells them."""
        deleted = self._clock.monotonic()
        while True:
            entry = self._described(twin)
            is_late = self._clock.monotonic() - deleted >= _END_TIME_WITHIN_S
            if entry["status"] in _ENDED and ("endTime" in entry.get("events", {}) or is_late):
                return entry
            if is_late:
                raise ProminenceError(f"it is {entry['status']} after it was deleted")
            self._clock.sleep(_PAUSE_S)

    def _described(self, twin: int) -> Entry:
        """An entry with detail; a real service can leave it out of one answer."""
        for attempt in itertools.count(1):
            request = Request("GET", f"{self._path}/{twin}", Kind.READ)
            found = self._transport.send(request, self._time_left()).entries()
            if found:
                return found[0]
            if attempt > 2:  # noqa: PLR2004 - it is never left out of several
                break
            self._clock.sleep(_PAUSE_S)
        raise ProminenceError("the service does not know it")

    def _has_begun(self, entry: Entry) -> bool:
        """True when user code may have been started."""
        if self._path == "/workflows":
            return any(_job_has_begun(job) for job in self._jobs_of(int(entry["id"])))
        return _job_has_begun(entry)

    def _jobs_of(self, workflow: int) -> list[Entry]:
        query = {"id": str(workflow), "workflow": "true", "all": "true", "detail": "true"}
        return self._transport.send(Request("GET", "/jobs", Kind.READ, query), self._time_left()).entries()

    def _about(self, twin: int) -> About:
        return about(log, self._path.strip("/s"), twin)

    def _time_left(self) -> float:
        return min(DEADLINE_S, max(0.0, self._deadline - self._clock.monotonic()))

    def _duplicates(self, ids: Sequence[int], why: str) -> DuplicateRun:
        shown = ", ".join(str(each) for each in ids)
        text = (
            f"the service has this submission more than once, as {shown} ({why}); look at them, delete what "
            f"is not wanted, and go on with the other by its id (label {SUBMISSION_LABEL}={self._tag})"
        )
        return DuplicateRun(text, tuple(ids), self._tag)


def _job_has_begun(entry: Entry) -> bool:
    times, execution = entry.get("events") or {}, entry.get("execution") or {}
    if "startTime" in times or execution.get("tasks"):
        return True
    return entry["status"] not in _NOT_BEGUN and entry["status"] not in {"deleted", "failed"}
