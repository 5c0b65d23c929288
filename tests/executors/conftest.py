"""An executor on the service that all tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prominence import Session


@pytest.fixture
def executor(session: Session) -> Iterator[ProminenceExecutor]:
    with ProminenceExecutor(session=session) as executor:
        yield executor
