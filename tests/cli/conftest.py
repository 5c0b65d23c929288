from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.command import Command

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Nothing is set but the embedded service, which is not started."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PROMINENCE_LOCAL_DIR", str(tmp_path / "state"))
    return Command(directory)


@pytest.fixture
def served(command: Command, service: LocalService, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Jobs go to the service that all tests share."""
    monkeypatch.setenv("PROMINENCE_URL", service.endpoint.url)
    monkeypatch.setenv("PROMINENCE_TOKEN", service.endpoint.token)
    return command
