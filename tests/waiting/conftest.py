"""A scripted service in virtual time."""

from __future__ import annotations

import pytest
from support.clock import VirtualClock
from support.scripted_service import ScriptedService


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def service(clock: VirtualClock) -> ScriptedService:
    return ScriptedService(clock)


@pytest.fixture
def following(service: ScriptedService) -> ScriptedService:
    """A service with a feed of changes; it is at revision 5."""
    service.features = frozenset({"wait"})
    service.revision = 5
    return service
