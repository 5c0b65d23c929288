"""A local service that a test starts, looks into, kills and starts again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import psutil
import requests
from support.until import until

from prominence import Settings
from prominence.local import daemon
from prominence.local.directory import StateDirectory
from prominence.settings import LocalSettings, RuntimeSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prominence.local.directory import Endpoint


class LocalService:
    """A service process with a state directory of its own.

    One that is ``rough`` is as plain as a real service; what more it does to clients is for :meth:`stir`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        cpus: int,
        memory: float,
        minute: float = 60.0,
        idle_minutes: float = 10.0,
        rough: bool = False,
        engine: str = "machine",
        retention: str = "forever",
        environment: Mapping[str, str] = MappingProxyType({}),
        runtime: RuntimeSettings | None = None,
    ) -> None:
        self.directory = directory
        self.local = LocalSettings(directory, cpus, memory, runtime=runtime or RuntimeSettings())
        self._options = [
            f"--cpus={cpus}",
            f"--memory={memory}",
            f"--minute={minute}",
            f"--idle-minutes={idle_minutes}",
            f"--engine={engine}",
            f"--runtime={json.dumps(asdict(self.local.runtime))}",
            f"--retention={retention}",
            *(["--rough"] if rough else []),
        ]
        self._environment = environment
        self._is_rough = rough
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for entry in self.get("/jobs").json() if self.is_running() else []:
            self.request("DELETE", f"/jobs/{entry['id']}")
        daemon.stop(self.local)
        if self._process is not None:
            self._process.wait()

    def start(self) -> Endpoint:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "prominence.local", str(self.directory), *self._options],
            stderr=subprocess.DEVNULL,
            env={**os.environ, **self._environment},
        )
        process = self._process
        try:
            until(lambda: self.is_running() or process.poll() is not None)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if self._is_rough:
            self.stir()
        return self.endpoint

    def stir(self, *, seed: int = 0, **rates: float) -> None:
        """Set how often a rough service does what (:class:`prominence.local.rough.Rates`)."""
        response = self.request("PUT", "/local/rough", json={"rates": rates, "seed": seed})
        assert response.status_code == 200, response.text

    def kill(self) -> None:
        """End the process as a crash would, and return when it is gone."""
        os.kill(self.endpoint.pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        until(lambda: not self.is_running())

    def is_running(self) -> bool:
        return daemon.running(self.local) is not None

    @property
    def endpoint(self) -> Endpoint:
        found = daemon.running(self.local)
        assert found is not None, "the service does not run"
        return found

    def peak_memory(self) -> int:
        """The most bytes that the process has had in memory (Linux)."""
        status = Path(f"/proc/{self.endpoint.pid}/status").read_text(encoding="ascii")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    @property
    def state(self) -> StateDirectory:
        return StateDirectory(self.directory)

    def settings(self) -> Settings:
        return Settings(url=None, token=None, local=self.local)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """A plain request with the service's token, as any other program would send it."""
        headers = {"Authorization": f"Bearer {self.endpoint.token}", **options.pop("headers", {})}
        return requests.request(method, self.endpoint.url + path, headers=headers, timeout=30, **options)

    def get(self, path: str, **query: str) -> requests.Response:
        return self.request("GET", path, params=query)

    def post_job(self, command: str, **fields: Any) -> int:
        response = self.request("POST", "/jobs", json=job(command, **fields))
        assert response.status_code == 201, response.text
        return int(response.json()["id"])

    def describe(self, job_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/jobs/{job_id}").json()[0]
        return found

    def ended(self, job_id: int) -> dict[str, Any]:
        """The job's description, once it has ended."""
        return until(lambda: _ended(self.describe(job_id)))

    def output(self, job_id: int, stream: str = "stdout", **query: str) -> str:
        return self.get(f"/jobs/{job_id}/{stream}", **query).text


def job(command: str, **fields: Any) -> dict[str, Any]:
    """A job's description in the API's JSON; ``resources`` and ``task`` are merged into the defaults."""
    resources = {"cpus": 1, "memory": 1, "disk": 1, "nodes": 1, **fields.pop("resources", {})}
    task = {"image": "none", "runtime": "singularity", "cmd": command, **fields.pop("task", {})}
    return {"resources": resources, "tasks": [task], **fields}


def shell(script: str) -> str:
    """A command that runs a script in a shell; ``$`` reaches the shell as it is written."""
    return f"sh -c '{script.replace('$', '$$')}'"


def is_alive(pid: int) -> bool:
    """True for a process that runs; an ended one that nobody has waited for does not count."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _ended(entry: dict[str, Any]) -> dict[str, Any] | None:
    return entry if entry["status"] in {"completed", "failed", "deleted", "killed"} else None
