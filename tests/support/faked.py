"""Executors whose service is a fake one."""

from __future__ import annotations

from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

from prominence import ProminenceClient, Session
from prominence.watch import OUTAGE_TOLERANCE_S
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.clock import VirtualClock
    from support.fake_service import FakeService


@contextmanager
def executor_at(
    fake: FakeService,
    clock: VirtualClock | None = None,
    *,
    outage_tolerance: float = OUTAGE_TOLERANCE_S,
    **options: Any,
) -> Iterator[ProminenceExecutor]:
    """Its image is one whose name a real service would take; with a ``clock`` waits take no time."""
    with (
        ProminenceClient(fake.url, "a-token", clock=clock, random=Random(1)) as client,
        Session(client=client, outage_tolerance=outage_tolerance) as session,
        ProminenceExecutor(session=session, image="busybox.sif", **options) as executor,
    ):
        yield executor
