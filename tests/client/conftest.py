"""A client in virtual time, with a service that the test scripts."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from support.clock import VirtualClock
from support.fake_service import FakeService

from prominence import ProminenceClient, Session

if TYPE_CHECKING:
    from collections.abc import Iterator


RECORDED_URL = "http://prominence.test/prominence/v1"


@pytest.fixture
def token() -> str:
    return "a-token-that-nobody-may-see"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def fake() -> Iterator[FakeService]:
    with FakeService() as service:
        yield service


@pytest.fixture
def client(fake: FakeService, token: str, clock: VirtualClock) -> Iterator[ProminenceClient]:
    with ProminenceClient(fake.url, token, clock=clock, random=Random(1)) as client:
        yield client


@pytest.fixture
def real(token: str, clock: VirtualClock) -> Iterator[ProminenceClient]:
    """A client of the recorded service."""
    with ProminenceClient(RECORDED_URL, token, clock=clock, random=Random(1)) as client:
        yield client


@pytest.fixture
def real_session(real: ProminenceClient, clock: VirtualClock) -> Iterator[Session]:
    with Session(client=real, clock=clock, random=Random(1)) as session:
        yield session
