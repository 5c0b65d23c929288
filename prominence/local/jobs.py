"""The life of jobs in the service: accepted, run by the engine, tried again, ended, listed.

The database is the truth; what an answer says was committed before it is sent. An engine only ever sees
attempts whose job is in the database.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from prominence.description.rules import SUBMISSION_LABEL
from prominence.local.engine import AttemptId, Change, Engine, Outcome, Stream
from prominence.local.errors import Refusal
from prominence.local.listing import AMONG, FEED_PAGE, KEPT_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prominence.local.attempts import Attempts
    from prominence.local.engine import OutputPart
    from prominence.local.listing import OutputKind, Query
    from prominence.local.store import Store

log = logging.getLogger(__name__)

ACTIVE: Final = ("idle", "running")
DELETED_REASON: Final = "Job deleted by user"
_STATUS_OF: Final = {"finished": "completed", "failed": "failed", "killed": "killed", "lost": "failed"}
_RECORD_AGAIN_S: Final = 1.0


class Created(NamedTuple):
    """An accepted job, and the revision that it began with (0: it was there before)."""

    id: int
    revision: int


class Found(NamedTuple):
    """Jobs, and the latest revision that is in what is said of them."""

    rows: list[sqlite3.Row]
    revision: int


class Jobs:
    def __init__(
        self, store: Store, attempts: Attempts, engine: Engine, url: str, *, idempotent: bool = True
    ) -> None:
        self._store = store
        self._idempotent = idempotent
        self._engine = engine
        self._attempts = attempts
        self.url = url
        newest = store.read("select coalesce(max(id), 0) as id, coalesce(max(revision), 0) as rev from jobs")[
            0
        ]
        self._last_id: int = newest["id"]
        self._revision: int = newest["rev"]
        self._changed: asyncio.Future[None] | None = None

    def has_unfinished(self) -> bool:
        return bool(self._store.read("select 1 from jobs where status in ('idle', 'running') limit 1"))

    async def recover(self) -> None:
        """Hand every job that may still run to the engine, which knows how far each one is."""
        for job in self._attempts.unreadable():
            log.error("job %d cannot be taken up: its description is damaged", job)
            reason = "Unable to execute task(s): the description is damaged"
            self._update(job, status="failed", reason=reason, ended=int(time.time()))
        await self._engine.recover(self._attempts.unfinished(), self._attempts.being_ended())

    async def follow_engine(self) -> None:
        """Record what the engine reports, for as long as the service lives."""
        seen = 0
        while True:
            changes = await self._engine.changes(seen)
            try:
                again = [change.attempt.job for change in changes if self._record(change)]
                await self._store.committed()
            except sqlite3.Error:
                log.exception("cannot record %d changes; trying again", len(changes))
                await asyncio.sleep(_RECORD_AGAIN_S)  # the engine keeps what was not acknowledged
                continue
            self._wake()
            seen = changes[-1].sequence
            await self._submit(again)

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
        created = self._insert(description, labels, tag)
        await self._store.committed()
        self._wake()
        await self._submit([created.id])
        return created

    async def delete(self, ids: Iterable[int]) -> bool:
        """End jobs; False when none of them is in the queue. One that has ended is only called deleted."""
        rows = [row for row in self._rows_by_id(ids) if _is_in_queue(row) and row["status"] != "deleted"]
        active = [row for row in rows if row["status"] in ACTIVE]
        for row in rows:
            ended = None if row["status"] in ACTIVE else row["ended"]
            self._update(row["id"], status="deleted", reason=DELETED_REASON, ended=ended)
        await self._store.committed()
        self._wake()
        await self._engine.cancel([AttemptId(row["id"], row["attempt"]) for row in active])
        return bool(rows)

    async def clone(self, job: int) -> Created:
        """Accept a job with the description of another one, as a submission of its own."""
        if not self._rows_by_id([job]):
            raise Refusal(400, "Job does not exist")
        description = self._attempts.description(job)
        labels = {
            name: value
            for name, value in (description.pop("labels", None) or {}).items()
            if name != SUBMISSION_LABEL
        }
        return await self.create({**description, **({"labels": labels} if labels else {})})

    async def remove(self, job: int) -> None:
        """Let a job leave the queue when it has ended, or now if it has; raises Refusal if it has left."""
        rows = self._rows_by_id([job])
        if not rows:
            raise Refusal(400, "Job does not exist")
        if not _is_in_queue(rows[0]):
            raise Refusal(400, "Job is no longer in the queue")
        self._update(job, kept=0)
        await self._store.committed()

    async def find(self, query: Query) -> Found:
        """The jobs that a listing asks for; with ``query.since`` waits for one that changed after it."""
        deadline = time.monotonic() + query.wait
        while True:
            rows = self._store.read(*query.sql())
            is_page = query.since is not None and len(rows) == FEED_PAGE
            found = Found(rows, rows[-1]["revision"] if is_page else self._revision)
            await self._store.committed()
            left = deadline - time.monotonic()
            if found.rows or query.since is None or query.since > found.revision or left <= 0:
                return found
            if found.revision == self._revision:
                await self._next_change(left)

    def inputs(self, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        rows = self._store.read(f"select job, inputs from inputs where job in {AMONG}", [json.dumps(ids)])
        return {row["job"]: json.loads(row["inputs"]) for row in rows}

    def labels(self, ids: Sequence[int]) -> dict[int, dict[str, str]]:
        found: defaultdict[int, dict[str, str]] = defaultdict(dict)
        for row in self._store.read(f"select * from labels where job in {AMONG}", [json.dumps(ids)]):
            found[row["job"]][row["name"]] = row["value"]
        return found

    async def read_output(self, job: int, stream: Stream, node: int, offset: int) -> OutputPart | None:
        """What a job has written so far; None while there is nothing, a refusal for an unknown job."""
        rows = self._rows_by_id([job])
        if not rows:
            raise Refusal(400, "Job does not exist")
        attempt = AttemptId(job, rows[0]["attempt"])
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
        self._last_id += 1
        job, revision = self._last_id, self._next_revision()
        inputs = description.pop("inputs", None)
        self._store.write(
            "insert into jobs (id, name, status, description, submission, created, kept, revision)"
            " values (?, ?, 'idle', ?, ?, ?, ?, ?)",
            (
                job,
                description.get("name", ""),
                json.dumps(description),
                tag,
                int(time.time()),
                bool((description.get("policies") or {}).get("leaveInQueue")),
                revision,
            ),
            survive_power_loss=True,
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
                self._update(row["id"], status="idle")
            elif not change.requeued and row["status"] == "idle":
                self._update(row["id"], status="running", started=int(change.time))
            return False
        if row["status"] not in ACTIVE:  # deleted before: only the end was missing
            if row["ended"] is None:
                began = change.outcome.started  # what the engine had not yet told when it was deleted
                started = row["started"] if began is None else int(began)
                self._update(row["id"], started=started, ended=int(change.time))
            return False
        return self._record_end(row, change.outcome)

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
            self._update(job, status="idle", execution=json.dumps(execution), attempt=tried + 1, **times)
            return True
        outputs = {
            "files": [(each.name, each.path, each.size) for each in outcome.output_files],
            "dirs": [(each.name, each.path, each.size) for each in outcome.output_dirs],
        }
        self._update(
            job,
            status=_STATUS_OF.get(outcome.status, "failed"),
            reason=outcome.reason,
            execution=json.dumps(execution),
            outputs=json.dumps(outputs),
            **times,
        )
        return False

    async def _submit(self, jobs: Iterable[int]) -> None:
        """Give jobs to the engine, but for those that were deleted meanwhile."""
        jobs = list(jobs)
        await self._engine.submit(self._attempts.idle(jobs))
        for row in self._rows_by_id(jobs):
            if row["status"] == "deleted" and row["ended"] is None:
                self._update(row["id"], ended=int(time.time()))

    def _update(self, job: int, **columns: Any) -> None:
        columns["revision"] = self._next_revision()
        changes = ", ".join(f"{name} = ?" for name in columns)
        self._store.write(f"update jobs set {changes} where id = ?", (*columns.values(), job))

    def _rows_by_id(self, ids: Iterable[int]) -> list[sqlite3.Row]:
        return self._store.read(f"select * from jobs where id in {AMONG}", [json.dumps(list(ids))])

    def _next_revision(self) -> int:
        self._revision += 1
        return self._revision

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    async def _next_change(self, timeout_s: float) -> None:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._changed], timeout=timeout_s)


def _is_in_queue(row: sqlite3.Row) -> bool:
    if row["status"] in ACTIVE:
        return True
    return bool(row["kept"]) and (row["ended"] is None or row["ended"] > time.time() - KEPT_S)


def _is_failure(outcome: Outcome) -> bool:
    """What ``maximumRetries`` is for: anything but success or somebody's wish to end the job."""
    if outcome.status == "finished":
        return any(task["exitCode"] != 0 for task in outcome.execution.get("tasks", []))
    return outcome.status in {"failed", "lost"}
