"""Looking into jobs while they run: commands beside them, and snapshots of their files."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from prominence.clock import MACHINE_CLOCK, Clock
from prominence.local.attempts import attempt_of
from prominence.local.errors import NO_SUCH_JOB, Refusal, not_stored
from prominence.replacing import beside

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from prominence.local.engine import Engine
    from prominence.local.store import Store

_COMMAND_TIME_S: Final = 30.0
_INVALID_PATH: Final = "Invalid path"


class RunningJobs:
    """``snapshots`` is the directory that holds the latest snapshot of each job."""

    def __init__(self, store: Store, engine: Engine, snapshots: Path, clock: Clock = MACHINE_CLOCK) -> None:
        self._store = store
        self._clock = clock
        self._engine = engine
        self._snapshots = snapshots

    async def execute(self, job: int, command: str) -> bytes:
        """The output of a command; its words are separated by commas, and a shell reads the result."""
        attempt = attempt_of(self._running(job))
        output = await self._engine.execute(attempt, command.replace(",", " "), _COMMAND_TIME_S)
        if output is None:
            raise Refusal(400, "Unable to execute command")
        done = {"time": int(self._clock.time()), "command": command}
        self._store.write(
            "update jobs set commands = json_insert(commands, '$[#]', json(?)) where id = ?",
            (json.dumps(done), job),
        )
        await self._store.committed()
        return output

    async def snapshot(self, job: int, path: str) -> None:
        """Keep a file or directory of a job as it is now, in place of an earlier snapshot."""
        row = self._running(job)
        wanted = _in_scratch(path, json.loads(row["description"]))
        archive = self._snapshots / self.snapshot_name(job)
        try:
            self._snapshots.mkdir(mode=0o700, exist_ok=True)
            with beside(archive) as unfinished:
                if not await self._engine.snapshot(attempt_of(row), wanted, unfinished):
                    raise Refusal(400, _INVALID_PATH)
        except OSError as error:
            raise not_stored("the snapshot", error) from error

    def snapshot_name(self, job: int) -> str:
        """The file that holds, or will hold, the snapshot of a running job."""
        self._running(job)
        return f"{job}.tgz"

    def _running(self, job: int) -> sqlite3.Row:
        rows = self._store.read(
            "select id, status, attempt, description from described_jobs where id = ?", (job,)
        )
        if not rows:
            raise Refusal(400, NO_SUCH_JOB)
        if rows[0]["status"] != "running":
            raise Refusal(400, "Job is not running")
        return rows[0]


def _in_scratch(path: str, description: dict[str, Any]) -> str:
    """A path below the scratch directory, from one that is relative or an artifact's mountpoint."""
    for artifact in description.get("artifacts") or ():
        directory, _, mounted_at = artifact.get("mountpoint", "").partition(":")
        if mounted_at and mounted_at.rstrip("/") == path.rstrip("/"):
            return str(directory)
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise Refusal(400, _INVALID_PATH)
    return path
