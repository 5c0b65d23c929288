"""The verbs that this package adds to the ``prominence`` command."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from prominence import Job
from prominence.cli.arguments import target
from prominence.cli.listing import described
from prominence.cli.output import as_json, note, show_json, show_table, when
from prominence.snapshot import JobSnapshot, WorkflowSnapshot
from prominence_executors.advice import next_step
from prominence_executors.explanation import explain_job
from prominence_executors.failures import failure
from prominence_executors.sessions.leftovers import leftovers, look_again
from prominence_executors.sessions.overview import overviews

if TYPE_CHECKING:
    from prominence import Session
    from prominence.cli.arguments import Target
    from prominence_executors.sessions.leftovers import Leftovers

_JOBS_SHOWN: Final = 20
_DAY_S: Final = 86_400


@click.command()
@as_json
@target
@click.pass_obj
def explain(session: Session, target: Target, *, as_json: bool) -> None:
    """Tell what became of a job or workflow, why, and what to do.

    Of a workflow each failed job is told, up to 20 of them.

    \b
    Example:
      prominence explain 42
    """
    snapshot = described(session, target)
    if isinstance(snapshot, WorkflowSnapshot):
        _explain_workflow(session, snapshot, as_json=as_json)
        return
    found = _explanation(session, JobSnapshot(snapshot.entry))
    if as_json:
        show_json(found)
    else:
        click.echo(found["text"], nl=False)


def _explain_workflow(session: Session, workflow: WorkflowSnapshot, *, as_json: bool) -> None:
    entries = session.client.list_workflow_jobs(workflow.id, detail=True).entries
    jobs = sorted((JobSnapshot(entry) for entry in entries), key=lambda job: job.id)
    failed = [job for job in jobs if job.has_ended and not job.succeeded]
    found = [_explanation(session, job) for job in failed[:_JOBS_SHOWN]]
    if as_json:
        shown = {"id": workflow.id, "status": workflow.status, "progress": workflow.progress}
        show_json({**shown, "failed": len(failed), "jobs": found})
        return
    done = ", ".join(f"{count} {name}" for name, count in workflow.progress.items())
    click.echo(f"workflow {workflow.id} is {workflow.status} ({done})")
    for each in found:
        click.echo(f"\n{each['text']}", nl=False)
    if len(failed) > len(found):
        click.echo(f"\nand {len(failed) - len(found)} more jobs failed")


def _explanation(session: Session, snapshot: JobSnapshot) -> dict[str, Any]:
    name = snapshot.entry.get("name") or "no name"
    found: dict[str, Any] = {
        "id": snapshot.id,
        "status": snapshot.status,
        "statusReason": snapshot.reason,
        "exitCodes": snapshot.exit_codes,
        "events": snapshot.events,
        "succeeded": snapshot.succeeded,
    }
    if not snapshot.has_ended or snapshot.succeeded:
        return {**found, "text": explain_job(snapshot, name, None)}
    error = failure(Job.attached(snapshot.entry, session), snapshot, name)
    cause = {"cause": type(error).__name__, "nextStep": next_step(error), "stderr": error.stderr}
    return {**found, **cause, "text": explain_job(snapshot, name, error)}


@click.command()
@as_json
@click.pass_obj
def sessions(session: Session, *, as_json: bool) -> None:
    """Show the sessions of executors that have a name.

    The driver is the program that sends a session's calls: it "runs here" or "was killed", is none when it
    has ended in good order, or is "elsewhere", on another machine, where it may run or not. CALLS are those
    that were noted; calls of an array share a workflow, whose jobs are made when they can run.

    \b
    Example:
      prominence sessions
    """
    named, unnamed = overviews(session.client)
    if as_json:
        show_json([asdict(each) for each in named])
    else:
        rows = [
            (
                each.session,
                each.driver,
                "" if each.calls is None else each.calls,
                each.jobs_queued,
                each.jobs_running,
                each.jobs_ended,
                each.stored_bytes,
                when(each.last_used),
            )
            for each in named
        ]
        headings = ("SESSION", "DRIVER", "CALLS", "QUEUED", "RUNNING", "ENDED", "BYTES", "LAST USED")
        show_table(headings, rows)
    if unnamed:
        size = sum(each.size for each in unnamed)
        note(
            f"sessions without a name: {len(unnamed)}, with {size} bytes stored; see prominence gc --dry-run"
        )


@click.command()
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=30,
    show_default=True,
    metavar="DAYS",
    help="Leave sessions that were used since.",
)
@click.option(
    "--session",
    "chosen",
    multiple=True,
    metavar="NAME",
    help="Delete only this one, whatever its age. Can be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be deleted.")
@as_json
@click.pass_obj
def gc(session: Session, *, older_than: float, chosen: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Delete objects and keys that executors have left.

    Jobs and their outputs are not touched, nor are sessions that have queued or running jobs, or a program
    that drives them. Results of function calls of a deleted session cannot be had any more.

    \b
    Example:
      prominence gc --older-than 7 --dry-run
    """
    client = session.client
    before = client.clock.time() - older_than * _DAY_S
    found = [
        each
        for each in leftovers(client)
        if not each.is_active and (each.session in chosen if chosen else (each.last_used or 0) <= before)
    ]
    look_again(client, found)
    abandoned = [each for each in found if not each.is_active and (dry_run or each.delete(client))]
    _show_leftovers(abandoned, as_json=as_json)
    note(f"sessions {'to be deleted' if dry_run else 'deleted'}: {len(abandoned)}")


def _show_leftovers(found: list[Leftovers], *, as_json: bool) -> None:
    if as_json:
        names = ("session", "last_used", "objects", "size", "keys")
        show_json([{name: getattr(each, name) for name in names} for each in found])
        return
    rows = [(each.session, when(each.last_used), len(each.objects), each.size, each.keys) for each in found]
    show_table(("SESSION", "LAST USED", "OBJECTS", "BYTES", "KEYS"), rows)
