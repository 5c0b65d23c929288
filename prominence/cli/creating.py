"""``prominence create``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from prominence.cli.describing import DescribedJob, job_options
from prominence.cli.interrupt import submitting
from prominence.cli.output import as_json, note, show_id, show_json

if TYPE_CHECKING:
    from prominence.session import Session


@click.command()
@job_options
@click.option("--dry-run", is_flag=True, help="Print the JSON that would be sent, and send nothing.")
@as_json
@click.argument("image")
@click.argument("command", required=False)
@click.pass_obj
def create(
    session: Session, /, image: str, command: str | None, *, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Submit a job; prints its id.

    COMMAND runs in a container of IMAGE. It is one argument, so quotes are needed around several words; no
    shell sees it, so pipes need sh -c '...'.

    \b
    Example:
      prominence create --cpus 2 --input in.dat --output out.dat alpine "sort -o out.dat in.dat"
    """
    described = DescribedJob(session, image, command, options)
    if dry_run:
        described.job.validate()
        show_json({"name": described.job.name, **described.job.to_dict()})
        return
    with submitting():
        job_id = described.create()
    note(f"job {job_id} was created")
    show_id(job_id, as_json=as_json)
