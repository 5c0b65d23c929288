"""Help texts: complete, and the documentation made of them up to date."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from prominence.cli import prominence
from prominence.cli.verbs import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.command import Command

DOCS = Path(__file__).parents[2] / "docs"


def verbs(group: click.Group, *names: str) -> Iterator[tuple[str, click.Command]]:
    """All verbs that are our own, with those of groups."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join([*names, name]), command
        if isinstance(command, click.Group):
            yield from verbs(command, *names, name)


VERBS = dict(verbs(prominence))


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_says_what_it_does_and_shows_an_example(name: str) -> None:
    command = VERBS[name]
    text = command.help or ""

    assert len(text.splitlines()[0]) <= 66, "the first line is listed in one line"
    assert f"prominence {name}" in text.partition("Example")[2]


@pytest.mark.parametrize("name", VERBS)
def test_every_option_says_what_it_is_for(name: str) -> None:
    options = [each for each in VERBS[name].params if isinstance(each, click.Option)]

    assert [option.name for option in options if not option.help] == []


def test_the_list_of_verbs_has_a_line_for_each(command: Command) -> None:
    lines = command("--help").stdout.splitlines()

    for section in SECTIONS.values():
        for verb in section:
            assert any(line.split()[:1] == [verb] for line in lines), verb


def test_the_page_is_made_of_the_help_texts_as_they_are() -> None:
    made = runpy.run_path(str(DOCS / "command_line.py"))

    assert made["page"]() == (DOCS / "command-line.md").read_text(), "run python docs/command_line.py"
