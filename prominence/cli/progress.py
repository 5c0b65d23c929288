"""Progress on terminals, drawn on standard error by rich; nothing is drawn, nor imported, elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def transfer(text: str) -> Iterator[Callable[[int, int | None], None] | None]:
    """Shows bytes as they go by; None where there is no terminal."""
    if not on_terminal():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn

    with drawn(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    ) as bars:
        bar = bars.add_task(text, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


def drawn(*columns: Any) -> Any:
    """A rich progress display on standard error, which is gone when it ends."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True)


def on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
