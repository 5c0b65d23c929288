"""How many requests calls behind a fence take: keys of those that ended together are read together."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.requests_sent import RequestsSent
from support.service import LocalService

from prominence import Session
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = 60


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with LocalService(tmp_path_factory.mktemp("rough"), cpus=64, memory=640, rough=True) as running:
        yield running


@pytest.fixture
def fenced(rough: LocalService) -> Iterator[ProminenceExecutor]:
    with Session(rough.settings()) as session, ProminenceExecutor(session=session) as executor:
        yield executor


def kinds(sent: RequestsSent) -> Counter[str]:
    """What the requests were for."""
    return Counter("/".join(line.split("/")[:4]) for line in sent.lines)


def test_single_calls(fenced: ProminenceExecutor) -> None:
    with RequestsSent() as sent:
        futures = [fenced.submit(abs, -number) for number in range(CALLS)]
        assert [future.result() for future in futures] == list(range(CALLS))

    sys.stdout.write(f"{len(sent.lines) / CALLS:.2f} requests a call: {dict(kinds(sent))}\n")
    assert len(list(sent.matching("POST", "/kv/"))) == CALLS
    assert len(list(sent.matching("GET", "/kv/"))) < CALLS / 2
    assert len(sent.lines) <= 2.4 * CALLS


@pytest.mark.full
def test_an_array(fenced: ProminenceExecutor) -> None:
    calls = 2 * CALLS
    with RequestsSent() as sent:
        assert list(fenced.map(abs, range(calls), chunksize=1)) == list(range(calls))

    sys.stdout.write(f"{len(sent.lines) / calls:.2f} requests a call: {dict(kinds(sent))}\n")
    assert len(list(sent.matching("POST", "/workflows"))) == 1
    assert len(list(sent.matching("POST", "/kv/"))) == calls + 1
    assert len(sent.lines) <= 1.1 * calls + 30
