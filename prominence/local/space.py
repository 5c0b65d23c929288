"""How much room files take."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def bytes_below(directory: Path) -> int:
    """The size of all files in a directory and below it; what vanishes meanwhile does not count."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - there may be many
            except FileNotFoundError:
                continue
    return total
