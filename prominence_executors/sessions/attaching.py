"""The calls of a session, found again by another process: those that were sent, and those that were not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from prominence import Job
from prominence.description.rules import CALL_LABEL, SESSION_LABEL, SUBMISSION_LABEL
from prominence.exceptions import SessionNotFound
from prominence.logs import about, logger
from prominence.snapshot import JobSnapshot
from prominence_executors.attempts import Call
from prominence_executors.calls.packing import RESULT
from prominence_executors.fence import Fence
from prominence_executors.future import ProminenceFuture
from prominence_executors.options import JobOptions
from prominence_executors.outcome import call_value, completed_command, item_outcomes
from prominence_executors.runner.fence import VARIABLE
from prominence_executors.sessions import names
from prominence_executors.sessions.driving import order_of_drivers
from prominence_executors.sessions.manifest import CallId, CallRecord, read_manifest
from prominence_executors.work import Work, command_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prominence import Session
    from prominence_executors.fence import Claim
    from prominence_executors.sessions.manifest import CallKind

log = logger(__name__)

_LOOKED_EVERY_S: Final = 0.5
_Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class UnsentCall:
    """A call that was never sent, and ended with its driver; ``number`` counts that driver's from 0."""

    name: str
    driver: str
    number: int


def check_exists(session: Session, name: str) -> None:
    """Raises SessionNotFound, SessionMismatch, InvalidDescription for what cannot be a name."""
    names.check_session_name(name)
    if not order_of_drivers(session, name):
        raise SessionNotFound(f"the service has no session {name!r} of this user")


def found_again(session: Session, name: str) -> tuple[list[Call], list[UnsentCall]]:
    """The calls of a session in the order in which they were submitted.

    Returns at once when all were sent, else only when nothing more can arrive of what its driver sent last.
    """
    places = order_of_drivers(session, name)
    records = read_manifest(session.client, name)
    entries = _all_that_arrived(session, name, set(records))
    calls: list[Call] = []
    unsent: list[UnsentCall] = []
    for call_id in sorted({*records, *entries}, key=lambda each: (places.get(each.driver, -1), each.ordinal)):
        if call_id in entries:
            calls.append(_call(session, entries[call_id], records.get(call_id)))
        else:
            unsent.append(UnsentCall(records[call_id].name, *call_id))
    return calls, unsent


def _all_that_arrived(session: Session, name: str, expected: set[CallId]) -> dict[CallId, _Entry]:
    """The job of each call; looked for again, as listings miss jobs, and the last may be on their way."""
    client = session.client
    ends = client.clock.monotonic() + client.settle_window
    found = _listed(session, name)
    while not expected <= set(found) and client.clock.monotonic() < ends:
        client.clock.sleep(min(_LOOKED_EVERY_S, max(0.0, ends - client.clock.monotonic())))
        found = {**found, **_listed(session, name)}
    return found


def _listed(session: Session, name: str) -> dict[CallId, _Entry]:
    jobs = session.client.list_jobs(everything=True, label=(SESSION_LABEL, name), detail=True).entries
    by_call: dict[CallId, list[_Entry]] = {}
    for entry in jobs:
        labels = entry.get("labels") or {}
        if labels.get(SESSION_LABEL) == name and CALL_LABEL in labels and SUBMISSION_LABEL in labels:
            by_call.setdefault(CallId.parse(labels[CALL_LABEL]), []).append(entry)
    return {call_id: _meant(call_id, entries) for call_id, entries in by_call.items()}


def _meant(call_id: CallId, entries: list[_Entry]) -> _Entry:
    """The last attempt at a call; of jobs with one tag the first, as later ones are clones, or lost to it."""
    first_by_tag: dict[str, _Entry] = {}
    for entry in sorted(entries, key=lambda each: int(each["id"])):
        first_by_tag.setdefault(entry["labels"][SUBMISSION_LABEL], entry)
    meant = list(first_by_tag.values())[-1]
    if len(entries) > 1:
        others = [entry["id"] for entry in entries if entry is not meant]
        text = "followed for call %s; jobs %s are for it, too"
        about(log, "job", int(meant["id"])).warning(text, call_id, others)
    return meant


@dataclass(frozen=True, slots=True)
class FoundWork(Work):
    """A call of a session, from what the service has of its job."""

    session: Session
    description: dict[str, Any]
    record: CallRecord

    @property
    def kind(self) -> CallKind:
        return self.record.kind

    @property
    def job_name(self) -> str:
        return self.record.name

    @property
    def items(self) -> int | None:
        return self.record.items

    def job(self) -> Job:
        return Job.from_dict(self.description, self.session)

    def outcome(self, job: Job, snapshot: JobSnapshot, claim: Claim | None) -> Any:
        if self.kind != "function":
            return completed_command(job, snapshot, command_of(job), check=self.kind == "command")
        image, name = str(job.tasks[0].image), self.record.name
        if self.items is None:
            return call_value(self.session, job, snapshot, claim, name=name, image=image)
        found = item_outcomes(self.session, job, snapshot, claim, name=name, image=image, count=self.items)
        # The map is gone: values, with exceptions in the places of those missing.
        return [item.value if item.error is None else item.error for item in found]


def _call(session: Session, entry: _Entry, record: CallRecord | None) -> Call:
    snapshot = JobSnapshot(entry)
    is_function = any(output["name"] == RESULT for output in entry.get("outputFiles") or ())
    record = record or CallRecord("function" if is_function else "command", str(entry.get("name")))
    work = FoundWork(session, snapshot.description, record)
    future: ProminenceFuture[Any] = ProminenceFuture(work)
    future._goes_on_as(snapshot.id)  # noqa: SLF001 - the future's own half of this
    future._saw(snapshot)  # noqa: SLF001 - the same
    call = Call(future, work, JobOptions())
    if record.kind == "function":
        call.fence = _fence(session, entry["tasks"][0].get("env") or {})
    return call


def _fence(session: Session, env: Mapping[str, str]) -> Fence | None:
    words = env.get(VARIABLE, "").split()
    return Fence(session.client, words[0]) if words else None
