"""``prominence plugins``."""

from __future__ import annotations

from dataclasses import asdict

import click

from prominence.cli.output import as_json, note, show_json, show_table


@click.command()
@as_json
def plugins(*, as_json: bool) -> None:
    """List plugins and their hooks, and what failed to load.

    \b
    Example:
      prominence plugins
    """
    from prominence.plugins import plugins as installed

    found = installed()
    if as_json:
        loaded = [asdict(each) for each in found.loaded]
        failures = [asdict(each) for each in found.failures]
        show_json({"loaded": loaded, "failures": failures, "disabled": found.disabled})
        return
    rows = [(each.name, each.distribution, ", ".join(each.hooks)) for each in found.loaded]
    show_table(("PLUGIN", "FROM", "HOOKS"), rows)
    if found.disabled:
        note(f"prominence: PROMINENCE_DISABLE_PLUGINS leaves out {', '.join(found.disabled)}")
    for failure in found.failures:
        note(f"prominence: plugin {failure.name} of {failure.distribution} is not used: {failure.cause}")
