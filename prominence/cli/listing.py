"""``prominence list`` and ``describe``."""

from __future__ import annotations

import posixpath
import textwrap
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from prominence.cli.arguments import ID, Target, pair, target
from prominence.cli.output import as_json, elapsed, show_json, show_table, when
from prominence.exceptions import NotFound
from prominence.snapshot import TERMINAL, JobSnapshot, Snapshot, WorkflowSnapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prominence.session import Session

_COMMAND: Final = 100  # characters that are shown
_PLURALS: Final = ("jobs", "workflows")
_JOB_ORDER: Final = (
    *("id", "name", "status", "statusReason", "storage", "resources", "labels", "artifacts", "inputs"),
    *("outputFiles", "outputDirs", "parameters", "tasks", "policies", "notifications", "events", "execution"),
)
_WORKFLOW_ORDER: Final = (
    *("id", "name", "status", "statusReason", "storage", "labels", "jobs", "dependencies", "factories"),
    *("policies", "notifications", "events", "progress"),
)


@click.command("list")
@click.option(
    "--completed", is_flag=True, help="List those that have ended: the last one, or as many as --last says."
)
@click.option(
    "-n",
    "--last",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many ended ones to list (with --completed, which it implies).",
)
@click.option("-a", "--all", "everything", is_flag=True, help="List active and ended ones.")
@click.option("-r", "--running", "status", flag_value="running", default=None, help="List only running ones.")
@click.option(
    "-i", "--idle", "status", flag_value="idle", default=None, help="List only those that wait to run."
)
@click.option(
    "--constraint",
    "labels",
    type=pair,
    multiple=True,
    metavar="NAME=VALUE",
    help="List only those with this label. Can be repeated.",
)
@click.option("--name", help="List only those of this name.")
@as_json
@click.argument("words", nargs=-1, metavar="[jobs|workflows] [ID]")
@click.pass_context
def list_(context: click.Context, /, words: Sequence[str], *, as_json: bool, **options: Any) -> None:
    """List active jobs or workflows, or the jobs of the workflow ID.

    Times are in UTC; ELAPSED is days+hours:minutes:seconds.

    \b
    Example:
      prominence list --completed -n 5
      prominence list workflows -a
    """
    what, workflow_id = _what(context, words)
    session: Session = context.obj
    entries = sorted(_entries(session, what, workflow_id, **options), key=lambda entry: int(entry["id"]))
    if as_json:
        show_json(entries)
    elif what == "jobs":
        _show_jobs(entries, session.client.clock.time())
    else:
        _show_workflows(entries, session.client.clock.time())


@click.command()
@click.option(
    "-i", "--input", "input_only", is_flag=True, help="Print what was submitted, ready to be run again."
)
@as_json
@target
@click.pass_obj
def describe(session: Session, target: Target, *, input_only: bool, as_json: bool) -> None:
    """Print all that is known of a job or workflow, as JSON.

    Times are in UTC; with --json the answer of the service is printed as it is.

    \b
    Example:
      prominence describe 42
      prominence describe workflow 43 -i > again.json
    """
    snapshot = described(session, target)
    if input_only:
        show_json(snapshot.description)
    elif as_json:
        show_json(snapshot.entry)
    else:
        show_json(_for_people(snapshot.entry, _JOB_ORDER if target.kind == "job" else _WORKFLOW_ORDER))


def described(session: Session, target: Target) -> Snapshot:
    """What the service knows; raises NotFound where that is nothing."""
    client = session.client
    if target.kind == "workflow":
        if found := client.describe_workflow(target.id).entries:
            return WorkflowSnapshot(found[0])
    elif found := client.describe_job(target.id).entries:
        return JobSnapshot(found[0])
    elif client.describe_workflow(target.id).entries:
        raise NotFound(f"{target.id} is a workflow: say `workflow {target.id}`")
    raise NotFound(f"the service does not know {target}, or it is somebody else's")


def _what(context: click.Context, words: Sequence[str]) -> tuple[str, int | None]:
    what = "jobs"
    if words and words[0] in _PLURALS:
        what, words = words[0], words[1:]
    if len(words) > 1:
        raise click.UsageError(f"unexpected argument {words[1]!r}", context)
    return what, ID(words[0], None, context) if words else None


def _entries(
    session: Session,
    what: str,
    workflow_id: int | None,
    *,
    completed: bool,
    last: int | None,
    everything: bool,
    status: Literal["idle", "running"] | None,
    labels: Sequence[tuple[str, str]],
    name: str | None,
) -> list[dict[str, Any]]:
    client = session.client
    wants_ended = (completed or last is not None) and status is None and not everything
    query: dict[str, Any] = {
        "everything": everything or workflow_id is not None,
        "completed": wants_ended,
        "num": (last or 1) if wants_ended else None,
        "status": status,
        "name": name,
        "label": labels[0] if labels else None,
        "ids": None if workflow_id is None else [workflow_id],
        "detail": len(labels) > 1,
    }
    if what == "workflows":
        found = client.list_workflows(**query).entries
    elif workflow_id is None:
        found = client.list_jobs(**query).entries
    else:
        found = _chosen(client.list_workflow_jobs(workflow_id, detail=bool(labels)).entries, query)
    return [entry for entry in found if _has_labels(entry, labels if workflow_id else labels[1:])]


def _chosen(entries: Sequence[dict[str, Any]], query: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of a workflow's jobs that a listing would show: services list all of them."""
    found = [
        entry
        for entry in entries
        if (not query["completed"] or entry["status"] in TERMINAL)
        and query["status"] in {None, entry["status"]}
        and query["name"] in {None, entry.get("name")}
    ]
    return sorted(found, key=lambda entry: int(entry["id"]))[-query["num"] if query["num"] else 0 :]


def _has_labels(entry: Mapping[str, Any], labels: Sequence[tuple[str, str]]) -> bool:
    """Services look for one label; the others are looked for here."""
    return dict(labels).items() <= (entry.get("labels") or {}).items()


def _show_jobs(entries: Sequence[Mapping[str, Any]], now: float) -> None:
    rows = []
    for entry in entries:
        task: dict[str, Any] = next(iter(entry.get("tasks") or []), {})
        command = textwrap.shorten(task.get("cmd", ""), _COMMAND, placeholder="...")
        rows.append((*_first_columns(entry, now), _image(task.get("image", "")), command))
    show_table(("ID", "NAME", "CREATED", "STATUS", "ELAPSED", "IMAGE", "CMD"), rows)


def _show_workflows(entries: Sequence[Mapping[str, Any]], now: float) -> None:
    rows = []
    for entry in entries:
        progress = WorkflowSnapshot(dict(entry)).progress
        counts = [progress.get(name, "") for name in ("done", "failed", "total")]
        rows.append((*_first_columns(entry, now), *counts))
    show_table(("ID", "NAME", "CREATED", "STATUS", "ELAPSED", "SUCCESS", "FAILED", "TOTAL"), rows)


def _first_columns(entry: Mapping[str, Any], now: float) -> tuple[Any, ...]:
    events = entry.get("events") or {}
    created = when(events.get("createTime"))
    return entry["id"], entry.get("name") or "", created, entry["status"], elapsed(events, now)


def _image(name: str) -> str:
    """Of an image's URL the file name: its query may hold a signature."""
    return posixpath.basename(name.partition("?")[0]) if name.startswith("http") else name


def _for_people(entry: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """The entry in an order that reads well, with times as dates."""
    from prominence.description.job import users_labels

    names = [*(name for name in order if name in entry), *(name for name in entry if name not in order)]
    events = {name: when(epoch) for name, epoch in (entry.get("events") or {}).items()}
    changed = {"events": events, "labels": users_labels(entry.get("labels"))}
    return {name: changed.get(name, entry[name]) for name in names}
