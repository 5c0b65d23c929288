"""A large array as argument and as result of a call, on the local service and in a process pool.

Both take turns, each time with an array that neither has seen; the pool's processes and the service run
already. A job is a process of its own, which first has to import numpy: that part is told apart::

    python benchmarks/large_data.py [MEGABYTES [RUNS]]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prominence import Session, Settings
from prominence.local import daemon
from prominence.settings import LocalSettings
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Work = Callable[[NDArray[np.float64]], object]


def argument(array: NDArray[np.float64]) -> float:
    return float(array[-1])


def result(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.full(round(array[0]), array[1])


def both(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return array + 1


def seconds(executor: Executor, work: Work, array: NDArray[np.float64]) -> float:
    begin = time.perf_counter()
    executor.submit(work, array).result()
    return time.perf_counter() - begin


def numpy_ms() -> float:
    """A new interpreter with numpy, less one without."""
    times = {}
    for code in ("pass", "import numpy"):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times[code] = time.perf_counter() - begin
    return (times["import numpy"] - times["pass"]) * 1e3


def measure(executors: dict[str, Executor], megabytes: int, runs: int) -> None:
    random = np.random.default_rng(1)
    length = megabytes * 1_000_000 // 8
    arguments: dict[str, tuple[Work, Callable[[], NDArray[np.float64]]]] = {
        "a call of nothing large": (argument, lambda: random.random(2)),
        f"{megabytes} MB as argument": (argument, lambda: random.random(length)),
        f"{megabytes} MB as result": (result, lambda: np.array([length, random.random()])),
        f"{megabytes} MB as both": (both, lambda: random.random(length)),
    }
    print(f"median of {runs}{''.join(f'{name:>20}' for name in executors)}{'ratio':>8}")
    for what, (work, make) in arguments.items():
        times: dict[str, list[float]] = {name: [] for name in executors}
        for each in range(runs + 1):
            for name, executor in executors.items():
                found = seconds(executor, work, make())
                if each:  # the first one warms up
                    times[name].append(found)
        medians = [statistics.median(each) for each in times.values()]
        shown = "".join(f"{median * 1e3:>17.0f} ms" for median in medians)
        print(f"{what:25}{shown}{medians[0] / medians[1]:>8.2f}", flush=True)


def main(megabytes: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        local = LocalSettings(Path(directory), 4)
        daemon.ensure(local)
        try:
            with (
                Session(Settings(url=None, token=None, local=local)) as session,
                ProminenceExecutor(session=session) as ours,
                ProcessPoolExecutor(1) as pool,
            ):
                measure({"prominence": ours, "ProcessPoolExecutor": pool}, megabytes, runs)
                ours.shutdown()
        finally:
            daemon.stop(local)
    print(f"of each job, importing numpy: {statistics.median(numpy_ms() for _ in range(runs)):.0f} ms")


if __name__ == "__main__":
    main(*(int(each) for each in (sys.argv[1:] + ["50", "5"][len(sys.argv) - 1 :])))
