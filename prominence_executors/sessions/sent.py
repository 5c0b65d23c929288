"""Calls that another process has sent, made again from what the service says of their jobs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from prominence import Job
from prominence.description.checks import HIDDEN
from prominence.exceptions import ProminenceError
from prominence.logs import about, logger
from prominence.snapshot import JobSnapshot
from prominence.sources import JobSource
from prominence_executors.calls.packing import INDEX, index_of, is_call, is_chunk
from prominence_executors.failures import failure
from prominence_executors.fence import Fence
from prominence_executors.jobs import Attempt
from prominence_executors.outcome import EndedCall, completed_command
from prominence_executors.retries import Retries
from prominence_executors.runner.fence import ARRAY, NO_RERUN, VARIABLE
from prominence_executors.sessions.manifest import CallRecord
from prominence_executors.work import Work, command_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prominence import ProminenceClient, Session
    from prominence_executors.call import Call
    from prominence_executors.fence import Claim
    from prominence_executors.sessions.manifest import CallKind
    from prominence_executors.submittable import Submittable

log = logger(__name__)

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SentWork(Work):
    """What a job of another process is for; ``description`` is the job's, in the API's JSON."""

    session: Session = field(repr=False)
    description: Entry = field(repr=False)
    kind: CallKind
    job_name: str

    @property
    def is_chunk(self) -> bool:
        return self.kind == "function" and is_chunk(str(self.description["tasks"][0]["cmd"]))

    def job(self) -> Job:
        return Job.from_dict(self.description, self.session)

    def for_another_attempt(self, job_id: int) -> Self | None:
        description = _submitted_as(self.session.client, job_id)
        return None if description is None else replace(self, description=description)

    def outcome(self, job: Job, snapshot: JobSnapshot, claim: Claim | None) -> Any:
        if self.kind != "function":
            return completed_command(job, snapshot, command_of(job), check=self.kind == "command")
        ended = EndedCall(self.session, job, snapshot, claim, self.job_name, str(job.tasks[0].image))
        if not self.is_chunk:
            return ended.value()
        # The map is gone: values, with exceptions in the places of those missing.
        return [item.value if item.error is None else item.error for item in ended.item_outcomes()]


def described(client: ProminenceClient, ids: Sequence[int]) -> Iterator[Entry]:
    """These jobs with all that is known of them, but for their inputs, which are large; in no order."""
    source = JobSource(client)
    for part in source.parts(ids):
        for entry in source.detail(part).entries:
            if entry["id"] in part:
                yield without_inputs(entry)


def without_inputs(entry: Entry) -> Entry:
    return {name: value for name, value in entry.items() if name != "inputs"}


def call_of(jobs: Sequence[Entry], record: CallRecord | None, calls: Submittable) -> Call:
    """The call that the last of these jobs was sent for, and the others before it.

    ``record`` is what its session has noted of it. Without one the job tells what it is for, the options of
    ``calls`` whether a command may fail, and nothing is tried again.
    """
    *earlier, last = (JobSnapshot(entry) for entry in jobs)
    work = _work(last, calls, record)
    rules = fence_words(last.entry)
    call = with_rules_of(calls, record, rules).call_for(work)
    if rules and ARRAY not in rules:  # a free key of an array's may still be claimed by a twin's job
        call.fence = Fence(calls.session.client, rules[0])
    call.jobs.note_earlier([_attempt(work, each) for each in earlier])
    call.jobs.go_on_as(last.id)
    call.jobs.note(last)
    return call


def _work(snapshot: JobSnapshot, calls: Submittable, record: CallRecord | None) -> SentWork:
    description = snapshot.description
    if record is None:
        kind: CallKind = "command" if calls.options.check else "unchecked"
        if is_call(str(description["tasks"][0].get("cmd", ""))):
            kind = "function"
        record = CallRecord(kind, str(snapshot.entry.get("name")))
    return SentWork(calls.session, description, record.kind, record.name)


def _attempt(work: SentWork, snapshot: JobSnapshot) -> Attempt:
    job = Job.attached(snapshot.entry, work.session)
    has_failed = snapshot.has_ended and not snapshot.succeeded
    return Attempt(job, snapshot, failure(job, snapshot, work.job_name) if has_failed else None)


def fence_words(job: Entry) -> list[str]:
    """The key by which a job claims its call, then words for what is allowed; none without a fence."""
    return str(job["tasks"][0].get("env", {}).get(VARIABLE, "")).split()


def with_rules_of(calls: Submittable, record: CallRecord | None, fence: Sequence[str]) -> Submittable:
    """Makes calls that are tried again as a session has noted, and made again as their fence allows."""
    retries = Retries() if record is None else Retries(record.infrastructure_retries, record.user_retries)
    options = replace(calls.options, retries=retries, rerun="never" if NO_RERUN in fence else "allowed")
    return replace(calls, options=options)


def _submitted_as(client: ProminenceClient, job_id: int) -> Entry | None:
    """The description of a job that can be sent once more; None, with a warning, where it is not whole."""
    refusal = about(log, "job", job_id)
    try:
        found = [each for each in client.describe_job(job_id).entries if each["id"] == job_id]
    except ProminenceError as error:
        refusal.warning("not submitted again: %s", error)
        return None
    if not found:
        refusal.warning("not submitted again: the service does not know it any more")
        return None
    description = JobSnapshot(found[0]).description
    if _lacks_secrets(description):
        refusal.warning("not submitted again: the service keeps its secrets to itself")
        return None
    for task in description["tasks"]:
        task.get("env", {}).pop(VARIABLE, None)
    if (index := index_of(found[0])) is not None:  # it is sent alone from now on
        task = description["tasks"][0]
        task["cmd"] = str(task["cmd"]).replace(f"${INDEX}", str(index))
    return description


def _lacks_secrets(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_lacks_secrets(each) for each in value.values())
    if isinstance(value, list):
        return any(_lacks_secrets(each) for each in value)
    return bool(value == HIDDEN)
