"""``prominence local``: the embedded service, by hand."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import click
from rich.filesize import decimal

from prominence.client.api import ProminenceClient
from prominence.exceptions import LocalServiceError, ProminenceError
from prominence.local import daemon
from prominence.local.directory import StateDirectory
from prominence.local.trees import bytes_below
from prominence.settings import RuntimeSettings, Settings
from prominence.version import __version__

if TYPE_CHECKING:
    from prominence.settings import LocalSettings

_NOT_RUNNING: Final = 3
_IDS_PER_REQUEST: Final = 100
_ACTIVE: Final = ("idle", "running")
_JOBS_HELP: Final = "Delete all queued and running jobs and workflows first."


class _Unfinished(NamedTuple):
    """Ids of what is queued or runs."""

    jobs: list[int]
    workflows: list[int]

    def __bool__(self) -> bool:
        return bool(self.jobs or self.workflows)

    def __str__(self) -> str:
        workflows = f" and {len(self.workflows)} workflows" if self.workflows else ""
        return f"{len(self.jobs)} unfinished jobs{workflows}"


@click.group()
def local() -> None:
    """The service on this machine.

    It is started when it is first needed and ends after 10 idle minutes; these commands do the same by
    hand. PROMINENCE_LOCAL_CPUS and PROMINENCE_LOCAL_MEMORY (GB) set its capacity when it starts,
    PROMINENCE_LOCAL_DIR where it keeps its files.

    \b
    Example:
      prominence local status
    """


@local.command()
def start() -> None:
    """Start the service, if it does not run; prints its URL.

    \b
    Example:
      PROMINENCE_LOCAL_CPUS=8 prominence local start
    """
    click.echo(daemon.ensure(_settings()).url)


@local.command()
@click.option("--jobs", is_flag=True, help=_JOBS_HELP)
def stop(jobs: bool) -> None:
    """End the service.

    Jobs that run go on, and the next service takes them over, unless they are deleted.

    \b
    Example:
      prominence local stop --jobs
    """
    settings = _settings()
    done = _end_jobs_before_stop(settings, wanted=jobs)
    was_running = daemon.stop(settings)
    click.echo(f"stopped{done}" if was_running else "not running", err=True)


def _end_jobs_before_stop(settings: LocalSettings, *, wanted: bool) -> str:
    """What became of unfinished jobs, as the end of a sentence; they only hold a stop up if they must end."""
    try:
        if daemon.running(settings) is None:
            return ""
        with _client(settings) as client:
            active = _unfinished(client)
            if wanted:
                _delete(client, active)
    except ProminenceError as error:
        if wanted:
            raise
        return f"; its unfinished jobs go on, but could not be counted: {error}"
    return f"; {active} {'deleted' if wanted else 'left to go on'}" if active else ""


@local.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> None:
    """Show the running service and how many jobs it has.

    The exit code is 3 when there is none.

    \b
    Example:
      prominence local status --json
    """
    settings = _settings()
    endpoint = daemon.running(settings)
    if endpoint is None:
        click.echo(f"not running (state directory {settings.directory})", err=True)
        sys.exit(_NOT_RUNNING)
    with _client(settings) as client:
        states = Counter(job["status"] for job in client.list_jobs().entries)
    shown = {
        **asdict(endpoint),
        "library": __version__,
        "directory": str(settings.directory),
        "running": states["running"],
        "queued": states["idle"],
    }
    del shown["token"], shown["files_key"]
    sizes = _sizes(StateDirectory(settings.directory))
    if as_json:
        click.echo(json.dumps({**shown, "bytes": sizes}))
    else:
        click.echo("\n".join(f"{key}: {shown[key]}" for key in shown))
        click.echo(f"disk: {', '.join(f'{what} {decimal(size)}' for what, size in sizes.items())}")
    if (notice := daemon.version_notice(endpoint)) is not None:
        click.echo(f"prominence: {notice}", err=True)


def _sizes(state: StateDirectory) -> dict[str, int]:
    """Bytes of what the service keeps."""
    kept = {
        "jobs": (state.attempts, state.snapshots),
        "uploads": (state.objects,),
        "images": (state.images,),
    }
    return {what: sum(map(bytes_below, directories)) for what, directories in kept.items()}


@local.command()
def url() -> None:
    """Print the URL of the running service.

    The exit code is 3 when there is none.

    \b
    Example:
      prominence local url
    """
    endpoint = daemon.running(_settings())
    if endpoint is None:
        click.echo("not running", err=True)
        sys.exit(_NOT_RUNNING)
    click.echo(endpoint.url)


@local.command()
def serve() -> None:
    """Run the service in the foreground.

    Its log goes to standard error, and Ctrl-C ends it; jobs go on. Unlike one that is started on demand it
    has the environment of this shell.

    \b
    Example:
      prominence local serve
    """
    command = daemon.command(_settings())
    os.execv(command[0], command)  # noqa: S606 - our own interpreter


@local.command()
@click.option("--jobs", is_flag=True, help=_JOBS_HELP)
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(jobs: bool, yes: bool) -> None:
    """Delete all jobs, outputs, uploads and keys.

    Refused while jobs are queued or run, unless --jobs deletes them.

    \b
    Example:
      prominence local reset --yes
    """
    settings = _settings()
    if not settings.directory.is_dir():
        click.echo(f"there is nothing in {settings.directory}", err=True)
        return
    if not yes and not click.confirm(f"Delete everything in {settings.directory}?", err=True):
        click.echo("nothing was deleted", err=True)
        return
    _end_jobs_before_reset(settings, wanted=jobs)
    daemon.stop(settings)
    daemon.erase(settings)
    click.echo(f"deleted everything in {settings.directory}", err=True)


def _end_jobs_before_reset(settings: LocalSettings, *, wanted: bool) -> None:
    """Delete unfinished jobs where that is wanted, else fail if there are any."""
    try:
        daemon.ensure(settings)
    except LocalServiceError as error:  # a damaged database is what a reset is for
        click.echo(f"unfinished jobs cannot be looked for: {error}", err=True)
        return
    with _client(settings) as client:
        active = _unfinished(client)
        if active and not wanted:
            raise click.ClickException(f"there are {active}: end them, or use --jobs")
        _delete(client, active)


@local.command()
def env() -> None:
    """Print shell lines that set its URL and token.

    Starts the service if need be. It ends after 10 idle minutes all the same, and then these lines are of
    no use any more.

    \b
    Example:
      eval "$(prominence local env)"
    """
    endpoint = daemon.ensure(_settings())
    click.echo(f"export PROMINENCE_URL={shlex.quote(endpoint.url)}")
    click.echo(f"export PROMINENCE_TOKEN={shlex.quote(endpoint.token)}")


def _unfinished(client: ProminenceClient) -> _Unfinished:
    jobs, workflows = client.list_jobs().entries, client.list_workflows().entries
    return _Unfinished(
        *([each["id"] for each in found if each["status"] in _ACTIVE] for found in (jobs, workflows))
    )


def _delete(client: ProminenceClient, unfinished: _Unfinished) -> None:
    for ids, delete in (
        (unfinished.workflows, client.delete_workflows),
        (unfinished.jobs, client.delete_jobs),
    ):
        for begin in range(0, len(ids), _IDS_PER_REQUEST):
            delete(ids[begin : begin + _IDS_PER_REQUEST])


def _client(settings: LocalSettings) -> ProminenceClient:
    """A client of the service that runs, whatever runtime the next one is to have."""
    local = replace(settings, runtime=RuntimeSettings())
    return ProminenceClient(settings=Settings(url=None, token=None, local=local))


def _settings() -> LocalSettings:
    return Settings.from_environment(url="local").local
