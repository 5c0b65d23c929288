"""The life of jobs, kept in the database alone: accepted, running, tried again, ended.

::

    idle -> running -> completed | failed | killed | deleted
      ^________|  tried again, as the next attempt
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prominence.description.rules import SUBMISSION_LABEL
from prominence.local.errors import NO_SUCH_JOB, Refusal
from prominence.local.ledger import Created
from prominence.local.listing import ACTIVE, AMONG, IS_ACTIVE, JOBS, KEPT_S
from prominence.logs import about, logger

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from prominence.local.engine import AttemptId, Change, Outcome
    from prominence.local.ledger import Ledger
    from prominence.local.listing import OutputKind
    from prominence.local.store import Store
    from prominence.local.workflow_tables import WorkflowTables

log = logger(__name__)

DELETED_REASON: Final = "Job deleted by user"
_STATUS_OF: Final = {
    "finished": "completed",
    "failed": "failed",
    "killed": "killed",
    "lost": "failed",
    "cancelled": "deleted",
}


class JobTables:
    """Changes and reads what is in the database; each change is made in one turn of the event loop."""

    def __init__(
        self, store: Store, ledger: Ledger, workflows: WorkflowTables, *, idempotent: bool = True
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._workflows = workflows
        self._idempotent = idempotent
        self._ended_by_users: set[AttemptId] = set()

    def has_unfinished(self) -> bool:
        active = f"select 1 from jobs where {IS_ACTIVE} limit 1"
        return bool(self._store.read(active)) or self._workflows.has_unfinished()

    def create(self, description: dict[str, Any]) -> Created:
        """Accept a validated job; where ``idempotent``, a submission label makes only one of it."""
        labels: dict[str, str] = description.get("labels") or {}
        tag = labels.get(SUBMISSION_LABEL) if self._idempotent else None
        if tag is not None:
            known = self._store.read("select id from jobs where submission = ?", (tag,))
            if known:
                return Created(known[0]["id"], 0)
        with self._store.atomic(survive_power_loss=True):
            return self._insert(description, labels, tag)

    def row(self, job: int) -> sqlite3.Row:
        """Raises Refusal where there is no such job."""
        rows = self.rows([job])
        if not rows:
            raise Refusal(400, NO_SUCH_JOB)
        return rows[0]

    def rows(self, ids: Iterable[int]) -> list[sqlite3.Row]:
        return self._store.read(f"select * from described_jobs where id in {AMONG}", [json.dumps(list(ids))])

    def is_in_queue(self, row: sqlite3.Row) -> bool:
        if row["status"] in ACTIVE:
            return True
        return bool(row["kept"]) and (row["ended"] is None or row["ended"] > self._ledger.now() - KEPT_S)

    def remove(self, job: int) -> None:
        """Let a job leave the queue when it has ended, or now if it has; raises Refusal if it has left."""
        if not self.is_in_queue(self.row(job)):
            raise Refusal(400, "Job is no longer in the queue")
        self._ledger.update(JOBS, job, kept=0)

    def fail(self, rows: Iterable[sqlite3.Row], reason: str) -> None:
        """End jobs for good."""
        with self._store.atomic():
            ended = self._ledger.now()
            for row in rows:
                self._end(row, False, status="failed", reason=reason, ended=ended)

    def delete(self, rows: Iterable[sqlite3.Row]) -> None:
        """Call jobs deleted; when those that were active have ended is written down later."""
        with self._store.atomic():
            for row in rows:
                if row["status"] in ACTIVE:
                    self._end(row, False, status="deleted", reason=DELETED_REASON, ended=None)
                else:
                    self._ledger.update(JOBS, row["id"], status="deleted", reason=DELETED_REASON)

    def end_as_deleted(self, attempts: Iterable[AttemptId]) -> None:
        """Call these deleted when they have ended, where that could not be written down before."""
        self._ended_by_users.update(attempts)

    def end_never_started(self, jobs: Iterable[int]) -> None:
        """Write down the end of those that were deleted before an engine had them."""
        deleted = f"select id from jobs where id in {AMONG} and status = 'deleted' and ended is null"
        for row in self._store.read(deleted, [json.dumps(list(jobs))]):
            self._ledger.update(JOBS, row["id"], ended=self._ledger.now())

    def record(self, change: Change) -> bool:
        """Write down a change of the engine's; True when the job is to be tried again."""
        rows = self.rows([change.attempt.job])
        if not rows:
            text = "the engine tells of attempt %d, but the job is not known"
            about(log, "job", change.attempt.job).warning(text, change.attempt.number)
            return False
        row = rows[0]
        if row["attempt"] == change.attempt.number + 1 and row["status"] == "idle" and change.outcome:
            return True  # a commit failed after this was written, and it is told again
        if row["attempt"] != change.attempt.number:
            return False
        if change.outcome is None:
            self._record_start(row, change)
            return False
        if row["status"] in ACTIVE:
            return self._record_end(row, self._as_deleted(change.attempt, change.outcome))
        if row["ended"] is None:  # deleted before: only the end was missing
            began = change.outcome.started  # what the engine had not yet told when it was deleted
            started = row["started"] if began is None else int(began)
            self._ledger.update(JOBS, row["id"], started=started, ended=int(change.time))
        return False

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

    def _record_start(self, row: sqlite3.Row, change: Change) -> None:
        """Write down that an attempt runs, or that its engine has put it back into its queue."""
        if change.requeued and row["status"] == "running":
            self._ledger.update(JOBS, row["id"], status="idle")
        elif not change.requeued and row["status"] == "idle":
            execution, started = json.dumps(change.execution), int(change.time)
            self._ledger.update(JOBS, row["id"], status="running", started=started, execution=execution)
            if row["workflow"] is not None:
                self._workflows.job_started(row["workflow"], started)

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
            text = "attempt %d ended (%s), trying again"
            about(log, "job", job).info(text, tried, outcome.reason or "exit code")
            columns = {"status": "idle", "execution": json.dumps(execution), "attempt": tried + 1}
            self._ledger.update(JOBS, job, **columns, **times)
            return True
        if description.get("notifications"):
            about(log, "job", job).info("nobody is notified of its end: there is no mail system")
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

    def _as_deleted(self, attempt: AttemptId, outcome: Outcome) -> Outcome:
        """The outcome of an attempt, said as its user has to hear it if it was ended by deleting the job."""
        was_ended = outcome.status == "lost" and attempt in self._ended_by_users
        if outcome.status == "cancelled" or was_ended:
            return replace(outcome, status="cancelled", reason=DELETED_REASON)
        return outcome

    def _end(
        self, row: sqlite3.Row, succeeded: bool, *, may_be_tried_again: bool = False, **columns: Any
    ) -> None:
        self._ledger.update(JOBS, row["id"], succeeded=succeeded, **columns)
        if row["workflow"] is not None:
            self._workflows.job_ended(row, succeeded=succeeded, may_be_tried_again=may_be_tried_again)


def _has_succeeded(outcome: Outcome, policies: dict[str, Any]) -> bool:
    """What the jobs that wait for this one in a workflow go by."""
    ignored = policies.get("reportJobSuccessOnTaskFailure", False)
    return outcome.status == "finished" and (ignored or not _is_failure(outcome))


def _is_failure(outcome: Outcome) -> bool:
    """What ``maximumRetries`` is for: anything but success or somebody's wish to end the job."""
    if outcome.status == "finished":
        return any(task["exitCode"] != 0 for task in outcome.execution.get("tasks", []))
    return outcome.status in {"failed", "lost"}
