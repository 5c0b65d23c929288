"""Arrays of calls that another process has sent, made again from what the service says of their workflows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from prominence.description.job import users_labels
from prominence.description.rules import CALL_LABEL, SESSION_LABEL, SUBMISSION_LABEL
from prominence_executors.array_fence import ArrayFence
from prominence_executors.arrays import SentArray
from prominence_executors.calls.packing import index_of
from prominence_executors.sessions.manifest import CallId
from prominence_executors.sessions.sent import SentWork, described, fence_words, with_rules_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prominence import ProminenceClient
    from prominence_executors.sessions.manifest import CallRecord
    from prominence_executors.sessions.sent import Entry
    from prominence_executors.submittable import Submittable


@dataclass(frozen=True, slots=True)
class ArrayWorkflow:
    """What an array was sent as; calls that were cancelled, or to be sent alone, are not in ``indexes``."""

    entry: Entry
    indexes: frozenset[int]

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        (factory,) = entry["factories"]
        (parameter,) = factory["parameters"]
        return cls(entry, frozenset(map(int, parameter["values"])))


def workflows_of_arrays(client: ProminenceClient, session: str) -> dict[CallId, ArrayWorkflow]:
    """The workflow that each array of a session was sent as, by the first call of the array.

    Of several the oldest: younger ones are clones, or twins, and the gate tells of twins which one counts.
    """
    listed = client.list_workflows(everything=True, label=(SESSION_LABEL, session), detail=True).entries
    found: dict[CallId, Entry] = {}
    for entry in sorted(listed, key=lambda each: int(each["id"])):
        labels = entry.get("labels") or {}
        if labels.get(SESSION_LABEL) == session and CALL_LABEL in labels and SUBMISSION_LABEL in labels:
            found.setdefault(CallId.parse(labels[CALL_LABEL]), entry)
    return {first: ArrayWorkflow.parse(entry) for first, entry in found.items()}


def jobs_of_array(
    client: ProminenceClient, workflow_id: int, calls: Mapping[int, CallId]
) -> dict[CallId, list[Entry]]:
    """The jobs that a workflow has for these calls, which are given by index; the first try comes first."""
    listed = client.list_workflow_jobs(workflow_id).entries
    by_index = ((index_of(job), int(job["id"])) for job in listed)
    wanted = {job: calls[index] for index, job in by_index if index is not None and index in calls}
    found: dict[CallId, list[Entry]] = {}
    for entry in sorted(described(client, list(wanted)), key=lambda each: int(each["id"])):
        found.setdefault(wanted[int(entry["id"])], []).append(entry)
    return found


def array_of(workflow: Entry, records: Mapping[int, CallRecord], calls: Submittable) -> SentArray:
    """These calls of one array, by index, which a workflow was sent for."""
    (template,) = workflow["jobs"]
    description = {name: value for name, value in template.items() if name != "inputs"}  # which are large
    description["labels"] = users_labels(template.get("labels") or {})
    record = next(iter(records.values()))  # they differ by their indexes alone
    rules = fence_words(template)
    work = SentWork(calls.session, description, record.kind, record.name)
    found = {index: with_rules_of(calls, record, rules).call_for(work) for index in records}
    fence = ArrayFence(calls.session.client, rules[0]) if rules else None
    if fence is not None:
        for index, call in found.items():
            call.fence = fence.of_call(index)
    return SentArray(found, int(workflow["id"]), fence)
