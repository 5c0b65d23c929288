"""What a listing of jobs asks for, and the JSON that answers it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan, nan
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from prominence.description.checks import HIDDEN
from prominence.description.rules import check_label
from prominence.exceptions import InvalidDescription
from prominence.local.errors import Refusal
from prominence.local.factories import fill

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

OutputKind = Literal["files", "dirs"]
Locate = Callable[[int, OutputKind, PurePath], dict[str, str]]
"""Says where a job's output is to be had, from the job, its kind and its path."""

LONGEST_WAIT_S: Final = 30.0
FEED_PAGE: Final = 1000
"""Jobs in one answer of the feed; the next one goes on after them."""
ACTIVE: Final = ("idle", "running")
"""Statuses of what has not ended."""
IS_ACTIVE: Final = "status in ('idle', 'running')"
"""SQL for the same."""
AMONG: Final = "(select value from json_each(?))"
"""SQL for a list of ids bound as one value, however many they are."""
KEPT_S: Final = 90 * 86400
"""How long a job with the policy ``leaveInQueue`` is listed among the active ones after its end."""
LARGEST: Final = 2**63 - 1  # what the database can hold
_MOST_DIGITS: Final = 20
_OUTPUT_FIELDS: Final[dict[OutputKind, str]] = {"files": "outputFiles", "dirs": "outputDirs"}
_SHOWN_IN_DETAIL: Final = ("resources", "policies", "notifications", "artifacts")
_SECRET: Final = ("storage", "imagePullCredential")


class Kind(NamedTuple):
    """Where jobs or workflows and their labels are; ``view`` has all that is said of one."""

    table: str
    view: str
    labels: str
    labelled: str


JOBS: Final = Kind("jobs", "described_jobs", "labels", "job")
WORKFLOWS: Final = Kind("workflows", "workflows", "workflow_labels", "workflow")


class InvalidStatus(Exception):
    """The one refusal that the service answers with status 200."""


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of ``GET /jobs`` and ``GET /workflows``, read and checked.

    ``workflows`` asks for the jobs of workflows. ``since`` and ``wait`` are this service's own: what
    changed after a revision (one comes with every answer), waited for up to so many seconds; jobs that
    ended come with their detail.
    """

    ids: tuple[int, ...] | None = None
    workflows: tuple[int, ...] | None = None
    everything: bool = False
    completed: bool = False
    limit: int = 1
    label: tuple[str, str] | None = None
    name: str | None = None
    status: str | None = None
    detail: bool = False
    since: int | None = None
    wait: float = 0.0

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Query:
        status = parameters.get("status")
        if status is not None and status not in ACTIVE:
            raise InvalidStatus
        id_list = parameters.get("id")
        ids = None if id_list is None else tuple(whole("id", each) for each in id_list.split(","))
        of_workflows = parameters.get("workflow") == "true"
        since = parameters.get("since")
        return cls(
            ids=None if of_workflows else ids,
            workflows=ids if of_workflows else None,
            everything="all" in parameters,
            completed=parameters.get("completed") == "true",
            limit=whole("num", parameters.get("num", "1"), lowest=-1),
            label=_label(parameters.get("constraint")),
            name=parameters.get("name"),
            status=status,
            detail="detail" in parameters,
            since=None if since is None else whole("since", since),
            wait=_wait(parameters.get("wait", "0")),
        )

    def sql(self, kind: Kind, now: int, columns: str = "*") -> tuple[str, list[Any]]:
        """A statement and its values; ``now`` is a Unix epoch."""
        conditions = self._conditions(kind, now)
        values = [value for values in conditions.values() for value in values]
        sql = f"select {columns} from {kind.view} where {' and '.join(conditions) or 'true'}"
        if self.since is not None:
            return f"{sql} order by revision limit {FEED_PAGE}", values
        if self.completed and self.ids is None and self.limit > 0:
            return f"{sql} order by ended desc, id desc limit ?", [*values, self.limit]
        return f"{sql} order by id", values

    def _conditions(self, kind: Kind, now: int) -> dict[str, Sequence[Any]]:
        """What must hold for a row, with the values in it."""
        asked_for: dict[str, Any] = {"name": self.name, "status": self.status}
        found: dict[str, Sequence[Any]] = {
            f"{column} = ?": [wanted] for column, wanted in asked_for.items() if wanted is not None
        }
        for column, ids in (("id", self.ids), ("workflow", self.workflows)):
            if ids is not None:
                found[f"{column} in {AMONG}"] = [json.dumps(ids)]
        if self.label is not None:
            labelled = f"select {kind.labelled} from {kind.labels} where name = ? and value = ?"
            found[f"id in ({labelled})"] = self.label
        if self.since is not None:
            found["revision > ?"] = [self.since]
        elif self.ids is None and self.completed:
            found[f"not {IS_ACTIVE}"] = ()
        elif self.ids is None and not self.everything:
            found[f"({IS_ACTIVE} or (kept and ended > ?))"] = [now - KEPT_S]
        return found


def entry(row: sqlite3.Row) -> dict[str, Any]:
    """A job as a listing shows it without detail."""
    description = json.loads(row["description"])
    shown = state(row)
    if "tasks" in description:
        shown["tasks"] = [without_secrets(task) for task in description["tasks"]]
    if row["parameters"] is not None:
        shown["parameters"] = json.loads(row["parameters"])
    return shown


def state(row: sqlite3.Row) -> dict[str, Any]:
    """What is said of a job and of a workflow alike."""
    times = {"createTime": row["created"], "startTime": row["started"], "endTime": row["ended"]}
    shown: dict[str, Any] = {
        "id": row["id"],
        "name": row["name"],
        "status": row["status"],
        "events": {name: value for name, value in times.items() if value is not None},
    }
    if row["reason"]:
        shown["statusReason"] = row["reason"]
    return shown


def detailed_entry(row: sqlite3.Row, labels: dict[str, str], locate: Locate) -> dict[str, Any]:
    """A job with all that is known of it but its inputs."""
    description = json.loads(row["description"])
    shown = entry(row)
    shown |= {key: description[key] for key in _SHOWN_IN_DETAIL if description.get(key)}
    shown["resources"] = {"nodes": 1, **description["resources"]}
    shown["execution"] = {"runtimeVersion": {}, **json.loads(row["execution"])}
    if commands := json.loads(row["commands"]):
        shown["execution"]["commands"] = commands
    if labels:
        shown["labels"] = labels
    if "storage" in description:
        shown["storage"] = _masked(description["storage"])
    outputs, values = json.loads(row["outputs"]), json.loads(row["parameters"] or "{}")
    for kind, field in _OUTPUT_FIELDS.items():
        if names := description.get(field):
            stored = {
                name: {**locate(row["id"], kind, PurePath(path)), "size": size}
                for name, path, size in outputs.get(kind, [])
            }
            shown[field] = [{"name": name, **stored.get(fill(name, values), {"url": ""})} for name in names]
    return shown


def without_secrets(described: dict[str, Any]) -> dict[str, Any]:
    """A job or a task as it may be shown: what gives access to storage or images is masked."""
    return {key: _masked(value) if key in _SECRET else value for key, value in described.items()}


def _masked(value: Any) -> Any:
    return {key: _masked(each) for key, each in value.items()} if isinstance(value, dict) else HIDDEN


def whole(name: str, text: str, lowest: int = 0) -> int:
    """A whole number from a request; raises Refusal where it is none."""
    try:
        number = int(text) if len(text) <= _MOST_DIGITS else lowest - 1
    except ValueError:
        number = lowest - 1
    if not lowest <= number <= LARGEST:
        raise Refusal(400, f"{name} must be a whole number of at least {lowest}")
    return number


def _wait(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = nan
    if isnan(seconds):
        raise Refusal(400, "wait must be a number of seconds")
    return min(max(seconds, 0.0), LONGEST_WAIT_S)


def _label(constraint: str | None) -> tuple[str, str] | None:
    if constraint is None:
        return None
    name, _, value = constraint.partition("=")
    try:
        check_label(name, value)
    except InvalidDescription as error:
        raise Refusal(400, "Invalid constraint") from error
    return name, value
