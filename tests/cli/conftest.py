from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from prominence.cli import prominence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result
    from support.service import LocalService


@dataclass
class Command:
    """The command as a program that embeds it sees it, in a directory of its own."""

    runner: CliRunner
    directory: Path

    def __call__(self, *arguments: object, code: int = 0, stdin: str | None = None) -> Result:
        done = self.runner.invoke(prominence, [str(each) for each in arguments], input=stdin)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done

    def json(self, *arguments: object, code: int = 0) -> Any:
        return json.loads(self(*arguments, code=code).stdout)

    def id(self, *arguments: object) -> int:
        return int(self(*arguments).stdout)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Nothing is set but the embedded service, which is not started."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PROMINENCE_LOCAL_DIR", str(tmp_path / "state"))
    return Command(CliRunner(), directory)


@pytest.fixture
def served(command: Command, service: LocalService, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Jobs go to the service that all tests share."""
    monkeypatch.setenv("PROMINENCE_URL", service.endpoint.url)
    monkeypatch.setenv("PROMINENCE_TOKEN", service.endpoint.token)
    return command


@pytest.fixture
def write(command: Command) -> Callable[[str, str], str]:
    """Writes a file beside the command; its name."""

    def written(name: str, text: str) -> str:
        (command.directory / name).write_text(text)
        return name

    return written
