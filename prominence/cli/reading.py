"""``prominence stdout``, ``stderr`` and ``logs``: what jobs write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from prominence.cli.arguments import ID
from prominence.cli.interrupt import leaving_on
from prominence.cli.output import as_json, show_json
from prominence.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from prominence.client import Stream
    from prominence.session import Session

_FROM_0: Final = click.IntRange(min=0)


def _arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    node = "Node of a job of several nodes, from 0 on."
    command = click.argument("instance", type=_FROM_0, required=False)(command)
    command = click.argument("job", required=False)(command)
    command = click.argument("id", type=ID)(command)
    command = as_json(command)
    return click.option("-n", "--node", type=_FROM_0, default=0, metavar="N", help=node)(command)


_tail = click.option("-t", "--tail", "follow", is_flag=True, help="Go on until the job has ended.")


@click.command()
@_arguments
@_tail
@click.pass_obj
def stdout(session: Session, /, **arguments: Any) -> None:
    """Print what a job has written to its standard output so far.

    Of a workflow, JOB names the job, and INSTANCE its number where a factory made it.

    \b
    Example:
      prominence stdout 42
      prominence stdout 44 simulate 7
    """
    _print(session, "stdout", **arguments)


@click.command()
@_arguments
@_tail
@click.pass_obj
def stderr(session: Session, /, **arguments: Any) -> None:
    """Print what a job has written to its standard error so far.

    Of a workflow, JOB names the job, and INSTANCE its number where a factory made it.

    \b
    Example:
      prominence stderr 42 --tail
    """
    _print(session, "stderr", **arguments)


@click.command()
@_arguments
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option(
    "--stderr",
    "stream",
    flag_value="stderr",
    default="stdout",
    help="The standard error instead of the output.",
)
@click.pass_obj
def logs(session: Session, /, stream: Stream, **arguments: Any) -> None:
    """Print a job's output, with -f until the job has ended.

    A job that the service starts again writes its output anew; a line in brackets says so.

    \b
    Example:
      prominence logs -f 42
    """
    _print(session, stream, **arguments)


def _print(
    session: Session,
    stream: Stream,
    *,
    id: int,  # noqa: A002 - the argument's name
    job: str | None,
    instance: int | None,
    node: int,
    follow: bool,
    as_json: bool,
) -> None:
    job_id = id if job is None else session.client.find_workflow_job(id, job, instance)
    if not (follow or as_json):
        click.echo(session.client.read_output(job_id, stream, node=node), nl=False)
        return
    with leaving_on([job_id]):
        pieces = Job(job_id, session=session).logs(follow=follow, stream=stream, node=node)
        if as_json:
            show_json({"id": job_id, stream: "".join(pieces)})
            return
        for piece in pieces:
            click.echo(piece, nl=False)
