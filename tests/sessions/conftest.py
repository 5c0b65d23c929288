"""A session at the service that all tests share, whose settle window is short."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from prominence import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.service import LocalService


@pytest.fixture
def session(service: LocalService) -> Iterator[Session]:
    """One that does not look long for calls that are missing."""
    with Session(replace(service.settings(), settle_window=0.2)) as session:
        yield session
