"""``prominence run`` and ``validate``: descriptions in files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from prominence.cli.interrupt import submitting
from prominence.cli.output import as_json, note, show_id, show_json
from prominence.cli.verbs import WRONG_USE
from prominence.description import check_job, check_workflow
from prominence.documents import read_document
from prominence.job import Job
from prominence.workflow import Workflow

if TYPE_CHECKING:
    from prominence.session import Session


@click.command()
@as_json
@click.argument("file", metavar="FILE|URL")
@click.pass_obj
def run(session: Session, file: str, *, as_json: bool) -> None:
    """Submit the job or workflow in a JSON or YAML file; prints its id.

    A workflow has `jobs`. An input `"file://path"` is read in, a `cmd` of several lines becomes several
    tasks, or a script if it begins with #!. The file `-` is standard input.

    \b
    Example:
      prominence run sweep.yaml
    """
    document = _read(session, file)
    made: type[Job | Workflow] = Workflow if "jobs" in document else Job
    life = made.from_dict(document, session)
    with submitting():
        one = life.create()
    note(f"{made.__name__.lower()} {one} was created")
    show_id(one, as_json=as_json)


@click.command()
@as_json
@click.argument("file", metavar="FILE|URL")
@click.pass_obj
@click.pass_context
def validate(context: click.Context, session: Session, file: str, *, as_json: bool) -> None:
    """Check a JSON or YAML file as `run` does, and send nothing.

    What services refuse is an error; what only some of them choke on is a warning.

    \b
    Example:
      prominence validate sweep.yaml
    """
    document = _read(session, file)
    check = check_workflow if "jobs" in document else check_job
    violations = list(check(document))
    refused = [violation for violation in violations if violation.kind == "invalid"]
    if as_json:
        show_json({"valid": not refused, "violations": [asdict(each) for each in violations]})
    else:
        for each in violations:
            how = "error" if each.kind == "invalid" else "warning"
            click.echo(f"{how}: {each.field} = {each.value!r}: {each.rule} ({each.message})")
        note(f"{file} is {'not ' if refused else ''}a valid {'workflow' if 'jobs' in document else 'job'}")
    if refused:
        context.exit(WRONG_USE)


def _read(session: Session, source: str) -> dict[str, Any]:
    return read_document(source, session.client.download)
