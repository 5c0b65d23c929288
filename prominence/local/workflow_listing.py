"""The JSON that answers requests for workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prominence.local.listing import state, without_secrets

if TYPE_CHECKING:
    import sqlite3

_SHOWN_IN_DETAIL: Final = ("dependencies", "factories", "policies", "notifications")


def workflow_entry(row: sqlite3.Row) -> dict[str, Any]:
    """A workflow as a listing shows it without detail."""
    return state(row) | {"progress": _progress(row)}


def detailed_workflow_entry(
    row: sqlite3.Row, description: dict[str, Any], labels: dict[str, str]
) -> dict[str, Any]:
    shown = workflow_entry(row)
    shown["jobs"] = [
        {**without_secrets(job), "tasks": [without_secrets(task) for task in job["tasks"]]}
        for job in description["jobs"]
    ]
    shown |= {key: description[key] for key in _SHOWN_IN_DETAIL if description.get(key)}
    if labels:
        shown["labels"] = labels
    return shown


def _progress(row: sqlite3.Row) -> dict[str, int]:
    """What waits for a job that failed is not counted as waiting any more."""
    done, failed, released = row["done"], row["failed"], row["released"]
    return {
        "total": row["total"],
        "done": done,
        "failed": failed,
        "queued": 0 if row["status"] == "deleted" else released - done - failed,
        "waiting": 0 if row["status"] == "failed" else row["total"] - released,
    }
