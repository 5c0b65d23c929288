"""How much memory this process's descendants use, read from the system often and cheaply."""

from __future__ import annotations

import os
import re
import resource
from typing import Final

import psutil

_PAGE_BYTES: Final = resource.getpagesize()
_HAS_CHILDREN_FILES: Final = os.path.exists(f"/proc/self/task/{os.getpid()}/children")  # noqa: PTH110 - once, early
_PROPORTIONAL: Final = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)


def tree_usage(exact_above: float) -> int:
    """Bytes of memory of all descendants together, as they are now.

    The sum of their resident sets counts pages that they share once for each. Where that comes to more
    than ``exact_above``, shared pages are divided among their users, which takes the system longer.
    """
    pids = _descendants(os.getpid())
    resident = sum(map(_resident, pids))
    return resident if resident <= exact_above else sum(map(_proportional, pids))


def _descendants(pid: int) -> list[int]:
    """Looks at this tree alone, not at every process of the machine, where the system allows it."""
    if not _HAS_CHILDREN_FILES:
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    found: list[int] = []
    left = [pid]
    while left:
        children = _children(left.pop())
        found += children
        left += children
    return found


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - called hundreds of times a second
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


def _resident(pid: int) -> int:
    if fields := _read(f"/proc/{pid}/statm").split():
        return int(fields[1]) * _PAGE_BYTES
    try:
        return 0 if _HAS_CHILDREN_FILES else int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(pid: int) -> int:
    found = _PROPORTIONAL.search(_read(f"/proc/{pid}/smaps_rollup"))
    return int(found[1]) * 1024 if found else _resident(pid)


def _read(path: str) -> bytes:
    """What a file of /proc says; nothing of a process that has just ended, or is another user's."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - the same
            return file.read()
    except OSError:
        return b""
