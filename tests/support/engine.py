"""An engine that behaves like a distant pool rather than like this machine.

Attempts wait in a queue of its own and start last come, first served, two at a time. Each one runs by a
script that leaves its exit codes in a file, so that it goes on without the engine; the file system is all
that is known of it after a restart. Ends are told late and in reversed order. A label ``fate`` says what else
befalls a job: ``lost`` (its attempts disappear while they run) or ``evicted`` (its first run is cut short,
and it queues again behind all others).
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import tarfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from prominence.local.engine import Attempt, AttemptId, Capacity, Change, Outcome, Output, OutputPart
from prominence.local.reports import Reports
from prominence.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from pathlib import Path

    from prominence.local.engine import EngineSetup, Stream

SLOTS = 2
_LOOK_S = 0.05


@hookimpl
def prominence_local_engine(name: str, setup: EngineSetup) -> PoolEngine | None:
    return PoolEngine(setup.directory) if name == "pool" else None


class _Run:
    """An attempt that was started, with the job that it runs."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.job = attempt.load()
        self.fate: str | None = self.job.description.get("labels", {}).get("fate")


class PoolEngine:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._queue: list[Attempt] = []
        self._running: dict[AttemptId, _Run] = {}
        self._reports = Reports()
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def refuses(self, description: dict[str, Any]) -> str | None:
        return "the pool has no GPUs" if "gpu" in description.get("name", "") else None

    async def recover(self, wanted: Iterable[Attempt], unwanted: Iterable[Attempt]) -> None:
        for attempt in (*wanted, *(unwanted := list(unwanted))):
            if (self._root(attempt.id) / "started").exists():
                self._running[attempt.id] = _Run(attempt)
            else:
                self._queue.append(attempt)
        await self.cancel(attempt.id for attempt in unwanted)

    async def submit(self, attempts: Sequence[Attempt]) -> None:
        self._queue += attempts

    async def cancel(self, attempts: Iterable[AttemptId]) -> None:
        for attempt in attempts:
            waiting = [each for each in self._queue if each.id == attempt]
            for each in waiting:
                self._queue.remove(each)
            if waiting or self._running.pop(attempt, None):
                self._kill(attempt)
                self._reports.ended(attempt, Outcome("cancelled", time.time()))

    async def changes(self, since: int) -> list[Change]:
        return await self._reports.after(since)

    async def read_output(
        self, attempt: AttemptId, node: int, stream: Stream, offset: int
    ) -> OutputPart | None:
        file = self._root(attempt) / stream
        if node or not file.exists():
            return None
        content = file.read_bytes()[offset:]

        async def pieces() -> AsyncIterator[bytes]:
            yield content

        return OutputPart(len(content), pieces())

    async def execute(self, attempt: AttemptId, line: str, timeout_s: float) -> bytes | None:
        process = await asyncio.create_subprocess_shell(
            line,
            cwd=self._root(attempt) / "scratch",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), timeout_s)
        except TimeoutError:
            process.kill()
            return None
        return output if process.returncode == 0 else None

    async def snapshot(self, attempt: AttemptId, path: str, archive: Path) -> bool:
        scratch = (self._root(attempt) / "scratch").resolve()
        wanted = (scratch / path).resolve()
        if not wanted.exists() or not wanted.is_relative_to(scratch):
            return False
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(wanted, arcname=path)
        return True

    async def forget(self, attempts: Iterable[AttemptId]) -> int:
        freed = 0
        for attempt in attempts:
            freed += sum(file.stat().st_size for file in self._root(attempt).rglob("*") if file.is_file())
            shutil.rmtree(self._root(attempt), ignore_errors=True)
        return freed

    def capacity(self) -> tuple[Capacity, Capacity]:
        return Capacity(SLOTS, SLOTS), Capacity(SLOTS - len(self._running), SLOTS - len(self._running))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            ended = [attempt for attempt in self._running if (self._root(attempt) / "codes").exists()]
            for attempt in reversed(ended):
                self._end(attempt, self._running.pop(attempt).job.description)
            for run in [each for each in self._running.values() if each.fate]:
                self._strike(run)
            while self._queue and len(self._running) < SLOTS:
                self._start(self._queue.pop())

    def _start(self, attempt: Attempt) -> None:
        root, run = self._root(attempt.id), _Run(attempt)
        (root / "scratch").mkdir(parents=True, exist_ok=True)
        (root / "script").write_text(_script(run.job.description["tasks"]))
        (root / "started").touch()
        with (root / "stdout").open("wb") as stdout, (root / "stderr").open("wb") as stderr:
            process = subprocess.Popen(
                ["sh", "../script"],
                cwd=root / "scratch",
                env={"PATH": os.environ["PATH"], **run.job.environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        (root / "session").write_text(str(process.pid))
        self._running[attempt.id] = run
        self._reports.started(attempt.id, time.time())

    def _strike(self, run: _Run) -> None:
        """Let the fate of a running attempt come about; that is noted, for it happens once."""
        attempt = run.attempt.id
        struck = self._root(attempt) / "struck"
        if struck.exists() or not (self._root(attempt) / "stdout").stat().st_size:
            return
        struck.touch()
        del self._running[attempt]
        self._kill(attempt)
        if run.fate == "lost":
            self._reports.ended(attempt, Outcome("lost", time.time(), reason="Job was evicted"))
        else:
            (self._root(attempt) / "started").unlink()
            self._reports.requeued(attempt, time.time())
            self._queue.insert(0, run.attempt)

    def _end(self, attempt: AttemptId, description: dict[str, Any]) -> None:
        root = self._root(attempt)
        codes = [int(line) for line in (root / "codes").read_text().split()]
        files = [
            Output(name, str(root / "scratch" / name), (root / "scratch" / name).stat().st_size)
            for name in description.get("outputFiles", [])
        ]
        self._reports.ended(
            attempt,
            Outcome(
                "finished",
                time.time(),
                started=(root / "started").stat().st_mtime,
                execution={"site": "pool", "tasks": [{"exitCode": code, "retries": 0} for code in codes]},
                output_files=tuple(files),
                output_dirs=tuple(_archived(root, name) for name in description.get("outputDirs", [])),
            ),
        )

    def _kill(self, attempt: AttemptId) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.killpg(int((self._root(attempt) / "session").read_text()), signal.SIGKILL)

    def _root(self, attempt: AttemptId) -> Path:
        return self._directory / str(attempt)


def _script(tasks: Sequence[dict[str, Any]]) -> str:
    """Runs tasks until one fails; what they returned appears in ``codes`` as a whole when all is over."""
    lines = []
    for task in tasks:
        lines += [shlex.join(shlex.split(task["cmd"])), "code=$?", "echo $code >> ../codes.new"]
        lines += ["[ $code = 0 ] || { mv ../codes.new ../codes; exit; }"]
    return "\n".join([*lines, "mv ../codes.new ../codes", ""])


def _archived(root: Path, name: str) -> Output:
    archive = root / f"{name}.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / "scratch" / name, arcname=name)
    return Output(name, str(archive), archive.stat().st_size)
