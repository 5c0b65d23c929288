"""``prominence download``: what jobs have left."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from prominence.cli.arguments import target
from prominence.cli.listing import described
from prominence.cli.output import as_json, note, show_json
from prominence.cli.verbs import JOB_FAILED
from prominence.job import Job
from prominence.outputs import outputs_of
from prominence.progress import bars, drawn, on_terminal
from prominence.snapshot import JobSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prominence.cli.arguments import Target
    from prominence.outputs import Output
    from prominence.session import Session


class _Download(NamedTuple):
    job: Job
    output: Output
    path: Path

    def run(self) -> Path:
        if self.output.kind == "outputDirs":
            return self.job.get_output_directory(self.output.name, self.path)
        return self.job.get_output_file(self.output.name, self.path)


@click.command()
@click.option("--dir", "by_job", is_flag=True, help="Save in a directory for each job, named by its id.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=10,
    show_default=True,
    metavar="N",
    help="Downloads at a time.",
)
@as_json
@target
@click.pass_context
def download(
    context: click.Context, target: Target, *, by_job: bool, force: bool, concurrency: int, as_json: bool
) -> None:
    """Download the outputs of ended jobs; prints the paths.

    Directories come as .tgz archives. A file is there as a whole or not at all. The exit code is 1 where an
    output was not stored.

    \b
    Example:
      prominence download 42
      prominence download workflow 44 --dir
    """
    session: Session = context.obj
    jobs = _ended(_jobs(session, target))
    missing = [(job, output) for job in jobs for output in outputs_of(job) if not output.file_name]
    downloads = [
        _Download(
            Job.attached(job.entry, session),
            output,
            Path(str(job.id) if by_job else ".") / output.file_name,
        )
        for job in jobs
        for output in outputs_of(job)
        if output.file_name
    ]
    _check_places([download.path for download in downloads], force=force)
    paths = _run(downloads, concurrency)
    if as_json:
        show_json(
            [{"id": each.job.id, "name": each.output.name, "path": str(each.path)} for each in downloads]
        )
    else:
        for path in paths:
            click.echo(path)
    for snapshot, output in missing:
        note(f"prominence: output {output.name} of job {snapshot.id} was not stored")
    if missing:
        context.exit(JOB_FAILED)


def _jobs(session: Session, target: Target) -> list[JobSnapshot]:
    if target.kind == "job":
        return [JobSnapshot(described(session, target).entry)]
    entries = session.client.list_workflow_jobs(target.id, detail=True).entries
    return sorted((JobSnapshot(entry) for entry in entries), key=lambda job: job.id)


def _ended(jobs: Sequence[JobSnapshot]) -> list[JobSnapshot]:
    for job in jobs:
        if not job.has_ended:
            note(f"prominence: job {job.id} has not ended yet ({job.status})")
    return [job for job in jobs if job.has_ended]


def _check_places(paths: Sequence[Path], *, force: bool) -> None:
    several = [str(path) for path, count in Counter(paths).items() if count > 1]
    if several:
        raise click.UsageError(
            f"several outputs are named {', '.join(several)}: use --dir to keep them apart"
        )
    existing = [str(path) for path in paths if path.exists()]
    if existing and not force:
        raise click.UsageError(f"{', '.join(existing)} exists already: --force replaces it")


def _run(downloads: Sequence[_Download], concurrency: int) -> list[Path]:
    """The paths, once all files are there; raises what the first failed download raised."""
    for directory in {each.path.parent for each in downloads}:
        directory.mkdir(exist_ok=True)
    pool = ThreadPoolExecutor(concurrency, "prominence-download")
    try:
        with _counted(len(downloads)) as advance:
            futures = [pool.submit(each.run) for each in downloads]
            for future in as_completed(futures):
                future.result()
                advance()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _counted(total: int) -> Iterator[Callable[[], Any]]:
    if not on_terminal():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    with drawn(bars(TextColumn("downloading"), BarColumn(), MofNCompleteColumn())) as shown:
        bar = shown.add_task("", total=total)
        yield lambda: shown.advance(bar)
