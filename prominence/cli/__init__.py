"""The ``prominence`` command: verbs by subject, each in a module that is imported when it is used."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import click

from prominence.cli.verbs import VerbGroup
from prominence.exceptions import ServerBugWarning
from prominence.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "prominence"]


@click.group(
    cls=VerbGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`prominence VERB --help` has the options of a verb and an example.",
)
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def prominence(context: click.Context) -> None:
    """Run containers as jobs on a PROMINENCE service, or on this machine.

    PROMINENCE_URL and PROMINENCE_TOKEN (or `prominence login`) say which service; without them jobs run
    on this machine. Ids and results go to standard output, messages to standard error.

    Exit codes: 0 success, 1 a job failed, 2 wrong use, 3 trouble with the service or the access to it.
    """
    from prominence.cli.session import CommandSession

    context.obj = context.with_resource(CommandSession())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with these arguments (default: the program's own) and end the program.

    Exit codes: 0 success, 1 a job failed, 2 wrong use, 3 trouble with the service or its access, 130 Ctrl-C.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.simplefilter("always", ServerBugWarning)
        prominence.main(arguments, prog_name="prominence")


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"prominence: warning: {message}", err=True)
