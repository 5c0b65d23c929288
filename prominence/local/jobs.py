"""The life of jobs in the service: accepted, run by the engine, tried again, ended, listed.

The database is the truth; what an answer says was committed before it is sent. An engine only ever sees
attempts whose job is in the database.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from prominence.description.rules import SUBMISSION_LABEL, is_reserved
from prominence.local import queue_limits
from prominence.local.engine import AttemptId, Change, Engine, Outcome, Stream
from prominence.local.errors import NO_SUCH_JOB, Refusal
from prominence.local.ledger import Created
from prominence.local.listing import ACTIVE, AMONG, IS_ACTIVE, JOBS, KEPT_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prominence.local.attempts import Attempts
    from prominence.local.engine import OutputPart
    from prominence.local.ledger import Found, Ledger, Matches
    from prominence.local.listing import OutputKind, Query
    from prominence.local.queue_limits import QueueLimits
    from prominence.local.store import Store
    from prominence.local.workflow_tables import WorkflowTables

log = logging.getLogger(__name__)

DELETED_REASON: Final = "Job deleted by user"
_STATUS_OF: Final = {
    "finished": "completed",
    "failed": "failed",
    "killed": "killed",
    "lost": "failed",
    "cancelled": "deleted",
}
_RECORD_AGAIN_S: Final = 1.0
_CHANGES_AT_ONCE: Final = 200

T = TypeVar("T")


class Jobs:
    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        workflows: WorkflowTables,
        engine: Engine,
        attempts: Attempts,
        *,
        limits: QueueLimits,
        idempotent: bool = True,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._workflows = workflows
        self._engine = engine
        self._attempts = attempts
        self._limits = limits
        self._idempotent = idempotent
        self._deletions_to_record: set[AttemptId] = set()
        self.url = attempts.url
        self.inputs = self._attempts.inputs
        self.pages = ledger.pages

    def has_unfinished(self) -> bool:
        active = f"select 1 from jobs where {IS_ACTIVE} limit 1"
        return bool(self._store.read(active)) or self._workflows.has_unfinished()

    async def recover(self) -> None:
        """Hand every job that may still run to the engine, which knows how far each one is."""
        for job in self._attempts.unreadable():
            log.error("job %d cannot be taken up: its description is damaged", job)
            reason = "Unable to execute task(s): the description is damaged"
            with self._store.atomic():
                self._end(self._row(job), False, status="failed", reason=reason, ended=self._ledger.now())
        self._limits.watch_all()
        await self._engine.recover(self._attempts.unfinished(), self._attempts.being_ended())

    async def follow_engine(self) -> None:
        """Record what the engine reports, for as long as the service lives."""
        seen = 0
        while True:
            changes = await self._engine.changes(seen)
            for some in _slices(changes):
                again = await self._record_all(some)
                seen = some[-1].sequence
                await self.submit(again)

    async def _record_all(self, changes: Sequence[Change]) -> list[int]:
        """Write down changes, however often it takes; the jobs that are to be tried again."""
        while True:
            try:
                with self._store.atomic():
                    again = [change.attempt.job for change in changes if self._record(change)]
                await self._store.committed()
            except sqlite3.Error:
                log.exception("cannot record %d changes; trying again", len(changes))
                await asyncio.sleep(_RECORD_AGAIN_S)
            else:
                self._ledger.tell_waiting()
                return again

    async def end_overdue(self) -> None:
        """End what waits for longer than its job allows, for as long as the service lives."""
        while True:
            attempts = set(await self._limits.overdue())
            rows = self._rows_by_id(each.job for each in attempts)
            waiting = [row for row in rows if row["status"] == "idle" and _attempt(row) in attempts]
            await self._end_waiting(waiting)
            await self.cancel([_attempt(row) for row in waiting])

    async def _end_waiting(self, rows: Sequence[sqlite3.Row]) -> None:
        while True:
            try:
                with self._store.atomic():
                    ended = self._ledger.now()
                    for row in rows:
                        self._end(row, False, status="failed", reason=queue_limits.REASON, ended=ended)
                await self._store.committed()
            except sqlite3.Error:
                log.exception("cannot record that %d jobs waited too long; trying again", len(rows))
                await asyncio.sleep(_RECORD_AGAIN_S)
            else:
                self._ledger.tell_waiting()
                return

    async def create(self, description: dict[str, Any]) -> Created:
        """Accept a validated job; where ``idempotent``, the same submission label again gives the same id."""
        if (reason := self._engine.refuses(description)) is not None:
            raise Refusal(400, reason)
        labels: dict[str, str] = description.get("labels") or {}
        tag = labels.get(SUBMISSION_LABEL) if self._idempotent else None
        if tag is not None:
            known = self._store.read("select id from jobs where submission = ?", (tag,))
            if known:
                await self._store.committed()
                return Created(known[0]["id"], 0)
        with self._store.atomic(survive_power_loss=True):
            created = self._insert(description, labels, tag)
        if description.get("notifications"):
            log.info("job %d: there is no mail system here, so nobody is notified", created.id)
        await self._store.committed()
        self._ledger.tell_waiting()
        await self.submit([created.id])
        return created

    async def delete(self, ids: Iterable[int]) -> bool:
        """End jobs; False when none of them is in the queue. One that has ended is only called deleted.

        Where that cannot be recorded they are ended all the same, and the end is recorded when it can be.
        """
        rows = [row for row in self._rows_by_id(ids) if self._is_in_queue(row) and row["status"] != "deleted"]
        attempts = [_attempt(row) for row in rows if row["status"] in ACTIVE]
        try:
            await self._record_deletion(rows)
        except sqlite3.Error:
            self._deletions_to_record.update(attempts)
            await self.cancel(attempts)
            raise
        self._ledger.tell_waiting()
        await self.cancel(attempts)
        return bool(rows)

    async def _record_deletion(self, rows: Sequence[sqlite3.Row]) -> None:
        with self._store.atomic():
            for row in rows:
                if row["status"] in ACTIVE:
                    self._end(row, False, status="deleted", reason=DELETED_REASON, ended=None)
                else:
                    self._ledger.update(JOBS, row["id"], status="deleted", reason=DELETED_REASON)
        await self._store.committed()

    async def clone(self, job: int) -> Created:
        """Accept a job with the description of another one, as a submission of its own."""
        self._row(job)
        description = self._attempts.description(job)
        labels = {
            name: value
            for name, value in (description.pop("labels", None) or {}).items()
            if not is_reserved(name)
        }
        return await self.create({**description, **({"labels": labels} if labels else {})})

    async def remove(self, job: int) -> None:
        """Let a job leave the queue when it has ended, or now if it has; raises Refusal if it has left."""
        if not self._is_in_queue(self._row(job)):
            raise Refusal(400, "Job is no longer in the queue")
        self._ledger.update(JOBS, job, kept=0)
        await self._store.committed()

    async def cancel(self, attempts: Sequence[AttemptId]) -> None:
        """Have the engine end attempts of jobs that are deleted."""
        for some in _slices(attempts):
            await self._engine.cancel(some)
            await asyncio.sleep(0)  # there may be ten thousand, and other callers

    async def find(self, query: Query) -> Found:
        """The jobs that a listing asks for; with ``query.since`` waits for one that changed after it."""
        return await self._ledger.find(JOBS, query)

    async def search(self, query: Query) -> Matches:
        return await self._ledger.search(JOBS, query)

    def labels(self, ids: Sequence[int]) -> dict[int, dict[str, str]]:
        return self._ledger.labels(JOBS, ids)

    async def read_output(self, job: int, stream: Stream, node: int, offset: int) -> OutputPart | None:
        """What a job has written so far; None while there is nothing, a refusal for an unknown job."""
        attempt = _attempt(self._row(job))
        found = await self._engine.read_output(attempt, node, stream, offset)
        if found is None and node:
            return await self._engine.read_output(attempt, 0, stream, offset)  # as the real service does
        return found

    def stored_output(self, job: int, kind: OutputKind, stored_as: str) -> Path | None:
        """The file of a staged-out output; ``stored_as`` is the last part of its path."""
        for row in self._store.read("select outputs from jobs where id = ?", [job]):
            for _, path, _ in json.loads(row["outputs"]).get(kind, []):
                if Path(path).name == stored_as:
                    return Path(path)
        return None

    def _insert(self, description: dict[str, Any], labels: dict[str, str], tag: str | None) -> Created:
        job, revision = self._ledger.new_ids(), self._ledger.new_revisions()
        inputs = description.pop("inputs", None)
        self._store.write(
            "insert into jobs (id, name, status, own_description, submission, created, kept, revision)"
            " values (?, ?, 'idle', ?, ?, ?, ?, ?)",
            (
                job,
                description.get("name", ""),
                json.dumps(description),
                tag,
                self._ledger.now(),
                bool((description.get("policies") or {}).get("leaveInQueue")),
                revision,
            ),
        )
        for name, value in labels.items():
            self._store.write("insert into labels values (?, ?, ?)", (job, name, value))
        if inputs:
            self._store.write("insert into inputs values (?, ?)", (job, json.dumps(inputs)))
        return Created(job, revision)

    def _record(self, change: Change) -> bool:
        """Write down a change of the engine's; True when the job is to be tried again."""
        rows = self._rows_by_id([change.attempt.job])
        if not rows:
            log.warning("the engine tells of attempt %s, whose job is not known", change.attempt)
            return False
        row = rows[0]
        if row["attempt"] == change.attempt.number + 1 and row["status"] == "idle" and change.outcome:
            return True  # a commit failed after this was written, and it is told again
        if row["attempt"] != change.attempt.number:
            return False
        if change.outcome is None:
            if change.requeued and row["status"] == "running":
                self._ledger.update(JOBS, row["id"], status="idle")
            elif not change.requeued and row["status"] == "idle":
                execution = json.dumps(change.execution)
                started = int(change.time)
                self._ledger.update(JOBS, row["id"], status="running", started=started, execution=execution)
                if row["workflow"] is not None:
                    self._workflows.job_started(row["workflow"], started)
            return False
        if row["status"] not in ACTIVE:  # deleted before: only the end was missing
            if row["ended"] is None:
                began = change.outcome.started  # what the engine had not yet told when it was deleted
                started = row["started"] if began is None else int(began)
                self._ledger.update(JOBS, row["id"], started=started, ended=int(change.time))
            return False
        return self._record_end(row, self._as_deleted(change.attempt, change.outcome))

    def _as_deleted(self, attempt: AttemptId, outcome: Outcome) -> Outcome:
        """The outcome of an attempt, said as its user has to hear it if it was ended by deleting the job."""
        if outcome.status == "cancelled" or (
            outcome.status == "lost" and attempt in self._deletions_to_record
        ):
            return replace(outcome, status="cancelled", reason=DELETED_REASON)
        return outcome

    def _record_end(self, row: sqlite3.Row, outcome: Outcome) -> bool:
        job = row["id"]
        description = json.loads(row["description"])
        policies = description.get("policies") or {}
        tried = row["attempt"]
        execution = {**outcome.execution, **({"retries": tried - 1} if tried > 1 else {})}
        times = {"ended": int(outcome.ended)}
        if outcome.started is not None:
            times["started"] = int(outcome.started)
        if _is_failure(outcome) and tried <= policies.get("maximumRetries", 0):
            log.info("job %d: attempt %d ended (%s), trying again", job, tried, outcome.reason or "exit code")
            columns = {"status": "idle", "execution": json.dumps(execution), "attempt": tried + 1}
            self._ledger.update(JOBS, job, **columns, **times)
            return True
        if description.get("notifications"):
            log.info("job %d: nobody is notified of its end: there is no mail system", job)
        outputs = {
            "files": [(each.name, each.path, each.size) for each in outcome.output_files],
            "dirs": [(each.name, each.path, each.size) for each in outcome.output_dirs],
        }
        self._end(
            row,
            _has_succeeded(outcome, policies),
            may_be_tried_again=outcome.status != "cancelled",
            status=_STATUS_OF.get(outcome.status, "failed"),
            reason=outcome.reason,
            execution=json.dumps(execution),
            outputs=json.dumps(outputs),
            **times,
        )
        return False

    async def submit(self, jobs: Iterable[int]) -> None:
        """Give jobs to the engine, but for those that were deleted meanwhile."""
        jobs = list(jobs)
        self._limits.watch(jobs)
        await self._engine.submit(self._attempts.idle(jobs))
        ended = f"select id from jobs where id in {AMONG} and status = 'deleted' and ended is null"
        for row in self._store.read(ended, [json.dumps(jobs)]):
            self._ledger.update(JOBS, row["id"], ended=self._ledger.now())

    def _end(
        self, row: sqlite3.Row, succeeded: bool, *, may_be_tried_again: bool = False, **columns: Any
    ) -> None:
        self._ledger.update(JOBS, row["id"], succeeded=succeeded, **columns)
        if row["workflow"] is not None:
            self._workflows.job_ended(row, succeeded=succeeded, may_be_tried_again=may_be_tried_again)

    def _row(self, job: int) -> sqlite3.Row:
        rows = self._rows_by_id([job])
        if not rows:
            raise Refusal(400, NO_SUCH_JOB)
        return rows[0]

    def _is_in_queue(self, row: sqlite3.Row) -> bool:
        if row["status"] in ACTIVE:
            return True
        return bool(row["kept"]) and (row["ended"] is None or row["ended"] > self._ledger.now() - KEPT_S)

    def _rows_by_id(self, ids: Iterable[int]) -> list[sqlite3.Row]:
        return self._store.read(f"select * from described_jobs where id in {AMONG}", [json.dumps(list(ids))])


def _has_succeeded(outcome: Outcome, policies: dict[str, Any]) -> bool:
    """What the jobs that wait for this one in a workflow go by."""
    ignored = policies.get("reportJobSuccessOnTaskFailure", False)
    return outcome.status == "finished" and (ignored or not _is_failure(outcome))


def _attempt(row: sqlite3.Row) -> AttemptId:
    return AttemptId(row["id"], row["attempt"])


def _is_failure(outcome: Outcome) -> bool:
    """What ``maximumRetries`` is for: anything but success or somebody's wish to end the job."""
    if outcome.status == "finished":
        return any(task["exitCode"] != 0 for task in outcome.execution.get("tasks", []))
    return outcome.status in {"failed", "lost"}


def _slices(many: Sequence[T]) -> Iterator[Sequence[T]]:
    """Parts small enough for one turn of the event loop."""
    return (many[start : start + _CHANGES_AT_ONCE] for start in range(0, len(many), _CHANGES_AT_ONCE))
