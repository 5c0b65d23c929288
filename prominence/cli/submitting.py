"""``prominence submit``: a command that runs elsewhere as if it ran here."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import click

from prominence.cli.describing import DescribedJob, job_options
from prominence.cli.interrupt import leaving_on, submitting
from prominence.cli.output import as_json, note, show_json
from prominence.cli.verbs import JOB_FAILED
from prominence.description.task import literally
from prominence.exceptions import ProminenceError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prominence.client import Stream
    from prominence.job import Job
    from prominence.session import Session


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--image", default="alpine", show_default=True, help="Container image.")
@job_options
@as_json
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
@click.pass_context
def submit(
    context: click.Context, /, image: str, command: Sequence[str], *, as_json: bool, **options: Any
) -> None:
    """Run a command as a job, as if it ran here.

    Waits for it, passes on its output, and ends with its exit code. The words of the command are taken
    literally. Ctrl-C leaves the job running. A command that was ended by
    signal N gives 128 + N, as in a shell; a job that failed otherwise gives 1.
    With --json the output is part of what is printed at the end.

    \b
    Example:
      prominence submit --cpus 4 --input mesh.dat -- solver --threads 4 mesh.dat
    """
    session: Session = context.obj
    described = DescribedJob(session, image, literally(command), options)
    with submitting():
        job_id = described.create()
    note(f"job {job_id} was created")
    with leaving_on([job_id]):
        if not as_json:
            _pass_on_output(described.job)
        described.job.wait()
    if as_json:
        show_json(_end(described.job))
    context.exit(_exit_code(described.job))


def _end(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "status": job.status,
        "statusReason": job.status_reason,
        "exitCodes": list(job.exit_codes),
        "succeeded": job.succeeded,
        "stdout": _written(job.stdout),
        "stderr": _written(job.stderr),
    }


def _written(read: Callable[[], str]) -> str | None:
    """None where the service has nothing: a job that never ran has written nothing."""
    try:
        return read()
    except ServiceError:
        return None


def _pass_on_output(job: Job) -> None:
    errors: list[ProminenceError] = []

    def pass_on(stream: Stream) -> None:
        try:
            for piece in job.logs(follow=True, stream=stream):
                click.echo(piece, nl=False, err=stream == "stderr")
        except ProminenceError as error:
            errors.append(error)

    other = threading.Thread(target=pass_on, args=("stderr",), name="prominence-stderr", daemon=True)
    other.start()
    pass_on("stdout")
    other.join()
    if errors:
        raise errors[0]


def _exit_code(job: Job) -> int:
    code = next((code for code in job.exit_codes if code), None)
    if job.status != "completed" or (code is None and not job.succeeded):
        note(f"prominence: job {job.id} {job.status}: {job.status_reason or 'no reason given'}")
    if code is None:
        return 0 if job.succeeded else JOB_FAILED
    return code if code > 0 else 128 - code
