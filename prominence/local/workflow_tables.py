"""The life of workflows: what a job's end means for the others, kept in the database alone.

::

    workflow   idle -> running -> completed | failed | deleted
    template   waits for its parents -> released -> its jobs are made, slice by slice -> all done

A template is released when all jobs of all its parents have succeeded. What a job's end means is written
in the same transaction as that end, so that a service that is killed at any moment goes on where it was:
jobs that are still to be made follow from the tables.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from prominence.description.rules import SUBMISSION_LABEL, is_reserved
from prominence.local.attempts import attempt_of
from prominence.local.errors import Refusal
from prominence.local.ledger import Created
from prominence.local.listing import ACTIVE, AMONG, IS_ACTIVE, WORKFLOWS
from prominence.local.template_jobs import TemplateJobs
from prominence.local.workflow_plan import templates_of
from prominence.local.workflow_rows import WorkflowRows
from prominence.logs import about, logger

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from prominence.local.engine import AttemptId
    from prominence.local.ledger import Ledger
    from prominence.local.store import Store

log = logger(__name__)

DELETED_REASON: Final = "Workflow deleted by user"
JOB_DELETED_REASON: Final = "Job part of a workflow which was deleted by user"
_UNKNOWN: Final = "Workflow does not exist"


class WorkflowTables:
    """Changes and reads what is in the database; each change is made in one turn of the event loop.

    ``due`` is set when there may be something to do: jobs to be made, or ``deletions_due``, workflows whose
    deletion could not be written down when it was asked for.
    """

    def __init__(self, store: Store, ledger: Ledger, *, idempotent: bool = True) -> None:
        self._store = store
        self._ledger = ledger
        self._idempotent = idempotent
        self.due = asyncio.Event()
        self.due.set()
        self.deletions_due: set[int] = set()
        self._template_jobs = TemplateJobs(store, ledger)
        self._workflow_rows = WorkflowRows(store, ledger)

    def has_unfinished(self) -> bool:
        return bool(self._store.read(f"select 1 from workflows where {IS_ACTIVE} limit 1"))

    def create(self, description: dict[str, Any]) -> Created:
        """Accept a validated workflow; where ``idempotent``, a submission label makes only one of it."""
        templates = templates_of(description)
        labels = description.get("labels") or {}
        tag = labels.get(SUBMISSION_LABEL) if self._idempotent else None
        if tag is not None and (
            known := self._store.read("select id from workflows where submission = ?", [tag])
        ):
            return Created(known[0]["id"], 0)
        total = sum(template.count for template in templates.values())
        with self._store.atomic(survive_power_loss=True):
            created = self._insert(description, tag, total)
            self._workflow_rows.insert_templates(created.id, templates)
            self._release(self._ready(created.id))
            self._end_if_nothing_is_left(created.id)
        return created

    def clone(self, workflow: int) -> Created:
        """The same workflow anew; it is no submission of its own, so it does not carry a submission label."""
        if self._row(workflow) is None:
            raise Refusal(400, _UNKNOWN)
        return self.create(_without_marks(self.descriptions([workflow])[workflow]))

    def rerun(self, workflow: int) -> Created:
        """A workflow in which what failed, and what waited for it, is run again; the rest counts as done."""
        row = self._row(workflow)
        if row is None or row["status"] in ACTIVE:
            reason = "Unable to find re-run workflow as the original workflow is not in a suitable state"
            raise Refusal(400, reason)
        if row["status"] == "completed":
            raise Refusal(400, "Workflow resubmission failed")
        description = _without_marks(self.descriptions([workflow])[workflow])
        with self._store.atomic(survive_power_loss=True):
            created = self._insert(description, None, row["total"])
            self._workflow_rows.copy_templates(workflow, created.id)
            self._release(self._ready(created.id))
            self._end_if_nothing_is_left(created.id)
        return created

    def remove(self, workflow: int) -> None:
        """No longer list an ended workflow among the active ones."""
        row = self._row(workflow)
        if row is None:
            raise Refusal(400, _UNKNOWN)
        if row["status"] not in ACTIVE and not row["kept"]:
            raise Refusal(400, "Workflow is no longer in the queue")
        self._ledger.update(WORKFLOWS, workflow, kept=0)

    def delete(self, ids: Iterable[int]) -> list[AttemptId] | None:
        """End workflows and their jobs; the attempts to be ended, or None when there was no such workflow."""
        rows = [row for row in self._rows(ids) if row["status"] in ACTIVE or row["kept"]]
        with self._store.atomic():
            attempts = [attempt for row in rows for attempt in self._delete(row)]
        return attempts if rows else None

    def delete_later(self, ids: Iterable[int]) -> list[AttemptId]:
        """Leave a deletion to be written down when that is possible; the attempts that can be ended now."""
        active = [row["id"] for row in self._rows(ids) if row["status"] in ACTIVE]
        self.deletions_due.update(active)
        self.due.set()
        jobs = f"select id, attempt from jobs where workflow in {AMONG} and {IS_ACTIVE} order by id"
        return [attempt_of(job) for job in self._store.read(jobs, [json.dumps(active)])]

    def job_started(self, workflow: int, started: int) -> None:
        row = self._row(workflow)
        if row is not None and row["status"] == "idle":
            self._ledger.update(WORKFLOWS, workflow, status="running", started=started)

    def job_ended(self, job: sqlite3.Row, *, succeeded: bool, may_be_tried_again: bool = True) -> None:
        """Write down what the end of a workflow's job means for the workflow."""
        workflow = self._row(job["workflow"])
        if workflow is None or workflow["status"] not in ACTIVE:
            return
        if workflow["id"] in self.deletions_due:
            self._delete(workflow)
            return
        if succeeded:
            self._store.write("update templates set done = done + 1 where id = ?", [job["template"]])
            self._ledger.update(WORKFLOWS, workflow["id"], done=workflow["done"] + 1)
            self._release(self._freed_by(self._template(job["template"])))
        elif may_be_tried_again and self._tries(job) < self._possible_tries(workflow):
            self._store.write("insert into retries values (?, ?)", (job["template"], job["instance"]))
            self.due.set()
        else:
            self._ledger.update(WORKFLOWS, workflow["id"], failed=workflow["failed"] + 1)
        self._end_if_nothing_is_left(workflow["id"])

    def make_jobs(self) -> list[int]:
        """Make the next slice of jobs that can be run; their ids, none when all are made."""
        # synced to disk, or after a power loss an id could be given to another job
        with self._store.atomic(survive_power_loss=True):
            while (due := self._template_jobs.take_due()) is not None:
                template, instances = due
                try:
                    made = self._template_jobs.make(template, instances)
                except (LookupError, ValueError):
                    self._give_up(template["workflow"])
                    continue
                if made:
                    return made
        return []

    def job_at(self, workflow: int, path: str) -> int | None:
        """The latest job at ``<job>`` or ``<job>/<instance>`` of a workflow, or the one kept by a re-run."""
        row = self._row(workflow)
        if row is None:
            raise Refusal(400, _UNKNOWN)
        name = f"{row['name']}/{path}"
        found = self._store.read(
            "select max(id) as id from jobs where workflow = ?1 and name = ?2 union all"
            " select jobs.id from templates join carried_over on carried_over.template = templates.id"
            " join jobs on jobs.id = carried_over.job where templates.workflow = ?1 and jobs.name = ?2",
            (workflow, name),
        )
        return next((each["id"] for each in found if each["id"] is not None), None)

    def descriptions(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        return self._workflow_rows.descriptions(ids)

    def labels(self, ids: Sequence[int]) -> dict[int, dict[str, str]]:
        return self._ledger.labels(WORKFLOWS, ids)

    def _insert(self, description: Mapping[str, Any], tag: str | None, total: int) -> Created:
        self._template_jobs.forget_what_was_read()
        return self._workflow_rows.insert(description, tag, total)

    def _release(self, templates: Iterable[int]) -> None:
        """Let the jobs of templates be made; one that has none to do frees its children at once."""
        self.due.set()
        waiting = deque(templates)
        while waiting:
            template = waiting.popleft()
            row = self._template(template)
            self._store.write("update templates set released = 1 where id = ?", [template])
            released = "update workflows set released = released + ? where id = ?"
            self._store.write(released, (row["total"], row["workflow"]))
            waiting.extend(self._freed_by(row))

    def _freed_by(self, template: sqlite3.Row) -> list[int]:
        """Templates that waited for this one, and for no other any more; none while it has jobs to do."""
        if template["done"] < template["total"]:
            return []
        children = "(select child from children where parent = ?)"
        fewer = "update templates set unfinished_parents = unfinished_parents - 1"
        self._store.write(f"{fewer} where id in {children}", [template["id"]])
        ready = f"select id from templates where id in {children} and unfinished_parents = 0 order by id"
        return [row["id"] for row in self._store.read(ready, [template["id"]])]

    def _end_if_nothing_is_left(self, workflow: int) -> None:
        row = self._row(workflow)
        if row is None or row["released"] > row["done"] + row["failed"]:
            return
        if row["failed"] and row["reruns"] < row["maximum_reruns"]:
            self._run_failed_ones_again(row)
        elif row["done"] == row["total"]:
            self._ledger.update(WORKFLOWS, workflow, status="completed", ended=self._ledger.now())
        else:
            not_run = row["total"] - row["released"]
            reason = f"{row['failed']} of {row['total']} jobs failed"
            reason += f", {not_run} were not run" if not_run else ""
            self._ledger.update(WORKFLOWS, workflow, status="failed", reason=reason, ended=self._ledger.now())

    def _run_failed_ones_again(self, workflow: sqlite3.Row) -> None:
        self._store.write(
            "insert into retries select distinct template, instance from jobs as failed"
            " where workflow = ? and not exists (select 1 from jobs where template = failed.template"
            " and instance = failed.instance and succeeded)",
            [workflow["id"]],
        )
        self._ledger.update(WORKFLOWS, workflow["id"], failed=0, reruns=workflow["reruns"] + 1)
        self.due.set()

    def _tries(self, job: sqlite3.Row) -> int:
        sql = "select count(*) as tries from jobs where template = ? and instance = ?"
        return int(self._store.read(sql, (job["template"], job["instance"]))[0]["tries"])

    def _possible_tries(self, workflow: sqlite3.Row) -> int:
        return int((workflow["maximum_retries"] + 1) * (workflow["reruns"] + 1))

    def _give_up(self, workflow: int) -> None:
        """End a workflow that cannot be read any more; jobs of it that were made before run on."""
        about(log, "workflow", workflow).error("it cannot go on: its description is damaged")
        self._make_no_more(workflow)
        reason = "the description is damaged"
        self._ledger.update(WORKFLOWS, workflow, status="failed", reason=reason, ended=self._ledger.now())

    def _make_no_more(self, workflow: int) -> None:
        of_workflow = "(select id from templates where workflow = ?)"
        self._store.write(f"delete from retries where template in {of_workflow}", [workflow])
        self._store.write("update templates set released = 0 where workflow = ?", [workflow])

    def _delete(self, row: sqlite3.Row) -> list[AttemptId]:
        workflow = row["id"]
        active = f"workflow = {workflow:d} and {IS_ACTIVE}"
        jobs = self._store.read(f"select id, attempt from jobs where {active} order by id")
        ended = row["ended"] or self._ledger.now()
        in_flight = row["released"] - row["done"] - row["failed"] if row["status"] in ACTIVE else 0
        self._ledger.update(
            WORKFLOWS,
            workflow,
            status="deleted",
            reason=DELETED_REASON,
            ended=ended,
            failed=row["failed"] + in_flight,
            kept=0,
        )
        self._make_no_more(workflow)
        if jobs:
            count = jobs[-1]["id"] - jobs[0]["id"] + 1
            revision = self._ledger.new_revisions(count) - jobs[0]["id"]
            self._store.write(
                "update jobs set status = 'deleted', reason = ?, ended = null, succeeded = 0,"
                f" revision = id + ? where {active}",
                (JOB_DELETED_REASON, revision),
            )
        return [attempt_of(job) for job in jobs]

    def _ready(self, workflow: int) -> list[int]:
        sql = "select id from templates where workflow = ? and unfinished_parents = 0 order by id"
        return [row["id"] for row in self._store.read(sql, [workflow])]

    def _row(self, workflow: int) -> sqlite3.Row | None:
        rows = self._rows([workflow])
        return rows[0] if rows else None

    def _rows(self, ids: Iterable[int]) -> list[sqlite3.Row]:
        return self._store.read(f"select * from workflows where id in {AMONG}", [json.dumps(list(ids))])

    def _template(self, template: int) -> sqlite3.Row:
        return self._store.read("select * from templates where id = ?", [template])[0]


def _without_marks(description: dict[str, Any]) -> dict[str, Any]:
    labels = description.get("labels") or {}
    return {**description, "labels": {k: v for k, v in labels.items() if not is_reserved(k)}}
