"""The engine's side that lives in the service: what waits, what is started, and what is asked of attempts."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

from prominence.local.engine import (
    DEFAULT_DISK_GB,
    DEFAULT_WALLTIME_MIN,
    Assignment,
    Attempt,
    AttemptId,
    Capacity,
    Change,
    Outcome,
    OutputPart,
    Stream,
)
from prominence.local.machine import visiting
from prominence.local.machine.files import AttemptFiles, database_of
from prominence.local.machine.hardware import boot_id, cpu_description
from prominence.local.machine.launching import Launchers
from prominence.local.machine.queue import Needs, Queue
from prominence.local.machine.reading import part_of
from prominence.local.machine.runtimes import choose_runtime, runtime_of
from prominence.local.machine.supervision import KILL_GRACE_S, Supervision
from prominence.local.machine.supervisor import UNABLE_REASON
from prominence.local.reports import Reports
from prominence.logs import about, logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from prominence.local.machine.supervision import Running
    from prominence.settings import RuntimeSettings

log = logger(__name__)

_SITE: Final = "local"
NO_RESOURCES: Final = "No matching resources"
_START_AGAIN_S: Final = 2.0
_NOT_NOW: Final = "attempt %d cannot be started now: %s"


class Machine:
    """Runs attempts on this machine, each under a supervisor process of its own.

    ``minute`` is the length of a walltime minute in seconds; tests shorten it.
    """

    def __init__(
        self,
        root: Path,
        capacity: Capacity,
        minute: float,
        runtime: RuntimeSettings,
        database: str,
    ) -> None:
        self._root = root
        self._database = database
        self._images = root.parent / "images"
        self._runtime_settings = replace(runtime, name=choose_runtime(runtime.name))
        self._runtime = runtime_of(self._runtime_settings, self._images)
        self._runtime_version = ""
        self._queue = Queue(capacity)
        self._minute = minute
        self._reports = Reports()
        self._supervision = Supervision(self.files, self._runtime, self._finished)
        self._launchers = Launchers(self._launched, self._unlaunched)
        self._again: asyncio.TimerHandle | None = None
        self._hardware = cpu_description()

    async def open(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._runtime_version = await asyncio.to_thread(self._runtime.version)
        log.info("commands run with %s, %s", self._runtime.name, self._runtime_version)
        await self._launchers.open()
        self._supervision.open()

    async def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        await self._supervision.close()
        await self._launchers.close()

    def refuses(self, description: dict[str, Any]) -> str | None:
        if self._runtime.has_images:
            return None
        if any("mountpoint" in artifact for artifact in description.get("artifacts") or []):
            return "a mountpoint needs a container: set PROMINENCE_LOCAL_RUNTIME, or leave it out"
        if not all(task.get("cmd") for task in description["tasks"]):
            return "a task needs a cmd where no container runs (there is no entry point)"
        return None

    async def submit(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            needs = Needs.of(attempt.resources, self._queue.capacity)
            if self._queue.fits_at_all(needs):
                self._queue.add(attempt)
            else:
                self._reports.ended(attempt.id, Outcome("failed", time.time(), reason=NO_RESOURCES))
        self._start_what_fits()

    async def cancel(self, attempts: Iterable[AttemptId]) -> None:
        for attempt in attempts:
            was_queued = self._queue.discard(attempt)
            try:  # also for a supervisor that has still to claim it
                self.files(attempt).cancel.touch(mode=0o600)
            except OSError as error:
                if not was_queued:
                    text = "attempt %d is ended by a signal alone: %s"
                    about(log, "job", attempt.job).warning(text, attempt.number, error)
            if was_queued:
                self._reports.ended(attempt, Outcome("cancelled", time.time()))
            else:
                self._supervision.cancel(attempt)

    async def recover(self, wanted: Iterable[Attempt], unwanted: Iterable[Attempt]) -> None:
        """Adopt what runs, finish what ended unseen, evict what was lost, queue what never started."""
        await self.submit([attempt for attempt in wanted if not self._take_up(attempt)])
        running = []
        for attempt in unwanted:
            if self._take_up(attempt):
                running.append(attempt.id)
            else:
                self._reports.ended(attempt.id, Outcome("cancelled", time.time()))
        await self.cancel(running)

    def _take_up(self, attempt: Attempt) -> bool:
        """Go on with an attempt that may have been started before; False when it certainly was not."""
        files = self.files(attempt.id)
        described = files.read_description()
        if described is not None and database_of(described) != self._database:
            return False
        claim = files.claimed_by()
        if described is None or (claim is None and described["boot_id"] == boot_id()):
            return False
        needs = Needs.of(attempt.resources, self._queue.capacity)
        self._queue.occupy(needs)
        self._supervision.add(attempt, needs)
        if claim is not None and files.is_supervised():
            text = "attempt %d goes on under process %d"
            about(log, "job", attempt.id.job).info(text, attempt.id.number, claim.pid)
            self._report_start(attempt, needs, claim.time)
            self._supervision.watch(attempt.id, claim.pid)
        else:
            self._supervision.conclude(attempt.id)
        return True

    async def changes(self, since: int) -> list[Change]:
        return await self._reports.after(since)

    async def read_output(
        self, attempt: AttemptId, node: int, stream: Stream, offset: int
    ) -> OutputPart | None:
        try:
            file = self.files(attempt).stream(stream, node).open("rb")
        except FileNotFoundError:
            return None
        return part_of(file, offset)

    async def execute(self, attempt: AttemptId, line: str, timeout_s: float) -> bytes | None:
        files = self.files(attempt)
        described = files.read_description()
        if described is None or not files.scratch.is_dir():
            return None
        return await visiting.run(line, files.scratch, files.tmp, described["environment"], timeout_s)

    async def snapshot(self, attempt: AttemptId, path: str, archive: Path) -> bool:
        return await asyncio.to_thread(visiting.pack, self.files(attempt).scratch, path, archive)

    async def forget(self, attempts: Iterable[AttemptId]) -> int:
        return sum([await asyncio.to_thread(self.files(attempt).remove) for attempt in attempts])

    def capacity(self) -> tuple[Capacity, Capacity]:
        return self._queue.capacity, self._queue.free

    def files(self, attempt: AttemptId) -> AttemptFiles:
        return AttemptFiles(self._root / str(attempt))

    def _start_what_fits(self) -> None:
        if self._again is not None:
            return
        while (taken := self._queue.take_next()) is not None:
            attempt, needs = taken
            files = self.files(attempt.id)
            try:
                files.create(self._instructions(attempt.load(), needs))
            except OSError as error:  # a full disk, most often: everything waits until there is room
                log_of_job = about(log, "job", attempt.id.job)
                log_of_job.error(_NOT_NOW, attempt.id.number, error)  # noqa: TRY400
                self._queue.release(needs)
                self._queue.add(attempt)
                self._start_again_later()
                return
            except ValueError as error:
                log_of_job = about(log, "job", attempt.id.job)
                log_of_job.exception("attempt %d cannot be started", attempt.id.number)
                self._queue.release(needs)
                reason = f"{UNABLE_REASON}: {error}"
                self._reports.ended(attempt.id, Outcome("failed", time.time(), reason=reason))
                continue
            self._supervision.add(attempt, needs)
            self._launchers.ask_for(files.root)

    def _start_again_later(self) -> None:
        if self._again is not None:
            return

        def again() -> None:
            self._again = None
            self._start_what_fits()

        self._again = asyncio.get_running_loop().call_later(_START_AGAIN_S, again)

    def _instructions(self, assignment: Assignment, needs: Needs) -> dict[str, Any]:
        resources = assignment.description["resources"]
        provisioned = _provisioned(resources, needs)
        environment = {
            **assignment.environment,
            "PROMINENCE_CPUS": str(provisioned["cpus"]),
            "PROMINENCE_MEMORY": f"{provisioned['memory']:g}",
            "PROMINENCE_NODES": str(provisioned["nodes"]),
        }
        return {
            "boot_id": boot_id(),
            "database": self._database,
            "job": assignment.description,
            "environment": environment,
            "objects": dict(assignment.objects),
            "runtime": asdict(self._runtime_settings),
            "runtime_version": self._runtime_version,
            "images": str(self._images),
            "walltime_s": resources.get("walltime", DEFAULT_WALLTIME_MIN) * self._minute,
            "kill_grace_s": KILL_GRACE_S,
            "execution": {
                "site": _SITE,
                "provisionedResources": provisioned,
                "cpu": self._hardware,
            },
        }

    def _launched(self, root: Path, pid: int | None, error: str) -> None:
        running = self._supervision.get(_attempt_of(root))
        if running is None:
            return
        attempt = running.attempt
        if pid is None:
            about(log, "job", attempt.id.job).error(_NOT_NOW, attempt.id.number, error)
            self._supervision.drop(attempt.id)
            self._queue.release(running.needs)
            self._queue.add(attempt)
            self._start_again_later()
            return
        self._report_start(attempt, running.needs, time.time())
        self._supervision.watch(attempt.id, pid)

    def _unlaunched(self) -> list[Path]:
        return [self.files(attempt).root for attempt in self._supervision.unwatched()]

    def _finished(self, running: Running, outcome: Outcome) -> None:
        self._queue.release(running.needs)
        self._reports.ended(running.attempt.id, outcome)
        self._start_what_fits()

    def _report_start(self, attempt: Attempt, needs: Needs, started: float) -> None:
        provisioned = _provisioned(attempt.resources, needs)
        self._reports.started(attempt.id, started, {"site": _SITE, "provisionedResources": provisioned})


def _provisioned(resources: Mapping[str, Any], needs: Needs) -> dict[str, Any]:
    """What an attempt has for itself, per node."""
    nodes = resources.get("nodes", 1)
    return {
        "cpus": needs.cpus // nodes,
        "memory": needs.memory / nodes if nodes > 1 else needs.memory,
        "disk": resources.get("disk", DEFAULT_DISK_GB),
        "nodes": nodes,
    }


def _attempt_of(root: Path) -> AttemptId:
    job, number = root.name.split("-")
    return AttemptId(int(job), int(number))
