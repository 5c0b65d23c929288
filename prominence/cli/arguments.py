"""Kinds of arguments that several verbs share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prominence.job import Job
    from prominence.session import Session
    from prominence.workflow import Workflow

Kind = Literal["job", "workflow"]
KINDS: Final[tuple[Kind, ...]] = ("job", "workflow")


class Target(NamedTuple):
    """A job or a workflow as it is named on the command line."""

    kind: Kind
    id: int

    def attached(self, session: Session) -> Job | Workflow:
        from prominence.job import Job
        from prominence.workflow import Workflow

        made: type[Job | Workflow] = Workflow if self.kind == "workflow" else Job
        return made(self.id, session=session)

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


def pair(text: str) -> tuple[str, str]:
    """A name and its value, from ``name=value``."""
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise click.BadParameter(f"{text!r} is not of the form name=value")
    return name, value


def interval(text: str) -> list[int]:
    """Two whole numbers, from ``x,y``."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):  # noqa: PLR2004 - a pair
        raise click.BadParameter(f"{text!r} is not two whole numbers with a comma between them")
    return [int(part) for part in parts]


def amount(text: str) -> float:
    """A number, whole where it can be: many services refuse others."""
    try:
        number = float(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a number") from error
    return int(number) if number.is_integer() else number


ID: Final = click.IntRange(min=1)


def target(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments ``[job|workflow] ID``."""
    metavar = "[job|workflow] ID"
    return click.argument("target", nargs=-1, required=True, metavar=metavar, callback=_target)(command)


def targets(command: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments ``[job|workflow] ID...``."""
    metavar = "[job|workflow] ID..."
    return click.argument("targets", nargs=-1, required=True, metavar=metavar, callback=_targets)(command)


def _target(context: click.Context, parameter: click.Parameter, words: Sequence[str]) -> Target:
    found = _targets(context, parameter, words)
    if len(found) != 1:
        raise click.BadParameter("one id, please", context, parameter)
    return found[0]


def _targets(context: click.Context, parameter: click.Parameter, words: Sequence[str]) -> list[Target]:
    kind: Kind = "job"
    if words[0] in KINDS:
        kind, words = ("workflow" if words[0] == "workflow" else "job"), words[1:]
    if not words:
        raise click.BadParameter(f"the {kind}'s id is missing", context, parameter)
    return [Target(kind, ID(word, parameter, context)) for word in words]
