"""Jobs that are made from the templates of workflows, a slice at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from prominence.local.factories import expansion
from prominence.local.listing import AMONG

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from prominence.local.factories import Expansion
    from prominence.local.ledger import Ledger
    from prominence.local.store import Store

JOBS_IN_A_SLICE: Final = 200
"""Jobs that are made at once; more would keep the other callers waiting."""
_INSERT_JOB: Final = """insert into jobs (id, name, status, own_description, created, revision,
    workflow, template, instance, parameters, kept) values (?, ?, 'idle', '', ?, ?, ?, ?, ?, ?, ?)"""


class _Shared(NamedTuple):
    """What all jobs of a template have in common."""

    labels: dict[str, str]
    is_kept: bool
    factory: Expansion | None


class TemplateJobs:
    """Finds instances that are to become jobs, and makes them."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger
        self._latest: tuple[int, _Shared] | None = None

    def forget_what_was_read(self) -> None:
        """A new template may get the id of one whose insertion was undone."""
        self._latest = None

    def take_due(self) -> tuple[sqlite3.Row, list[int]] | None:
        """The next slice: a template and some of its instances, perhaps none; None when nothing is due."""
        return self._take_retries() or self._take_instances()

    def make(self, template: sqlite3.Row, instances: Sequence[int]) -> list[int]:
        """Insert jobs for instances of a template; raises ValueError or LookupError where it is damaged."""
        labels, is_kept, factory = self._shared(template["id"])
        (workflow,) = self._store.read("select name from workflows where id = ?", [template["workflow"]])
        count = len(instances)
        first, revision = self._ledger.new_ids(count), self._ledger.new_revisions(count)
        ids = range(first, first + count)
        now, name = self._ledger.now(), f"{workflow['name']}/{template['name']}"
        self._store.write_many(
            _INSERT_JOB,
            [
                (
                    job,
                    name if factory is None else f"{name}/{instance}",
                    now,
                    revision + offset,
                    template["workflow"],
                    template["id"],
                    instance,
                    None if factory is None else json.dumps(factory.values(instance)),
                    is_kept,
                )
                for offset, (job, instance) in enumerate(zip(ids, instances, strict=True))
            ],
        )
        rows = [(job, name, value) for job in ids for name, value in labels.items()]
        self._store.write_many("insert into labels values (?, ?, ?)", rows)
        return list(ids)

    def _take_retries(self) -> tuple[sqlite3.Row, list[int]] | None:
        first = self._store.read("select template from retries limit 1")
        if not first:
            return None
        template = first[0]["template"]
        sql = "select instance from retries where template = ? limit ?"
        instances = [row["instance"] for row in self._store.read(sql, (template, JOBS_IN_A_SLICE))]
        self._store.write(
            f"delete from retries where template = ? and instance in {AMONG}",
            (template, json.dumps(instances)),
        )
        (row,) = self._store.read("select * from templates where id = ?", [template])
        return row, instances

    def _take_instances(self) -> tuple[sqlite3.Row, list[int]] | None:
        to_make = "select * from templates where released and made < total order by id limit 1"
        for template in self._store.read(to_make):
            made, end = template["made"], min(template["made"] + JOBS_IN_A_SLICE, template["total"])
            self._store.write("update templates set made = ? where id = ?", (end, template["id"]))
            sql = "select instance from carried_over where template = ? and instance between ? and ?"
            kept = {row["instance"] for row in self._store.read(sql, (template["id"], made, end))}
            return template, [instance for instance in range(made, end) if instance not in kept]
        return None

    def _shared(self, template: int) -> _Shared:
        """Read once for all slices of a template; a factory may have a long list of values."""
        if self._latest is None or self._latest[0] != template:
            sql = "select description, factory from template_descriptions where template = ?"
            (row,) = self._store.read(sql, [template])
            job = json.loads(row["description"])
            is_kept = bool((job.get("policies") or {}).get("leaveInQueue"))
            factory = None if row["factory"] is None else expansion(json.loads(row["factory"]))
            self._latest = template, _Shared(job.get("labels") or {}, is_kept, factory)
        return self._latest[1]
