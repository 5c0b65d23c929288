"""What a long queue costs on the local service: time per submission and status request, and memory.

A service of its own, in which a sleeping job holds memory that everything else waits for::

    python benchmarks/local_queue.py [JOBS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

import psutil

from prominence import ProminenceClient, Settings
from prominence.local import daemon
from prominence.settings import LocalSettings

if TYPE_CHECKING:
    from collections.abc import Callable

SLICE = 1000
URGENT = 200
ASKED_FOR = 100
REQUESTS = 20
INSTANCES = 10_000


def job(command: str, **fields: Any) -> dict[str, Any]:
    resources = {"cpus": 1, "memory": fields.pop("memory", 4), "disk": 1, "nodes": 1}
    task = {"image": "none", "runtime": "singularity", "cmd": command}
    return {"resources": resources, "tasks": [task], "labels": {"batch": "queue"}, **fields}


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def median_ms(times: list[float]) -> float:
    return statistics.median(times) * 1e3


def measure_queue(client: ProminenceClient, service: psutil.Process, jobs: int) -> None:
    random, ids = Random(1), []
    print(f"{'queued':>8} {'submit/job':>12} {'100 ids':>10} {'memory':>9}")
    while len(ids) < jobs:
        times = []
        for _ in range(SLICE):
            begin = time.perf_counter()
            ids.append(client.create_job(job(f"echo {len(ids)}")).id)
            times.append(time.perf_counter() - begin)
        bulk = [
            seconds(lambda: client.list_jobs(ids=random.sample(ids, min(ASKED_FOR, len(ids)))))
            for _ in range(REQUESTS)
        ]
        memory = service.memory_info().rss / 1e6
        print(
            f"{len(ids):8} {median_ms(times):9.2f} ms {median_ms(bulk):7.2f} ms {memory:6.0f} MB", flush=True
        )
    print(f"all active jobs in one answer: {seconds(client.list_jobs):.2f} s, ", end="")
    print(f"memory then {service.memory_info().rss / 1e6:.0f} MB")


def measure_urgent(client: ProminenceClient) -> None:
    """Jobs that fit beside the sleeping one, and come before all others."""

    def run() -> None:
        fields = {"memory": 1, "policies": {"priority": 2}}
        ids = [client.create_job(job("true", **fields)).id for _ in range(URGENT)]
        while any(each["status"] == "idle" for each in client.list_jobs(ids=ids[-ASKED_FOR:]).entries):
            time.sleep(0.02)

    print(f"{URGENT} urgent jobs one after the other: {seconds(run):.1f} s")


def measure_workflow(client: ProminenceClient, service: psutil.Process) -> None:
    values = {"name": "i", "values": list(range(INSTANCES))}
    factory = {"name": "f", "type": "zip", "jobs": ["each"], "parameters": [values]}
    workflow = {"name": "many", "jobs": [{"name": "each", **job("echo $i")}], "factories": [factory]}
    with Probe(client) as probe:
        begin = time.perf_counter()
        workflow_id = client.create_workflow(workflow).id
        accepted = time.perf_counter() - begin
        while len(client.list_jobs(name=f"many/each/{INSTANCES - 1}").entries) == 0:
            time.sleep(0.02)
        made = time.perf_counter() - begin
    print(f"workflow of {INSTANCES}: accepted in {accepted * 1e3:.0f} ms, all jobs made in {made:.1f} s;")
    print(f"  a status request meanwhile: {probe}; memory then {service.memory_info().rss / 1e6:.0f} MB")
    with Probe(client) as probe:
        deleted = seconds(lambda: client.delete_workflow(workflow_id))
    print(f"  deleted in {deleted * 1e3:.0f} ms; a status request meanwhile: {probe}")


class Probe:
    """Asks for one job again and again in a thread of its own, and tells how long that took."""

    def __init__(self, client: ProminenceClient) -> None:
        self._client = client
        self._times: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def __str__(self) -> str:
        return f"median {median_ms(self._times):.1f} ms, longest {max(self._times) * 1e3:.0f} ms"

    def _ask(self) -> None:
        while not self._end.wait(0.005):
            self._times.append(seconds(lambda: self._client.list_jobs(ids=[1])))


def main(jobs: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        local = LocalSettings(Path(directory), 2, 4.0)
        service = psutil.Process(daemon.ensure(local).pid)
        try:
            with ProminenceClient(settings=Settings(url=None, token=None, local=local)) as client:
                blocker = client.create_job(job("sleep 3600", memory=1)).id
                print(f"memory at first: {service.memory_info().rss / 1e6:.0f} MB")
                measure_urgent(client)
                measure_queue(client, service, jobs)
                measure_urgent(client)
                measure_workflow(client, service)
                daemon.stop(local)
                restart = seconds(lambda: daemon.ensure(local))
                print(f"restart with all of them waiting: {restart:.2f} s, ", end="")
                service = psutil.Process(daemon.ensure(local).pid)
                print(f"memory then {service.memory_info().rss / 1e6:.0f} MB")
                client.delete_job(blocker)
        finally:
            daemon.stop(local)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
