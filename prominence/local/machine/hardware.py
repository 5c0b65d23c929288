"""What this machine is: its boot, processors and memory."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import psutil

from prominence.local.engine import Capacity

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    """A text that differs after every start of the machine."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"


def machine_capacity() -> Capacity:
    """The cores this process may use, and the machine's memory in whole GB (at least 1)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Capacity(cpus, max(1, psutil.virtual_memory().total // 10**9))


def cpu_description() -> dict[str, str]:
    """The processor in the API's form; empty texts where the system does not tell."""
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            found.setdefault(name.strip(), value.strip())
    except OSError:
        found = {}
    return {
        "vendor": found.get("vendor_id", ""),
        "model": found.get("model name", ""),
        "clock": found.get("cpu MHz", ""),
    }
