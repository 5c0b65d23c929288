"""Which verbs there are, and where; how their errors become exit codes."""

from __future__ import annotations

import builtins
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click

from prominence.exceptions import InvalidDescription, JobFailedError, ProminenceError, SubmissionUncertain

if TYPE_CHECKING:
    from collections.abc import Mapping

JOB_FAILED: Final = 1
WRONG_USE: Final = 2
SERVICE_TROUBLE: Final = 3
INTERRUPTED: Final = 130  # as a shell tells of SIGINT

SECTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "Submit": {"create": "creating", "run": "running", "submit": "submitting", "validate": "running"},
    "Jobs and workflows": {
        **dict.fromkeys(("list", "describe"), "listing"),
        "wait": "waiting",
        **dict.fromkeys(("delete", "remove", "clone", "rerun"), "acting"),
    },
    "Output": {
        **dict.fromkeys(("stdout", "stderr", "logs"), "reading"),
        "download": "downloading",
        **dict.fromkeys(("exec", "snapshot"), "live"),
    },
    "Stored objects and keys": {**dict.fromkeys(("upload", "ls", "rm"), "objects"), "kv": "keys"},
    "Service": {
        **dict.fromkeys(("login", "register"), "login"),
        **dict.fromkeys(("resources", "usage"), "service"),
        "doctor": "doctor",
        "plugins": "plugins",
        "local": "local",
        "completion": "completion",
    },
}
"""Verbs by section of the help text, each with its module."""

_MODULES: Final = {verb: module for verbs in SECTIONS.values() for verb, module in verbs.items()}
_FROM_PLUGINS: Final = "From plugins"


class VerbGroup(click.Group):
    """Imports a verb's module when the verb is used, and plugins when it is none of ours."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_MODULES, *sorted(self._from_plugins(ctx))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return self._from_plugins(ctx).get(cmd_name)
        module = import_module(f"prominence.cli.{_MODULES[cmd_name]}")
        name = f"{cmd_name}_" if hasattr(builtins, cmd_name) else cmd_name
        command: click.Command = vars(module)[name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[str]] = {title: list(verbs) for title, verbs in SECTIONS.items()}
        sections[_FROM_PLUGINS] = sorted(self._from_plugins(ctx))
        for title, verbs in sections.items():
            commands = [(verb, self.get_command(ctx, verb)) for verb in verbs]
            rows = [(verb, command.get_short_help_str(70)) for verb, command in commands if command]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=12)

    def invoke(self, ctx: click.Context) -> None:
        try:
            super().invoke(ctx)
        except JobFailedError as error:
            code, text = JOB_FAILED, str(error)
        except InvalidDescription as error:
            code, text = WRONG_USE, str(error)
        except ProminenceError as error:
            code, text = SERVICE_TROUBLE, f"{error}{_how_to_look(error)}"
        except BrokenPipeError:
            raise  # who reads our output has had enough: click ends quietly
        except OSError as error:  # a file that the user named; troubles of the network are errors of ours
            code, text = WRONG_USE, str(error)
        except KeyboardInterrupt:
            code, text = INTERRUPTED, "interrupted"
        else:
            return
        click.echo(f"prominence: {text}", err=True)
        ctx.exit(code)

    def _from_plugins(self, ctx: click.Context) -> Mapping[str, click.Command]:
        """Verbs of plugins; ours come first where names are the same."""
        found: dict[str, click.Command] = ctx.meta.setdefault(__name__, {})
        if not found:
            from prominence.plugins import plugins

            for commands in plugins().hook.prominence_commands():
                for command in commands:
                    if command.name is not None and command.name not in _MODULES:
                        found.setdefault(command.name, command)
        return found


def _how_to_look(error: ProminenceError) -> str:
    """For a job or workflow that may have been accepted: how to find it."""
    if not isinstance(error, SubmissionUncertain) or error.tag is None:
        return ""
    from prominence.description.rules import SUBMISSION_LABEL

    listing = f"--constraint {SUBMISSION_LABEL}={error.tag}"
    return f"; before you submit it again, see `prominence list -a {listing}` (or `list workflows -a ...`)"
