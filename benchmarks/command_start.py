"""What the `prominence` command takes to start, beside that of the public client 0.21.

Each run is a fresh process, the two in turn, against one local service that runs already::

    python benchmarks/command_start.py [RUNS]
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from public_client import PUBLIC_CLIENT, install_public_client

from prominence.local import daemon
from prominence.settings import LocalSettings

VERBS = ("--version", "list")


def cpu_and_wall_ms(program: Path, verb: str, environment: dict[str, str]) -> tuple[float, float]:
    """CPU and elapsed milliseconds of the whole process."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([str(program), verb], env=environment, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu * 1e3, wall * 1e3


def measured(programs: dict[str, Path], verb: str, environment: dict[str, str], runs: int) -> None:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for each in range(runs + 1):
        for name, program in programs.items():
            found = cpu_and_wall_ms(program, verb, environment)
            if each:  # the first compiles bytecode
                times[name].append(found)
    medians = [[statistics.median(column) for column in zip(*each, strict=True)] for each in times.values()]
    print(f"prominence {verb}, median of {runs}{'CPU ms':>20}{'elapsed ms':>14}")
    for name, (cpu, wall) in zip(programs, medians, strict=True):
        print(f"{name:20}{cpu:>32.1f}{wall:>14.1f}")
    ours, theirs = medians
    print(f"{'ratio':20}{ours[0] / theirs[0]:>32.2f}{ours[1] / theirs[1]:>14.2f}\n")


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        theirs = install_public_client(directory / "public") / "prominence"
        programs = {"prominence here": Path(sys.executable).with_name("prominence"), PUBLIC_CLIENT: theirs}
        local = LocalSettings(directory / "service")
        endpoint = daemon.ensure(local)
        try:
            environment = {
                "PATH": os.defpath,
                "HOME": name,
                "PROMINENCE_URL": endpoint.url,
                "PROMINENCE_TOKEN": endpoint.token,
            }
            for verb in VERBS:
                measured(programs, verb, environment, runs)
        finally:
            daemon.stop(local)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
