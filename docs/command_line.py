"""Make ``docs/command-line.md`` from the help texts of the command::

python docs/command_line.py
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prominence.cli import prominence

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).with_name("command-line.md")
WIDTH = 100
HEAD = """# The `prominence` command

```sh
job=$(prominence create --cpus 2 alpine "sh -c 'echo hello'")
prominence logs -f "$job"
prominence wait "$job"
```

Ids and results go to standard output, messages to standard error; `--json` prints JSON where something is
shown. Colours and progress appear on terminals only. Ctrl-C never ends a job: what waits says how to come
back to it, and ends with 130.

| exit code | meaning |
| --- | --- |
| 0 | success |
| 1 | a job failed, or an output was not stored |
| 2 | wrong use: options, descriptions and files that cannot be read |
| 3 | trouble with the service or the access to it; a wait whose time is up |

`prominence submit` ends with the command's own exit code where there is one.

`from prominence.cli import main; main(["list"])` runs it from a program; it ends the program as the command
does.

This page is made from the help texts by `python docs/command_line.py`.
"""


def page() -> str:
    """The page that belongs to the command as it is."""
    settings = {**prominence.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(prominence, info_name="prominence", **settings)
    return "\n".join([HEAD, *_texts(prominence, context, "prominence")])


def _texts(command: click.Command, context: click.Context, title: str) -> Iterator[str]:
    yield f"## {title}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        verb = command.get_command(context, name)
        if verb is not None:
            yield from _texts(verb, click.Context(verb, parent=context, info_name=name), f"{title} {name}")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
