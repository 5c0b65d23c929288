"""``prominence local``: the embedded service, by hand."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from prominence.client import ProminenceClient
from prominence.local import daemon
from prominence.settings import Settings

if TYPE_CHECKING:
    from prominence.settings import LocalSettings


@click.group()
def local() -> None:
    """The service on this machine.

    It is started when it is first needed and ends after 10 idle minutes; these commands do the same by
    hand. PROMINENCE_LOCAL_CPUS and PROMINENCE_LOCAL_MEMORY (GB) set its capacity when it starts,
    PROMINENCE_LOCAL_DIR where it keeps its files.
    """


@local.command()
def start() -> None:
    """Start the service, if it does not run; prints its URL."""
    click.echo(daemon.ensure(_settings()).url)


@local.command()
@click.option("--jobs", is_flag=True, help="Delete all queued and running jobs first.")
def stop(jobs: bool) -> None:
    """End the service. Jobs that run go on, and the next service takes them over, unless they are deleted."""
    settings = _settings()
    if daemon.running(settings) is None:
        click.echo("not running", err=True)
        return
    with _client(settings) as client:
        active = [job["id"] for job in client.list_jobs().jobs]
        if jobs and active:
            client.delete_jobs(active)
    daemon.stop(settings)
    done = "deleted" if jobs else "left to go on"
    click.echo("stopped" + (f"; {len(active)} unfinished jobs {done}" if active else ""), err=True)


@local.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> None:
    """Show the running service and how many jobs it has; the exit code is 3 when there is none."""
    settings = _settings()
    endpoint = daemon.running(settings)
    if endpoint is None:
        click.echo(f"not running (state directory {settings.directory})", err=True)
        sys.exit(3)
    with _client(settings) as client:
        states = Counter(job["status"] for job in client.list_jobs().jobs)
    shown = {
        **asdict(endpoint),
        "directory": str(settings.directory),
        "running": states["running"],
        "queued": states["idle"],
    }
    del shown["token"]
    click.echo(json.dumps(shown) if as_json else "\n".join(f"{key}: {shown[key]}" for key in shown))


@local.command()
def env() -> None:
    """Print shell lines that set its URL and token.

    Starts the service if need be. It ends after 10 idle minutes all the same, and then these lines are of
    no use any more. Example: eval "$(prominence local env)"
    """
    endpoint = daemon.ensure(_settings())
    click.echo(f"export PROMINENCE_URL={shlex.quote(endpoint.url)}")
    click.echo(f"export PROMINENCE_TOKEN={shlex.quote(endpoint.token)}")


def _client(settings: LocalSettings) -> ProminenceClient:
    return ProminenceClient(settings=Settings(url=None, token=None, local=settings))


def _settings() -> LocalSettings:
    return Settings.from_environment(url="local").local
