"""Workflows and their templates in the database: written down when accepted, copied for a re-run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prominence.local.ledger import Created
from prominence.local.listing import AMONG

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from prominence.local.ledger import Ledger
    from prominence.local.store import Store
    from prominence.local.workflow_plan import Template


class WorkflowRows:
    """Each change belongs into a transaction of the caller's."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    def insert(self, description: Mapping[str, Any], tag: str | None, total: int) -> Created:
        """``total`` is the number of jobs that are to be made; ``tag`` the submission's, if it has one."""
        created = Created(self._ledger.new_ids(), self._ledger.new_revisions())
        policies = description.get("policies") or {}
        self._store.write(
            "insert into workflows (id, name, status, submission, created, total, maximum_retries,"
            " maximum_reruns, kept, revision) values (?, ?, 'idle', ?, ?, ?, ?, ?, ?, ?)",
            (
                created.id,
                description["name"],
                tag,
                self._ledger.now(),
                total,
                policies.get("maximumRetries", 0),
                policies.get("maximumReruns", 0),
                bool(policies.get("leaveInQueue")),
                created.revision,
            ),
        )
        text = json.dumps(description)
        self._store.write("insert into workflow_descriptions values (?, ?)", (created.id, text))
        rows = [(created.id, name, value) for name, value in (description.get("labels") or {}).items()]
        self._store.write_many("insert into workflow_labels values (?, ?, ?)", rows)
        return created

    def insert_templates(self, workflow: int, templates: Mapping[str, Template]) -> None:
        ids = {name: self._insert_template(workflow, each) for name, each in templates.items()}
        pairs = [(ids[name], ids[child]) for name, each in templates.items() for child in each.children]
        self._store.write_many("insert into children values (?, ?)", pairs)

    def _insert_template(self, workflow: int, template: Template) -> int:
        job = dict(template.job)
        inputs = job.pop("inputs", None)
        factory = None if template.factory is None else json.dumps(template.factory)
        made = self._store.insert(
            "insert into templates (workflow, name, total, unfinished_parents) values (?, ?, ?, ?)",
            (workflow, template.name, template.count, len(template.parents)),
        )
        self._store.write(
            "insert into template_descriptions values (?, ?, ?, ?)",
            (
                made,
                json.dumps(job),
                factory,
                json.dumps(inputs) if inputs else None,
            ),
        )
        return made

    def copy_templates(self, old: int, new: int) -> None:
        """Give a re-run the templates of the workflow before it, with those of their jobs that are done."""
        templates = self._store.read("select * from templates where workflow = ? order by id", [old])
        copies = {each["id"]: self._copy(each, new) for each in templates}
        sql = "select children.* from children join templates on id = parent where workflow = ?"
        for row in self._store.read(sql, [old]):
            pair = (copies[row["parent"]], copies[row["child"]])
            self._store.write("insert into children values (?, ?)", pair)
            self._store.write(
                "update templates set unfinished_parents = unfinished_parents + 1 where id = ?", [pair[1]]
            )

    def descriptions(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        sql = f"select * from workflow_descriptions where workflow in {AMONG}"
        rows = self._store.read(sql, [json.dumps(ids)])
        return {row["workflow"]: json.loads(row["description"]) for row in rows}

    def _copy(self, old: sqlite3.Row, workflow: int) -> int:
        new = self._store.insert(
            "insert into templates (workflow, name, total, unfinished_parents, done)"
            " select ?, name, total, 0, done from templates where id = ?",
            (workflow, old["id"]),
        )
        self._store.write(
            "insert into template_descriptions select ?, description, factory, inputs"
            " from template_descriptions where template = ?",
            (new, old["id"]),
        )
        self._store.write(
            "insert into carried_over select ?1, instance, job from carried_over where template = ?2"
            " union all select ?1, instance, max(id) from jobs"
            " where template = ?2 and succeeded group by instance",
            (new, old["id"]),
        )
        self._store.write("update workflows set done = done + ? where id = ?", (old["done"], workflow))
        return new
