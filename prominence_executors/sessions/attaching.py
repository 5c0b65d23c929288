"""The calls of a session, found again by another process: those that were sent, and those that were not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from prominence.description.rules import CALL_LABEL, SESSION_LABEL, SUBMISSION_LABEL
from prominence.exceptions import SessionNotFound
from prominence.logs import about, logger
from prominence.snapshot import JobSnapshot, WorkflowSnapshot
from prominence_executors.calls.packing import index_of
from prominence_executors.sessions import names
from prominence_executors.sessions.driving import order_of_drivers
from prominence_executors.sessions.late import late_ones_are_kept_out
from prominence_executors.sessions.manifest import CallId, CallRecord, read_manifest
from prominence_executors.sessions.sent import call_of, described
from prominence_executors.sessions.sent_arrays import array_of, jobs_of_array, workflows_of_arrays

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prominence import ProminenceClient, Session
    from prominence_executors.arrays import SentArray
    from prominence_executors.call import Call
    from prominence_executors.sessions.sent import Entry
    from prominence_executors.sessions.sent_arrays import ArrayWorkflow
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
        raise SessionNotFound(
            f"the service has no session {name!r} of this user; `prominence sessions` shows those there are"
        )


@dataclass(frozen=True, slots=True)
class FoundAgain:
    """The calls of a session that were sent, in the order in which they were submitted, and the others.

    Those of ``calls`` that were sent as jobs of their own are ``alone``.
    """

    calls: list[Call]
    alone: list[Call]
    arrays: list[SentArray]
    unsent: list[UnsentCall]


def found_again(name: str, calls: Submittable) -> FoundAgain:
    """Returns at once when all were sent, else only when nothing more can arrive of what was sent last."""
    session = calls.session
    places = order_of_drivers(session, name)
    records = read_manifest(session.client, name)
    arrived = _all_that_arrived(session, name, records)
    before = arrived.tried_in_arrays(session.client, records)
    alone = {
        call_id: call_of([*before.get(call_id, ()), *_attempts(jobs)], records.get(call_id), calls)
        for call_id, jobs in arrived.jobs.items()
        if call_id.driver in places  # others are of a session of this name that was deleted
    }
    arrays = arrived.arrays({call: record for call, record in records.items() if call not in alone}, calls)
    in_arrays = {
        CallId(first.driver, first.ordinal + index): call
        for first, array in arrays.items()
        for index, call in array.calls.items()
    }
    found, unsent = {**alone, **in_arrays}, set(records).difference(alone, in_arrays)
    for call_id, call in found.items():
        call.noted = call_id

    def place(call_id: CallId) -> tuple[int, int]:
        return places.get(call_id.driver, -1), call_id.ordinal

    return FoundAgain(
        [found[call_id] for call_id in sorted(found, key=place)],
        list(alone.values()),
        list(arrays.values()),
        [UnsentCall(records[call_id].name, *call_id) for call_id in sorted(unsent, key=place)],
    )


@dataclass(frozen=True, slots=True)
class _Arrived:
    """What the service has of a session: jobs by call, and workflows by the first call of an array."""

    jobs: dict[CallId, list[Entry]]
    workflows: dict[CallId, ArrayWorkflow]

    def may_have_more(self, call_id: CallId, record: CallRecord) -> bool:
        """Whether something may still arrive for a call: its first job, or one after that has failed."""
        if jobs := self.jobs.get(call_id):
            last = JobSnapshot(max(jobs, key=lambda entry: int(entry["id"])))
            return len(jobs) <= record.most_retries and last.has_ended and not last.succeeded
        if (workflow := self._workflow_of(call_id, record)) is None:
            return True
        return record.most_retries > 0 and not WorkflowSnapshot(workflow.entry).succeeded

    def arrays(self, records: Mapping[CallId, CallRecord], calls: Submittable) -> dict[CallId, SentArray]:
        """The arrays of those of these calls that were sent as such."""
        members: dict[CallId, dict[int, CallRecord]] = {}
        for call_id, record in records.items():
            if record.index is not None and self._workflow_of(call_id, record) is not None:
                members.setdefault(_first_of_array(call_id, record.index), {})[record.index] = record
        return {
            first: array_of(self.workflows[first].entry, found, calls) for first, found in members.items()
        }

    def templates(self) -> list[Entry]:
        """What the jobs of the arrays are made from."""
        return [template for workflow in self.workflows.values() for template in workflow.entry["jobs"]]

    def tried_in_arrays(
        self, client: ProminenceClient, records: Mapping[CallId, CallRecord]
    ) -> dict[CallId, list[Entry]]:
        """The jobs that calls were, as ones of an array, before they were tried again alone."""
        members: dict[int, dict[int, CallId]] = {}
        for call_id in self.jobs:
            record = records.get(call_id)
            if record is not None and (workflow := self._workflow_of(call_id, record)) is not None:
                members.setdefault(int(workflow.entry["id"]), {})[record.index or 0] = call_id
        return {
            call_id: jobs
            for workflow_id, found in members.items()
            for call_id, jobs in jobs_of_array(client, workflow_id, found).items()
        }

    def _workflow_of(self, call_id: CallId, record: CallRecord) -> ArrayWorkflow | None:
        if record.index is None:
            return None
        workflow = self.workflows.get(_first_of_array(call_id, record.index))
        return workflow if workflow is not None and record.index in workflow.indexes else None


def _first_of_array(call_id: CallId, index: int) -> CallId:
    return CallId(call_id.driver, call_id.ordinal - index)


def _all_that_arrived(session: Session, name: str, records: Mapping[CallId, CallRecord]) -> _Arrived:
    """What was sent; looked for again, as listings miss jobs, and the last may be on their way.

    What arrives later than that makes no call where there are fences.
    """
    client = session.client
    ends = client.clock.monotonic() + client.settle_window
    known: dict[int, Entry] = {}
    is_last = False
    while True:
        listed = client.list_jobs(everything=True, label=(SESSION_LABEL, name)).entries
        alone = [int(entry["id"]) for entry in listed if index_of(entry) is None]
        new = [job_id for job_id in alone if job_id not in known]
        known.update((int(entry["id"]), entry) for entry in described(client, new))
        arrived = _Arrived(_by_call(name, known.values()), workflows_of_arrays(client, name))
        if not any(arrived.may_have_more(*each) for each in records.items()):
            return arrived
        if (left := ends - client.clock.monotonic()) > 0:
            client.clock.sleep(min(_LOOKED_EVERY_S, left))
        elif is_last or late_ones_are_kept_out(client, name, [*known.values(), *arrived.templates()]):
            return arrived
        else:
            is_last, ends = True, client.clock.monotonic() + client.settle_window


def _by_call(name: str, entries: Iterable[Entry]) -> dict[CallId, list[Entry]]:
    found: dict[CallId, list[Entry]] = {}
    for entry in entries:
        labels = entry.get("labels") or {}
        if labels.get(SESSION_LABEL) == name and CALL_LABEL in labels and SUBMISSION_LABEL in labels:
            found.setdefault(CallId.parse(labels[CALL_LABEL]), []).append(entry)
    return found


def _attempts(jobs: Sequence[Entry]) -> list[Entry]:
    """The attempts at a call; of jobs with one tag the first, as later ones are clones, or lost to it."""
    first_by_tag: dict[str, Entry] = {}
    for entry in sorted(jobs, key=lambda each: int(each["id"])):
        first = first_by_tag.setdefault(entry["labels"][SUBMISSION_LABEL], entry)
        if first is not entry:
            about(log, "job", int(first["id"])).warning("followed; job %d is like it", entry["id"])
    return list(first_by_tag.values())
