"""Programs that are killed when they have said so much."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from support.programs import started

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from support.service import LocalService


def kill_after(service: LocalService, script: Path, words: Sequence[str], *, lines: int) -> None:
    """Start a program that uses a service, and kill it when it has said so many lines."""
    environment = {
        **os.environ,
        "PROMINENCE_URL": service.endpoint.url,
        "PROMINENCE_TOKEN": service.endpoint.token,
        "PROMINENCE_LOCAL_PYTHON": sys.executable,
        "PROMINENCE_SETTLE_WINDOW": "1",
    }
    with started(
        [sys.executable, script, *words], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as driver:
        assert driver.stdout is not None
        for _ in range(lines):
            assert driver.stdout.readline()
