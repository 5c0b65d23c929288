"""Drivers are killed at random moments, and who attaches, too; the next one has all that was sent, once."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from support.killed_driver import kill_after
from support.service import LocalService

from prominence import Session
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIVER = Path(__file__).parent / "driver.py"
CALLS = 10
LINES = 2 * CALLS + 1


@pytest.fixture(scope="module", params=["plain", "rough"])
def either(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalService]:
    """A service that knows a repeated submission, and one where calls need fences."""
    if request.param == "plain":
        yield request.getfixturevalue("service")
        return
    with LocalService(tmp_path_factory.mktemp("rough"), cpus=8, memory=64, rough=True) as running:
        yield running


class Campaign:
    """Drivers that are killed, and what was found of their calls."""

    def __init__(self, service: LocalService, directory: Path) -> None:
        self._service = service
        self._directory = directory
        self.counts: Counter[str] = Counter()

    def kill_driver(self, name: str, lines: int) -> None:
        kill_after(self._service, DRIVER, [name, str(CALLS), str(self._directory / name)], lines=lines)

    def kill_attaching(self, name: str, lines: int) -> None:
        kill_after(self._service, DRIVER, [name], lines=lines)

    def check(self, name: str) -> None:
        """Attach, and compare what is there with the lines that the calls have left."""
        with Session(replace(self._service.settings(), settle_window=1.0)) as session:
            executor = ProminenceExecutor.attach(name, service=session)
            results = [future.result() for future in executor.attached]
            numbers = [int(str(future.job.name).removeprefix("call-")) for future in executor.attached]
            unsent = [int(call.name.removeprefix("call-")) for call in executor.unsent]
            executor.close(delete=True)
        file = self._directory / name
        ran = [line.split() for line in file.read_text().splitlines()] if file.exists() else []

        assert results == [number * number for number in numbers]
        assert sorted(numbers) == sorted(int(number) for number, _ in ran), "each ran once"
        assert {future.job_id for future in executor.attached} == {int(job) for _, job in ran}
        assert sorted(numbers + unsent) == list(range(len(numbers + unsent))), "the first calls, each once"
        self.counts += Counter(killed=1, sent=len(numbers), unsent=len(unsent))


@pytest.fixture
def campaign(
    either: LocalService, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Iterator[Campaign]:
    campaign = Campaign(either, tmp_path)
    yield campaign
    with capsys.disabled():
        sys.stdout.write(f"\n{request.node.name}: {dict(campaign.counts)}, each sent call there once\n")


@pytest.mark.parametrize("moments", [2, pytest.param(20, marks=pytest.mark.full)])
def test_every_call_that_was_sent_is_there_once_and_the_others_are_named(
    campaign: Campaign, moments: int
) -> None:
    random = Random(moments)
    for moment in range(moments):
        first, last = 1 + moment * LINES // moments, (moment + 1) * LINES // moments
        campaign.kill_driver(f"killed-{moments}-{moment}", random.randint(first, last))
        campaign.check(f"killed-{moments}-{moment}")
    assert campaign.counts["sent"]


@pytest.mark.parametrize("moments", [1, pytest.param(10, marks=pytest.mark.full)])
def test_who_attaches_may_be_killed_too(campaign: Campaign, moments: int) -> None:
    random = Random(100 + moments)
    for moment in range(moments):
        name = f"twice-{moments}-{moment}"
        campaign.kill_driver(name, random.randint(2, LINES))
        campaign.kill_attaching(name, random.randint(1, 2))
        campaign.check(name)
    assert campaign.counts["sent"]


def test_the_service_may_be_killed_with_the_driver(tmp_path: Path) -> None:
    with LocalService(tmp_path / "service", cpus=8, memory=64) as service:
        campaign = Campaign(service, tmp_path)
        campaign.kill_driver("both", LINES - 5)
        service.kill()
        service.start()
        campaign.check("both")
        assert campaign.counts["sent"]
