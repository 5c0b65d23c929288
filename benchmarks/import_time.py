"""What it costs to import what describes jobs, beside the public client 0.21 in an environment of its own.

Each import is a fresh interpreter, the two in turn; only the import itself is measured::

    python benchmarks/import_time.py [RUNS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from public_client import PUBLIC_CLIENT, install_public_client

STATEMENT = "from prominence import Job, Task"


def cpu_and_wall_ms(python: str, statement: str) -> tuple[float, float]:
    """CPU and elapsed milliseconds of one interpreter that executes the statement."""
    script = (
        "import time; begin = time.perf_counter(); spent = time.process_time()\n"
        f"{statement}\n"
        "print((time.process_time() - spent) * 1e3, (time.perf_counter() - begin) * 1e3)"
    )
    printed = subprocess.check_output([python, "-c", script], text=True, cwd="/", env={"PATH": os.defpath})
    cpu, wall = printed.split()
    return float(cpu), float(wall)


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        interpreters = {
            "prominence here": sys.executable,
            PUBLIC_CLIENT: str(install_public_client(Path(directory)) / "python"),
        }
        for python in interpreters.values():
            cpu_and_wall_ms(python, STATEMENT)  # bytecode is compiled once
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in interpreters}
        for _ in range(runs):
            for name, python in interpreters.items():
                times[name].append(cpu_and_wall_ms(python, STATEMENT))
    medians = {
        name: [statistics.median(column) for column in zip(*each, strict=True)]
        for name, each in times.items()
    }
    print(f"median of {runs}{'CPU ms':>22}{'elapsed ms':>14}")
    for name, (cpu, wall) in medians.items():
        print(f"{name:20}{cpu:>18.1f}{wall:>14.1f}")
    ours, theirs = medians.values()
    print(f"{'ratio':20}{ours[0] / theirs[0]:>18.2f}{ours[1] / theirs[1]:>14.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
