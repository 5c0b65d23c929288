"""Which process drives a session, so that its end is seen on the same machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Final

from prominence.local.machine.hardware import boot_id

_PROCESSES: Final = Path("/proc/self/ns/pid")
_TOLERANCE_S: Final = 1.0  # start times are told in ticks, from a boot time that is rounded


def this_process() -> dict[str, Any]:
    import psutil

    return {"machine": _machine(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def is_alive(process: dict[str, Any]) -> bool | None:
    """Whether a process still runs; None for one of another machine."""
    import psutil

    if process["machine"] != _machine():
        return None
    try:
        found = psutil.Process(process["pid"])
        is_same = abs(found.create_time() - process["started"]) <= _TOLERANCE_S
        return is_same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def host_of(process: dict[str, Any]) -> str:
    return str(process["machine"]).partition(" ")[0]


def _machine() -> str:
    """Differs between machines, boots, and containers that number their processes for themselves."""
    numbering = str(_PROCESSES.readlink()) if _PROCESSES.is_symlink() else ""
    return f"{socket.gethostname()} {boot_id()} {numbering}".strip()
