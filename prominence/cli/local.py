"""``prominence local``: the embedded service, by hand."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

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
def stop() -> None:
    """End the service. Jobs that run go on, and the next service takes them over."""
    if daemon.stop(_settings()):
        click.echo("stopped", err=True)
    else:
        click.echo("not running", err=True)


@local.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> None:
    """Show the running service; the exit code is 3 when there is none."""
    settings = _settings()
    endpoint = daemon.running(settings)
    if endpoint is None:
        click.echo(f"not running (state directory {settings.directory})", err=True)
        sys.exit(3)
    shown = {**asdict(endpoint), "directory": str(settings.directory)}
    del shown["token"]
    click.echo(json.dumps(shown) if as_json else "\n".join(f"{key}: {shown[key]}" for key in shown))


@local.command()
def env() -> None:
    """Print shell lines that point other programs to the service; starts it if need be.

    Example: eval "$(prominence local env)"
    """
    endpoint = daemon.ensure(_settings())
    click.echo(f"export PROMINENCE_URL={shlex.quote(endpoint.url)}")
    click.echo(f"export PROMINENCE_TOKEN={shlex.quote(endpoint.token)}")


def _settings() -> LocalSettings:
    return Settings.from_environment(url="local").local
