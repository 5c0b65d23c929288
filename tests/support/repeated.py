"""Jobs that a service repeats: what holds them up, and how they are lost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from support.until import until

from prominence.local.machine.files import AttemptFiles
from prominence_executors.runner.fence import VARIABLE

if TYPE_CHECKING:
    from support.service import LocalService

    from prominence_executors import ProminenceFuture


class Blocker:
    def __init__(self, service: LocalService) -> None:
        self._service = service
        self._job = service.post_job("sleep 600")
        until(lambda: service.describe(self._job)["status"] == "running")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._service.request("DELETE", f"/jobs/{self._job}")


def twin_of(service: LocalService, job_id: int, **policies: Any) -> int:
    """The same job once more, as of a request that was sent twice."""
    entry = service.describe(job_id)
    names = ("name", "labels", "tasks", "resources", "inputs", "artifacts")
    description = {name: entry[name] for name in names if entry.get(name)}
    description["outputFiles"] = [each["name"] for each in entry["outputFiles"]]
    response = service.request("POST", "/jobs", json={**description, "policies": policies})
    assert response.status_code == 201, response.text
    return int(response.json()["id"])


def sent(future: ProminenceFuture[Any]) -> int:
    return until(lambda: future.job.id)


def key_of(service: LocalService, job_id: int) -> str:
    (task,) = service.describe(job_id)["tasks"]
    return str(task["env"][VARIABLE].split()[0])


def lose_supervisor(service: LocalService, job_id: int) -> None:
    claim = until(AttemptFiles(service.state.attempts / f"{job_id}-1").claimed_by)
    os.kill(claim.pid, 9)
