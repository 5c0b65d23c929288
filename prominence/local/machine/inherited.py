"""What of the service's own environment the programs that it starts get to see."""

from __future__ import annotations

import os
from typing import Final

_FOR_TASKS: Final = ("PATH", "LANG", "LC_ALL", "TZ")


def for_tasks() -> dict[str, str]:
    """A few plain variables; nothing that could tell what else runs here."""
    return {name: os.environ[name] for name in _FOR_TASKS if name in os.environ}


def for_container_programs() -> dict[str, str]:
    """All that the service was started with: where the user's images, settings and daemons are."""
    return dict(os.environ)


def user() -> str:
    return os.environ.get("USER", "user")
