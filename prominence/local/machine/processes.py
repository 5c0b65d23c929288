"""Everything about operating-system processes: descendants, ending them, recognising them later."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
_REAP_INTERVAL_S: Final = 0.02
_MOST_LOOKS: Final = 50
_CLOCK_TICK_S: Final = 1.0  # start times of processes are a little coarse


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parents end.

    So a task that forks twice and calls setsid is still found. Linux only; elsewhere such processes
    are recognised by their environment alone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[psutil.Process]:
    """All living processes below this one; those that ended but were not reaped are left out."""
    found = psutil.Process().children(recursive=True)
    return [process for process in found if _is_alive(process)]


def end_descendants(grace: float, reap: Callable[[], bool]) -> None:
    """TERM to every descendant, KILL after ``grace`` seconds, until none is left.

    ``reap`` collects ended children and says whether any child is left: as orphans come to this
    process, no child means no descendant. Descendants that appear meanwhile get the same.
    """
    deadline = time.monotonic() + grace
    asked: set[int] = set()
    while reap():
        left = descendants()
        if time.monotonic() >= deadline:
            _signal(left, signal.SIGKILL)
        else:
            _signal([process for process in left if process.pid not in asked], signal.SIGTERM)
            asked.update(process.pid for process in left)
        time.sleep(_REAP_INTERVAL_S)


def end_leftovers(variable: str, root: str, sessions: set[int], since: float) -> int:
    """KILL what the ended supervisor of the attempt in ``root`` left behind; returns how many processes.

    Those are processes of this user that carry ``variable=root`` in their environment, work below
    ``root``, or belong to one of the sessions and begun after ``since`` (Unix epoch), and all their
    descendants. It looks again until there are none.
    """
    ended: set[int] = set()
    for _ in range(_MOST_LOOKS):
        found = [
            each for each in psutil.process_iter() if _is_leftover(each, variable, root, sessions, since)
        ]
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child for each in found for child in each.children(recursive=True)]
        if not found:
            break
        _signal(found, signal.SIGKILL)
        ended |= {process.pid for process in found}
        psutil.wait_procs(found, timeout=_REAP_INTERVAL_S)
    return len(ended)


def _is_leftover(process: psutil.Process, variable: str, root: str, sessions: set[int], since: float) -> bool:
    try:
        if process.uids().real != os.getuid() or not _is_alive(process):
            return False
        if process.create_time() >= since - _CLOCK_TICK_S and os.getsid(process.pid) in sessions:
            return True
        return process.environ().get(variable) == root or process.cwd().startswith(f"{root}/")
    except (psutil.Error, ProcessLookupError, PermissionError):
        return False


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
