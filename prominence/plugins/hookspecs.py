"""Hooks of the library itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prominence.plugins.markers import hookspec

if TYPE_CHECKING:
    import click


@hookspec
def prominence_commands() -> list[click.Command]:  # type: ignore[empty-body]
    """Verbs to add to the ``prominence`` command.

    Called once, when the command starts. The verbs of all plugins are added; one that has the name of a
    verb that is there already is left out. Example::

        @hookimpl
        def prominence_commands():
            @click.command()
            def hello():
                click.echo("hello")

            return [hello]
    """
