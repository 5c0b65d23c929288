"""What futures cost: memory and threads while they are pending, requests while jobs run, time to outcomes.

Beside ``ProcessPoolExecutor`` in the same run. Each measurement is a process of its own, and has a service of
its own; a rough one is without what the local service adds to the API, and is polled as a real one is::

    python benchmarks/futures.py [RUNS]
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import psutil
import requests
from requests.adapters import HTTPAdapter

from prominence import ProminenceClient, Session, Settings
from prominence.local import daemon
from prominence.settings import LocalSettings
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prominence_executors import ProminenceFuture

R = TypeVar("R")
Kind = Literal["function", "command"]
KINDS: tuple[Kind, ...] = ("function", "command")

PENDING = 1000
WARM = 50
JOBS = 500
JOB_S = 5
CPUS = 64
ROUND_TRIPS = 20
ITEMS = (500, 5000)
SETTLED_S = 1.0
NO_LIMIT = 1_000_000


def in_new_process(work: Callable[..., R], *args: Any) -> R:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


@contextmanager
def service(cpus: int, *, is_rough: bool = False) -> Iterator[Session]:
    with tempfile.TemporaryDirectory() as directory:
        local = LocalSettings(Path(directory), cpus, float(cpus))
        options = [f"--cpus={cpus}", f"--memory={cpus}", *(["--rough"] if is_rough else [])]
        command = [sys.executable, "-P", "-m", "prominence.local", directory, *options]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            while (endpoint := daemon.running(local)) is None:
                time.sleep(0.02)
            if is_rough:
                headers = {"Authorization": f"Bearer {endpoint.token}"}
                no_harm = {"rates": {}, "seed": 0}
                requests.put(f"{endpoint.url}/local/rough", json=no_harm, headers=headers, timeout=10)
            with (
                ProminenceClient(settings=Settings(url=None, token=None, local=local)) as client,
                Session(client=client) as session,
            ):
                yield session
        finally:
            daemon.stop(local)
            process.wait()


def submit(executor: ProminenceExecutor, kind: Kind, seconds: int) -> ProminenceFuture[Any]:
    return executor.submit(time.sleep, seconds) if kind == "function" else executor.submit(f"sleep {seconds}")


class Pending(NamedTuple):
    traced: float
    resident: float
    threads: int


def while_pending(send: Callable[[], Future[Any]], settle: Callable[[list[Future[Any]]], None]) -> Pending:
    """What futures take that nothing becomes of."""
    settle([send() for _ in range(WARM)])
    process, found = psutil.Process(), []
    for is_traced in (False, True):
        gc.collect()
        if is_traced:
            tracemalloc.start()
        resident, traced = process.memory_info().rss, tracemalloc.get_traced_memory()[0]
        futures = [send() for _ in range(PENDING)]
        settle(futures)
        gc.collect()
        resident, traced = process.memory_info().rss - resident, tracemalloc.get_traced_memory()[0] - traced
        found.append((resident / PENDING, traced / PENDING))
    return Pending(found[1][1], found[0][0], threading.active_count())


def while_pending_in_pool() -> Pending:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(time.sleep, 0).result()
        blocked = pool.submit(time.sleep, 3600)
        found = while_pending(lambda: pool.submit(time.sleep, 0), lambda _: time.sleep(SETTLED_S))
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in psutil.Process().children():
            worker.kill()
        blocked.exception()
    return found


def while_pending_here(kind: Kind, is_sent: bool) -> Pending:
    def settle(futures: list[Any]) -> None:
        while is_sent and not all(future.job_id for future in futures):
            time.sleep(0.05)
        time.sleep(SETTLED_S)

    with service(1) as session:
        executor = ProminenceExecutor(NO_LIMIT if is_sent else 1, session=session, on_exit="cancel")
        executor.submit("sleep 3600")
        with executor:
            return while_pending(lambda: submit(executor, kind, 0), settle)


class Running(NamedTuple):
    requests: Counter[str]
    cpu_s: float
    elapsed_s: float


def while_running(kind: Kind, is_rough: bool) -> Running:
    """What the driver does for jobs from submission to outcome."""
    counted: Counter[str] = Counter()
    send = HTTPAdapter.send

    def counting(
        adapter: HTTPAdapter, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        path = str(request.path_url).partition("?")
        parts = [part for part in path[0].removeprefix("/prominence/v1").split("/") if part]
        counted[f"{request.method} {'/'.join(parts[:1])}"] += 1
        return send(adapter, request, **options)

    with service(CPUS, is_rough=is_rough) as session, ProminenceExecutor(session=session) as executor:
        submit(executor, kind, 0).result()
        HTTPAdapter.send = counting  # type: ignore[assignment,method-assign]
        cpu, begin = time.process_time(), time.perf_counter()
        for future in [submit(executor, kind, JOB_S) for _ in range(JOBS)]:
            future.result()
        return Running(counted, time.process_time() - cpu, time.perf_counter() - begin)


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def times(executor: Executor, chunk_sizes: tuple[Any, ...]) -> dict[str, float]:
    executor.submit(abs, 1).result()
    trips = [seconds(lambda: executor.submit(abs, 1).result()) for _ in range(ROUND_TRIPS)]
    found = {"one call": statistics.median(trips)}
    for items in ITEMS:
        for size in chunk_sizes:
            name = f"map of {items}, chunksize {size}"
            found[name] = seconds(lambda: list(executor.map(abs, range(items), chunksize=size)))  # noqa: B023
    return found


def times_in_pool() -> dict[str, float]:
    with ProcessPoolExecutor() as pool:
        return times(pool, (1,))


def times_here() -> dict[str, float]:
    with service(os.cpu_count() or 1) as session, ProminenceExecutor(session=session) as executor:
        return times(executor, (1, "auto"))


def print_pending(runs: int) -> None:
    found = {"ProcessPoolExecutor": [in_new_process(while_pending_in_pool) for _ in range(runs)]}
    for kind in KINDS:
        for is_sent in (False, True):
            name = f"{kind}, {'sent' if is_sent else 'not sent yet'}"
            found[name] = [in_new_process(while_pending_here, kind, is_sent) for _ in range(runs)]
    print(f"{PENDING} pending, median of {runs}{'bytes each':>14}{'ratio':>7}{'resident':>10}{'threads':>9}")
    first: float | None = None
    for name, each in found.items():
        traced, resident, threads = (statistics.median(column) for column in zip(*each, strict=True))
        first = first or traced
        print(f"{name:28}{traced:>15.0f}{traced / first:>7.2f}{resident:>10.0f}{threads:>9.0f}", flush=True)


def print_running() -> None:
    print(
        f"\n{JOBS} jobs of {JOB_S} s, {CPUS} at a time{'requests per job':>18}{'CPU s':>7}{'elapsed s':>11}"
    )
    for is_rough in (False, True):
        for kind in KINDS:
            found = in_new_process(while_running, kind, is_rough)
            name = f"{kind}s, {'a rough' if is_rough else 'the local'} service"
            each = found.requests.total() / JOBS
            print(f"{name:32}{each:>16.2f}{found.cpu_s:>8.1f}{found.elapsed_s:>11.1f}")
            told = ", ".join(f"{number} {what}" for what, number in found.requests.most_common())
            print(f"  {told}", flush=True)


def print_times() -> None:
    ours, pool = in_new_process(times_here), in_new_process(times_in_pool)
    print(f"\n{'':32}{'here ms':>10}{'pool ms':>10}")
    for name, time_s in ours.items():
        beside = f"{pool[name] * 1e3:>10.1f}" if name in pool else ""
        print(f"{name:32}{time_s * 1e3:>10.1f}{beside}")


def main(runs: int) -> None:
    print_pending(runs)
    print_running()
    print_times()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
