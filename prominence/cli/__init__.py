"""The ``prominence`` command."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from prominence.cli.local import local
from prominence.cli.login import login, register
from prominence.exceptions import InvalidDescription, ProminenceError
from prominence.plugins import plugins
from prominence.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

WRONG_USE: Final = 2
SERVICE_TROUBLE: Final = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def prominence() -> None:
    """Jobs on a PROMINENCE service, or on this machine."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with these arguments (default: the program's own) and end the program.

    Exit codes: 0 success, 1 a job failed, 2 wrong use, 3 trouble with the service or its access.
    """
    for command in (local, login, register):
        prominence.add_command(command)
    for commands in plugins().hook.prominence_commands():
        for command in commands:
            if command.name is not None and command.name not in prominence.commands:
                prominence.add_command(command)
    try:
        prominence.main(arguments, prog_name="prominence")
    except ProminenceError as error:
        click.echo(f"prominence: {error}", err=True)
        sys.exit(WRONG_USE if isinstance(error, InvalidDescription) else SERVICE_TROUBLE)
