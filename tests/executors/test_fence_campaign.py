"""Function calls through networks that do their worst: none has two owners, and none is told wrongly.

In the first campaigns callers, each in its own virtual time and behind its own faulty proxy, submit calls, or
arrays of them, to one real local service that knows no submission from another. In the others the jobs' side
is put to the test: several jobs claim the same keys in a store that drops and delays what it is told.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from support.call_campaign import Campaign, SentAlone, SentTogether
from support.clock import VirtualClock
from support.fake_service import RESET, FakeService, Received, Reply, page, refuses, says
from support.service import LocalService

from prominence_executors.runner.fence import FREE, OTHERS, OURS, Fence
from prominence_executors.runner.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def rough(tmp_path: Path) -> Iterator[LocalService]:
    with LocalService(tmp_path / "rough", cpus=8, memory=64, rough=True) as running:
        yield running


@pytest.fixture(params=[pytest.param(25, id="small"), pytest.param(1000, id="full", marks=pytest.mark.full)])
def count(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=[SentAlone, SentTogether])
def campaign(request: pytest.FixtureRequest, rough: LocalService, tmp_path: Path) -> Campaign:
    return Campaign(rough, tmp_path / "runs", request.param)


def test_no_call_is_made_twice_or_told_wrongly(
    campaign: Campaign, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign.run(count, seed=40_000 * campaign.kind.size)
    with capsys.disabled():
        print(f"\n{campaign.figures()}")  # noqa: T201 - they are what a campaign is for

    campaign.check()


class ForgetfulStore(FakeService):
    """A key-value store whose requests and answers are dropped, or arrive after others."""

    def __init__(self, seed: int) -> None:
        self.values: dict[str, str] = {}
        self._random = Random(seed)
        self._lock = threading.Lock()
        self._late: list[tuple[int, Received]] = []
        self._count = 0
        super().__init__()

    def answer(self, request: Received) -> Reply:
        with self._lock:
            self._count += 1
            for due, late in [each for each in self._late if each[0] <= self._count]:
                self._late.remove((due, late))
                self._done(late)
            fate = self._random.choice(["done"] * 4 + ["lost", "dropped", "away", "late"])
            if fate == "late":
                self._late.append((self._count + self._random.randrange(1, 30), request))
            reply = self._done(request) if fate in {"done", "lost"} else page(503)
            return RESET if fate in {"lost", "dropped", "late"} else reply

    def _done(self, request: Received) -> Reply:
        key = request.path.removeprefix("/kv/")
        if request.method == "GET":
            return Reply(body=self.values[key].encode())
        if request.query["prev"] != self.values[key]:
            return refuses("Atomic replacement not successful")
        self.values[key] = request.body.decode()
        return says({}, 201)


KEYS = pytest.mark.parametrize(
    "keys", [pytest.param(60, id="small"), pytest.param(3000, id="full", marks=pytest.mark.full)]
)


@KEYS
def test_no_key_has_two_owners(keys: int) -> None:
    with ForgetfulStore(seed=50_000) as store:
        store.values = {f"key{number}": FREE for number in range(keys)}

        def claim(owner: str) -> dict[str, Any]:
            clock = VirtualClock()
            at = Store(store.url, "a-token")
            return {
                key: Fence(at, key, owner, monotonic=clock.monotonic, sleep=clock.sleep).claim()
                for key in sorted(store.values, key=lambda key: hash((owner, key)))
            }

        owners = ["17", "18", "19", "20"]
        with ThreadPoolExecutor(len(owners)) as threads:
            verdicts = dict(zip(owners, threads.map(claim, owners), strict=True))

    for key in store.values:
        winners = [owner for owner in owners if verdicts[owner][key] == OURS]
        assert len(winners) == 1, key
        assert {verdicts[owner][key] for owner in owners} == {OURS, OTHERS}
        assert store.values[key].split(":")[0] == winners[0]


@KEYS
def test_no_two_workflows_pass_a_gate(keys: int) -> None:
    """Each array has five calls, and four workflows with a job for each of them."""
    arrays = [f"array{number}" for number in range(keys // 5)]
    with ForgetfulStore(seed=70_000) as store:
        store.values = {f"{array}/{key}": FREE for array in arrays for key in ("gate", *range(5))}

        def claim(workflow: int) -> dict[str, list[str]]:
            clock = VirtualClock()
            at = Store(store.url, "a-token")

            def verdict(array: str, call: int) -> str:
                owner, key = f"{workflow}.{workflow + call + 1}", f"{array}/{call}"
                times = {"monotonic": clock.monotonic, "sleep": clock.sleep}
                return Fence(at, key, owner, gate=f"{array}/gate", **times).claim()

            return {
                array: [verdict(array, call) for call in range(5)]
                for array in sorted(arrays, key=lambda array: hash((workflow, array)))
            }

        workflows = [10, 20, 30, 40]
        with ThreadPoolExecutor(len(workflows)) as threads:
            verdicts = dict(zip(workflows, threads.map(claim, workflows), strict=True))

    for array in arrays:
        (winner,) = (one for one in workflows if OURS in verdicts[one][array])
        assert verdicts[winner][array] == [OURS] * 5
        owners = [store.values[f"{array}/{call}"].split(":")[0] for call in range(5)]
        assert owners == [f"{winner}.{winner + call + 1}" for call in range(5)]
        assert store.values[f"{array}/gate"].startswith(f"{winner}.")
