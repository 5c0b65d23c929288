"""The client against what the local service answered when ``tests/record.py`` was run last."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
from support.local_exchanges import EXCHANGES
from support.recorded_calls import BASE, NoCall, call_for
from support.recordings import LOCAL, LOCAL_ADDRESS, exchanges, replay

from prominence import ProminenceClient

if TYPE_CHECKING:
    from support.clock import VirtualClock


@pytest.mark.parametrize("name", EXCHANGES)
def test_the_local_service_is_replayed(name: str, token: str, clock: VirtualClock) -> None:
    with (
        replay(f"local/{name}") as cassette,
        ProminenceClient(LOCAL_ADDRESS + BASE, token, clock=clock, random=Random(1)) as client,
    ):
        EXCHANGES[name](client)
    assert cassette.all_played


def test_what_was_never_recorded_from_a_real_service_was_recorded_from_the_local_one() -> None:
    assert {path.stem for path in LOCAL.glob("*.yaml")} == EXCHANGES.keys()
    methods = set()
    for name in EXCHANGES:
        for exchange in exchanges(f"local/{name}"):
            try:
                methods.add(call_for(exchange["request"]).method)
            except NoCall:
                assert exchange["request"]["method"] == "PUT"  # the content of an object
    assert {"list_changed_jobs", "usage", "is_healthy", "delete_workflows"} <= methods
