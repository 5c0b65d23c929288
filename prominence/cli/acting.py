"""``prominence delete``, ``remove``, ``clone`` and ``rerun``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from prominence.cli.arguments import ID, Target, target, targets
from prominence.cli.interrupt import submitting
from prominence.cli.output import as_json, note, show_id, show_json
from prominence.exceptions import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prominence.session import Session


@click.command()
@as_json
@targets
@click.pass_obj
def delete(session: Session, targets: Sequence[Target], *, as_json: bool) -> None:
    """End jobs, or workflows with their jobs, queued or running.

    The exit code is 3 where there was nothing to end: it had ended before, or is not known.

    \b
    Example:
      prominence delete 42 43
      prominence delete workflow 44
    """
    was_ended = {each: each.attached(session).delete() for each in targets}
    if as_json:
        show_json([{"id": each.id, "deleted": ended} for each, ended in was_ended.items()])
    for each, ended in was_ended.items():
        if ended:
            note(f"{each} was deleted")
    _refuse([each for each, ended in was_ended.items() if not ended], "has ended before")


@click.command()
@as_json
@target
@click.pass_obj
def remove(session: Session, target: Target, *, as_json: bool) -> None:
    """Take an ended job or workflow out of the queue.

    It is there where --leave-in-queue has left it.

    \b
    Example:
      prominence remove 42
    """
    was_removed = target.attached(session).remove()
    if as_json:
        show_json({"id": target.id, "removed": was_removed})
    if was_removed:
        note(f"{target} was removed from the queue")
    _refuse([] if was_removed else [target], "is not in the queue")


@click.command()
@as_json
@target
@click.pass_obj
def clone(session: Session, target: Target, *, as_json: bool) -> None:
    """Submit the same job or workflow again; prints the new id.

    \b
    Example:
      prominence clone workflow 44
    """
    call = session.client.clone_workflow if target.kind == "workflow" else session.client.clone_job
    with submitting():
        one = call(target.id)
    note(f"{target.kind} {one} was created")
    show_id(one, as_json=as_json)


@click.command()
@as_json
@click.argument("id", type=ID)
@click.pass_obj
def rerun(session: Session, id: int, *, as_json: bool) -> None:  # noqa: A002 - the argument's name
    """Run again what failed in an ended workflow.

    Prints the id of the new workflow.

    \b
    Example:
      prominence rerun 44
    """
    with submitting():
        one = session.client.rerun_workflow(id)
    note(f"workflow {one} was created")
    show_id(one, as_json=as_json)


def _refuse(targets: Sequence[Target], why: str) -> None:
    if targets:
        names = ", ".join(map(str, targets))
        raise NotFound(f"{names} {why}, or the service does not know it")
