"""The calls of a session, found again by another process: those that were sent, and those that were not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prominence.description.rules import CALL_LABEL, SESSION_LABEL, SUBMISSION_LABEL
from prominence.exceptions import SessionNotFound
from prominence.logs import about, logger
from prominence.snapshot import JobSnapshot
from prominence_executors.sessions import names
from prominence_executors.sessions.driving import order_of_drivers
from prominence_executors.sessions.manifest import CallId, CallRecord, read_manifest
from prominence_executors.sessions.sent import call_of, described

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prominence import Session
    from prominence_executors.attempts import Call
    from prominence_executors.sessions.sent import Entry
    from prominence_executors.submittable import Submittable

log = logger(__name__)

_LOOKED_EVERY_S: Final = 0.5


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


def found_again(name: str, calls: Submittable) -> tuple[list[Call], list[UnsentCall]]:
    """The calls of a session in the order in which they were submitted.

    Returns at once when all were sent, else only when nothing more can arrive of what its driver sent last.
    """
    session = calls.session
    places = order_of_drivers(session, name)
    records = read_manifest(session.client, name)
    jobs = _all_that_arrived(session, name, records)
    found: list[Call] = []
    unsent: list[UnsentCall] = []
    for call_id in sorted({*records, *jobs}, key=lambda each: (places.get(each.driver, -1), each.ordinal)):
        if call_id in jobs:
            found.append(call_of(_attempts(jobs[call_id]), records.get(call_id), calls))
            found[-1].noted = call_id
        else:
            unsent.append(UnsentCall(records[call_id].name, *call_id))
    return found, unsent


def _all_that_arrived(
    session: Session, name: str, records: Mapping[CallId, CallRecord]
) -> dict[CallId, list[Entry]]:
    """The jobs of each call; looked for again, as listings miss jobs, and the last may be on their way."""
    client = session.client
    ends = client.clock.monotonic() + client.settle_window
    known: dict[int, Entry] = {}
    while True:
        listed = client.list_jobs(everything=True, label=(SESSION_LABEL, name)).entries
        new = [int(entry["id"]) for entry in listed if int(entry["id"]) not in known]
        known.update((int(entry["id"]), entry) for entry in described(client, new))
        jobs = _by_call(name, known.values())
        left = ends - client.clock.monotonic()
        if left <= 0 or not any(_may_have_more(record, jobs.get(call)) for call, record in records.items()):
            return jobs
        client.clock.sleep(min(_LOOKED_EVERY_S, left))


def _by_call(name: str, entries: Iterable[Entry]) -> dict[CallId, list[Entry]]:
    found: dict[CallId, list[Entry]] = {}
    for entry in entries:
        labels = entry.get("labels") or {}
        if labels.get(SESSION_LABEL) == name and CALL_LABEL in labels and SUBMISSION_LABEL in labels:
            found.setdefault(CallId.parse(labels[CALL_LABEL]), []).append(entry)
    return found


def _may_have_more(record: CallRecord, jobs: Sequence[Entry] | None) -> bool:
    """Whether a job that was sent for a call may still arrive: its first, or one after it has failed."""
    if jobs is None:
        return True
    last = JobSnapshot(max(jobs, key=lambda entry: int(entry["id"])))
    is_tried_again = len(jobs) <= record.infrastructure_retries + record.user_retries
    return is_tried_again and last.has_ended and not last.succeeded


def _attempts(jobs: Sequence[Entry]) -> list[Entry]:
    """The attempts at a call; of jobs with one tag the first, as later ones are clones, or lost to it."""
    first_by_tag: dict[str, Entry] = {}
    for entry in sorted(jobs, key=lambda each: int(each["id"])):
        first = first_by_tag.setdefault(entry["labels"][SUBMISSION_LABEL], entry)
        if first is not entry:
            about(log, "job", int(first["id"])).warning("followed; job %d is like it", entry["id"])
    return list(first_by_tag.values())
