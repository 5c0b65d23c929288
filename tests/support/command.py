"""The ``prominence`` command as a program that embeds it sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from prominence.cli import prominence

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


@dataclass
class Command:
    """Runs verbs in a directory of its own, and expects exit codes."""

    directory: Path
    runner: CliRunner = field(default_factory=CliRunner)

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

    def write(self, name: str, text: str) -> str:
        """Write a file in its directory; the file's name."""
        (self.directory / name).write_text(text)
        return name
