"""The service killed at random moments under load, again and again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
import requests
from support.service import LocalService, job
from support.until import until

from prominence.local import daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENDERS = 4
JOBS_A_KILL = 24


def _exit_code(number: int) -> int:
    return number % 7


def _is_deleted(number: int) -> bool:
    return number % 11 == 10


@dataclass
class _Load:
    """Clients that submit and delete jobs, and never give up on a request whose answer they did not get.

    ``answered`` counts answers of all of them; the service is killed when it reaches the next of ``kills``.
    """

    service: LocalService
    runs: Path
    random: Random
    jobs: int
    kills: list[int]
    answered: int = 0
    killed: int = 0
    ids: dict[int, int] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    todo: list[int] = field(default_factory=list)

    def run(self) -> None:
        self.todo = list(range(self.jobs))
        senders = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()

    def _command(self, number: int) -> str:
        file = self.runs / str(number)
        pause = self.random.choice(("", "sleep 0.05; ", "sleep 0.3; "))
        return f'sh -c "echo begin >> {file}; {pause}echo end >> {file}; exit {_exit_code(number)}"'

    def _send(self) -> None:
        while True:
            with self.lock:
                if not self.todo:
                    return
                number = self.todo.pop(0)
                description = job(self._command(number), labels={"prominencesubmission": f"{number:032x}"})
            accepted = self._surely("POST", "/jobs", json=description)
            assert accepted.status_code == 201, accepted.text
            self.ids[number] = int(accepted.json()["id"])
            if _is_deleted(number):
                self._surely("DELETE", f"/jobs/{self.ids[number]}")

    def _surely(self, method: str, path: str, **options: object) -> requests.Response:
        while True:
            until(lambda: daemon.running(self.service.local))
            try:
                answer = self.service.request(method, path, **options)
            except (requests.RequestException, AssertionError):
                continue  # it was killed before it answered, or before it was asked
            with self.lock:
                self.answered += 1
                if self.kills and self.answered >= self.kills[0]:
                    self.kills.pop(0)
                    self.service.kill()
                    self.killed += 1
                    self.service.start()
            return answer


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[LocalService]:
    with LocalService(tmp_path / "service", cpus=6, memory=64) as service:
        yield service


def _campaign(service: LocalService, runs: Path, seed: int, kills: int) -> _Load:
    random = Random(seed)
    runs.mkdir()
    jobs = kills * JOBS_A_KILL
    moments = sorted(random.sample(range(5, jobs), kills))
    load = _Load(service, runs, random, jobs, moments)
    load.run()
    until(lambda: not service.get("/jobs").json(), limit_s=300)
    return load


def _check(load: _Load) -> None:
    found = {entry["id"]: entry for entry in load.service.get("/jobs", all="true", detail="true").json()}
    assert set(found) == set(load.ids.values())
    assert len(load.ids) == load.jobs
    for number, job_id in load.ids.items():
        file = load.runs / str(number)
        lines = file.read_text().splitlines() if file.exists() else []
        entry = found[job_id]
        if entry["status"] == "deleted":
            assert _is_deleted(number)
            assert lines in ([], ["begin"], ["begin", "end"]), (number, lines)
            continue
        codes = [task["exitCode"] for task in entry["execution"]["tasks"]]
        assert (entry["status"], codes, lines) == (
            "completed",
            [_exit_code(number)],
            ["begin", "end"],
        ), (number, entry)


def _run(service: LocalService, tmp_path: Path, seed: int, kills: int) -> None:
    load = _campaign(service, tmp_path / "runs", seed, kills)

    assert load.killed == kills
    _check(load)


def test_five_kills_lose_no_job_and_run_none_twice(restarted: LocalService, tmp_path: Path) -> None:
    _run(restarted, tmp_path, seed=5, kills=5)


@pytest.mark.full
def test_fifty_kills_lose_no_job_and_run_none_twice(restarted: LocalService, tmp_path: Path) -> None:
    _run(restarted, tmp_path, seed=50, kills=50)
