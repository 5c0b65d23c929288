"""Ctrl-C: jobs go on, and the user is told how to come back to them."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prominence.cli.output import note
from prominence.cli.verbs import INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prominence.cli.arguments import Kind


@contextmanager
def submitting() -> Iterator[None]:
    """End the program at Ctrl-C, saying that something may have been accepted all the same."""
    try:
        yield
    except KeyboardInterrupt:
        note("\nprominence: interrupted; it may have been accepted all the same: see prominence list -a")
        sys.exit(INTERRUPTED)


@contextmanager
def leaving_on(ids: Sequence[int], kind: Kind = "job") -> Iterator[None]:
    """End the program at Ctrl-C, saying that these go on."""
    try:
        yield
    except KeyboardInterrupt:
        named = " ".join(map(str, ids))
        which = named if kind == "job" else f"{kind} {named}"
        note(f"\nprominence: {kind} {named} {'goes' if len(ids) == 1 else 'go'} on; come back with")
        note(f"  prominence wait {which}")
        if kind == "job" and len(ids) == 1:
            note(f"  prominence logs -f {named}")
        note(f"or end {'it' if len(ids) == 1 else 'them'} with prominence delete {which}")
        sys.exit(INTERRUPTED)
