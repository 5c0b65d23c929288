"""Futures for jobs that are known by their ids alone, as programs keep them that come back later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prominence.description.rules import CALL_LABEL, SESSION_LABEL
from prominence.exceptions import InvalidDescription, NotFound
from prominence_executors.sessions.manifest import CallId, read_manifest
from prominence_executors.sessions.sent import call_of, described, without_inputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from prominence import ProminenceClient
    from prominence_executors.dispatch import Dispatcher
    from prominence_executors.future import ProminenceFuture
    from prominence_executors.sessions.manifest import CallRecord
    from prominence_executors.sessions.sent import Entry
    from prominence_executors.submittable import Submittable


def futures_for(
    job_ids: Iterable[int | str], calls: Submittable, dispatcher: Dispatcher
) -> list[ProminenceFuture[Any]]:
    """One for each id: that of a call of the dispatcher's, or else a new one.

    Raises InvalidDescription for what is no id, NotFound where the service does not know one of them; there
    is no new future then.
    """
    ids = [_number(each) for each in job_ids]
    with dispatcher.adopting:  # so that two threads are given the same future
        found = {each: future for each in ids if (future := calls.group.root.future_of(each)) is not None}
        entries = _described(calls.session.client, [each for each in dict.fromkeys(ids) if each not in found])
        records = _records(entries.values(), dispatcher)
        for job_id, entry in entries.items():
            record = records.get(job_id)
            call = call_of([entry], record, calls)
            dispatcher.take_over(call)
            found[job_id] = call.future
    return [found[each] for each in ids]


def _number(job_id: int | str) -> int:
    text = str(job_id)
    if isinstance(job_id, bool) or not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise InvalidDescription("job_id", job_id, "a whole number above 0, as the service gave it")
    return int(text)


def _described(client: ProminenceClient, ids: Sequence[int]) -> dict[int, Entry]:
    found = {int(entry["id"]): entry for entry in described(client, ids)}
    for job_id in ids:
        if job_id not in found:  # many at once lack one that moves to the history just now
            alone = [entry for entry in client.describe_job(job_id).entries if entry["id"] == job_id]
            if not alone:
                raise NotFound(f"the service does not know job {job_id}, or it is somebody else's")
            found[job_id] = without_inputs(alone[0])
    return found


def _records(entries: Iterable[Entry], dispatcher: Dispatcher) -> Mapping[int, CallRecord]:
    """What the dispatcher's session has noted of these jobs' calls; they are not tried again."""
    session = dispatcher.session_name
    of_session = {
        int(entry["id"]): CallId.parse(entry["labels"][CALL_LABEL])
        for entry in entries
        if session is not None
        and entry.get("labels", {}).get(SESSION_LABEL) == session
        and CALL_LABEL in entry["labels"]
    }
    if session is None or not of_session:
        return {}
    noted = read_manifest(dispatcher.session.client, session)
    return {
        job_id: replace(noted[call], infrastructure_retries=0, user_retries=0)
        for job_id, call in of_session.items()
        if call in noted
    }
