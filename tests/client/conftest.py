"""A client in virtual time, with a service that the test scripts."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from support.clock import VirtualClock
from support.fake_service import FakeService

from prominence import ProminenceClient

if TYPE_CHECKING:
    from collections.abc import Iterator


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
