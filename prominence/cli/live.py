"""``prominence exec`` and ``snapshot``: in running jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from prominence.cli.arguments import ID
from prominence.cli.output import as_json, note, show_json
from prominence.job import Job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prominence.session import Session


@click.command("exec", context_settings={"allow_interspersed_args": False})
@as_json
@click.argument("id", type=ID)
@click.argument("command", nargs=-1, required=True)
@click.pass_obj
def exec_(session: Session, id: int, command: Sequence[str], *, as_json: bool) -> None:  # noqa: A002
    """Run a command beside a running job; prints its output.

    It runs in the job's scratch directory, outside of the container. No word of it may contain a comma.
    Options come before ID.

    \b
    Example:
      prominence exec 42 tail -n 3 progress.log
      prominence exec 42 "ls -l"
    """
    given = command[0] if len(command) == 1 else list(command)
    output = Job(id, session=session).execute(given)
    if as_json:
        show_json({"id": id, "output": output})
    else:
        click.echo(output, nl=not output.endswith("\n"))


@click.command()
@click.option(
    "-o", "--output", default="snapshot.tgz", show_default=True, metavar="FILE", help="Archive to write."
)
@as_json
@click.argument("id", type=ID)
@click.argument("path")
@click.pass_obj
def snapshot(session: Session, id: int, path: str, *, output: str, as_json: bool) -> None:  # noqa: A002
    """Fetch a file or directory of a running job, in a .tgz archive.

    PATH is below the job's scratch directory, or a mountpoint of an artifact.

    \b
    Example:
      prominence snapshot 42 results
    """
    saved = Job(id, session=session).get_snapshot(path, output)
    note(f"{path} of job {id} was saved in {saved}")
    if as_json:
        show_json({"id": id, "path": str(saved)})
