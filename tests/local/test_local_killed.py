"""The service killed at random moments under load, again and again."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
import requests
from support.service import LocalService, job
from support.until import until

from prominence.local import daemon
from prominence.local.machine.files import AttemptFiles

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


def _workflow(number: int, log: Path) -> dict[str, object]:
    """One job, then three made by a factory, then one; each leaves a line in the log when it begins."""

    def part(name: str, line: str) -> dict[str, object]:
        return {**job(f'sh -c "echo {line} >> {log}; sleep 0.05"'), "name": name}

    return {
        "name": f"w{number}",
        "labels": {"prominencesubmission": f"{number:032x}"},
        "jobs": [part("first", "first"), part("middle", "middle-$i"), part("last", "last")],
        "factories": [
            {
                "name": "f",
                "type": "zip",
                "jobs": ["middle"],
                "parameters": [{"name": "i", "values": [0, 1, 2]}],
            }
        ],
        "dependencies": {"first": ["middle"], "middle": ["last"]},
    }


def _workflows_survive(service: LocalService, tmp_path: Path, *, workflows: int, kills: int) -> None:
    random = Random(kills)
    logs = [tmp_path / f"log{number}" for number in range(workflows)]
    for number, log in enumerate(logs):
        assert service.request("POST", "/workflows", json=_workflow(number, log)).status_code == 201

    def begun() -> int:
        return sum(len(log.read_text().splitlines()) for log in logs if log.exists())

    for moment in sorted(random.sample(range(1, 5 * workflows), kills)):
        until(lambda moment=moment: begun() >= moment)  # type: ignore[misc]
        service.kill()
        service.start()
    until(lambda: not service.get("/workflows").json(), limit_s=300)

    for entry in service.get("/workflows", all="true").json():
        assert (entry["status"], entry["progress"]["done"], entry["progress"]["total"]) == ("completed", 5, 5)
    for log in logs:
        first, *middle, last = log.read_text().splitlines()
        assert (first, sorted(middle), last) == ("first", ["middle-0", "middle-1", "middle-2"], "last")


def test_five_kills_leave_workflows_whole(restarted: LocalService, tmp_path: Path) -> None:
    _workflows_survive(restarted, tmp_path, workflows=8, kills=5)


@pytest.mark.full
def test_fifty_kills_leave_workflows_whole(restarted: LocalService, tmp_path: Path) -> None:
    _workflows_survive(restarted, tmp_path, workflows=80, kills=50)


def test_supervisors_that_die_with_the_service_are_evicted_alone(
    restarted: LocalService, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    runs = [tmp_path / f"runs{number}" for number in range(6)]
    ids = [
        restarted.post_job(
            f'sh -c "echo run >> {each}; while ! test -e {gate}; do sleep 0.02; done; exit 4"',
            policies={"maximumRetries": 1} if number == 0 else {},
        )
        for number, each in enumerate(runs)
    ]
    until(lambda: all(each.exists() for each in runs))
    supervisors = [AttemptFiles(restarted.state.attempts / f"{each}-1").claimed_by() for each in ids]

    restarted.kill()
    for claim in supervisors[:3]:
        assert claim is not None
        os.kill(claim.pid, signal.SIGKILL)
    restarted.start()
    until(lambda: len(runs[0].read_text().splitlines()) == 2)
    gate.touch()

    ended = [restarted.ended(each) for each in ids]
    assert [entry.get("statusReason") for entry in ended[1:3]] == ["Job was evicted"] * 2
    assert [entry["status"] for entry in ended[3:]] == ["completed"] * 3
    assert [entry["execution"]["tasks"][0]["exitCode"] for entry in ended[3:]] == [4] * 3
    assert ended[0]["execution"]["retries"] == 1
    assert [len(each.read_text().splitlines()) for each in runs] == [2, 1, 1, 1, 1, 1]
