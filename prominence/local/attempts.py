"""Jobs of the database as attempts: what engines are told of them, and what they ask for to start one."""

from __future__ import annotations

import json
import sqlite3
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from prominence.local.engine import DEFAULT_WALLTIME_MIN, Assignment, Attempt, AttemptId
from prominence.local.factories import fill_job, parameter_environment
from prominence.local.listing import AMONG, IS_ACTIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prominence.local.objects import Objects
    from prominence.local.store import Store
    from prominence.local.tokens import Signer

_COLUMNS: Final = """id, attempt,
    case when json_valid(description) then json_extract(description, '$.resources') end as resources,
    case when json_valid(description) then json_extract(description, '$.policies.priority') end as priority"""


class Attempts:
    """Finds attempts without reading whole descriptions: there may be tens of thousands."""

    def __init__(self, store: Store, objects: Objects, signer: Signer, url: str) -> None:
        self._store = store
        self._objects = objects
        self._signer = signer
        self.url = url

    def idle(self, jobs: Iterable[int]) -> list[Attempt]:
        """Those of the given jobs that are to be started."""
        return self._find(f"status = 'idle' and id in {AMONG}", json.dumps(list(jobs)))

    def unreadable(self) -> list[int]:
        """Unfinished jobs whose description is damaged; they are among no attempts."""
        rows = self._store.read(
            f"select {_COLUMNS} from described_jobs where {IS_ACTIVE} and resources is null"
        )
        return [row["id"] for row in rows]

    def unfinished(self) -> list[Attempt]:
        return self._find(IS_ACTIVE)

    def being_ended(self) -> list[Attempt]:
        """Those of deleted jobs whose end is not known yet."""
        return self._find("status = 'deleted' and ended is null")

    def load(self, attempt: AttemptId) -> Assignment:
        try:
            row = self._row(attempt.job)
            description = self.description(attempt.job)
        except sqlite3.Error as error:
            raise OSError(f"job {attempt.job} cannot be read: {error}") from error
        walltime_s = description["resources"].get("walltime", DEFAULT_WALLTIME_MIN) * 60
        environment = {
            "PROMINENCE_JOB_ID": str(attempt.job),
            "PROMINENCE_URL": self.url,
            "PROMINENCE_TOKEN": self._signer.job_token(attempt.job, walltime_s),
            **parameter_environment(json.loads(row["parameters"] or "{}")),
        }
        if row["workflow"] is not None:
            environment["PROMINENCE_WORKFLOW_ID"] = str(row["workflow"])
        return Assignment(description, environment, self._objects.named_in(description))

    def description(self, job: int) -> dict[str, Any]:
        """A job with its inputs, as it is to run."""
        row = self._row(job)
        description = fill_job(json.loads(row["description"]), json.loads(row["parameters"] or "{}"))
        inputs = self.inputs([job])
        return {**description, "inputs": inputs[job]} if inputs else description

    def _row(self, job: int) -> sqlite3.Row:
        sql = "select description, parameters, workflow from described_jobs where id = ?"
        rows = self._store.read(sql, [job])
        if not rows:
            raise ValueError(f"job {job} is not in the database any more")
        return rows[0]

    def inputs(self, jobs: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        """Input files in the API's JSON; jobs without any are left out."""
        rows = self._store.read(
            f"select job, inputs from inputs where job in {AMONG} union all"
            " select id, inputs from jobs join template_descriptions using (template)"
            f" where id in {AMONG} and inputs is not null",
            [json.dumps(jobs)] * 2,
        )
        return {row["job"]: json.loads(row["inputs"]) for row in rows}

    def _find(self, condition: str, *values: str) -> list[Attempt]:
        rows = self._store.read(
            f"select {_COLUMNS} from described_jobs where {condition} and resources is not null order by id",
            values,
        )
        loader = self.load
        return [
            Attempt(
                attempt_of(row),
                _resources(row["resources"]),
                loader,
                row["priority"] or 0,
            )
            for row in rows
        ]


def attempt_of(row: sqlite3.Row) -> AttemptId:
    """The latest attempt of a job."""
    return AttemptId(row["id"], row["attempt"])


@lru_cache(maxsize=256)
def _resources(text: str) -> dict[str, Any]:
    """One object for all attempts that ask for the same."""
    found: dict[str, Any] = json.loads(text)
    return found
