"""What verbs print: results to standard output, messages to standard error."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLOURS: Final = {
    "completed": "green",
    "running": "cyan",
    "failed": "red",
    "killed": "red",
    "deleted": "yellow",
}
_DAY_S: Final = 86_400

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def show_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_id(one: int, *, as_json: bool) -> None:
    if as_json:
        show_json({"id": one})
    else:
        click.echo(one)


def note(text: str) -> None:
    """A message for people, which scripts that read the standard output do not see."""
    click.echo(text, err=True)


def show_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns with headings; statuses have colours on a terminal."""
    texts = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    for row in (headings, *texts):
        cells = [_coloured(text.ljust(width), text) for text, width in zip(row, widths, strict=True)]
        click.echo("   ".join(cells).rstrip())


def when(epoch: float | None) -> str:
    """Date and time in UTC; empty where it is not known."""
    return "" if epoch is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(epoch))


def elapsed(events: Mapping[str, float], now: float) -> str:
    """How long something has run, as days+hours:minutes:seconds; empty before its start."""
    start = events.get("startTime")
    if start is None:
        return ""
    seconds = max(0, int(events.get("endTime", now) - start))
    return f"{seconds // _DAY_S}+{time.strftime('%H:%M:%S', time.gmtime(seconds % _DAY_S))}"


def _cell(value: object) -> str:
    return " ".join(str(value).split())


def _coloured(padded: str, text: str) -> str:
    return click.style(padded, fg=_COLOURS[text]) if text in _COLOURS else padded
