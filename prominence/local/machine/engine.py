"""The engine's side that lives in the service: queueing, starting, watching and ending attempts."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
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
    Output,
    OutputPart,
    Stream,
)
from prominence.local.machine import processes, visiting
from prominence.local.machine.files import AttemptFiles, Claim, database_of, read_json, write_json
from prominence.local.machine.hardware import boot_id, cpu_description
from prominence.local.machine.launching import Launcher
from prominence.local.machine.queue import Needs, Queue
from prominence.local.machine.reading import part_of
from prominence.local.machine.runtimes import choose_runtime, runtime_of
from prominence.local.machine.supervisor import ATTEMPT_VARIABLE, EVICTED, UNABLE_REASON
from prominence.local.machine.watch import ProcessWatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from prominence.settings import RuntimeSettings

log = logging.getLogger(__name__)

_SITE: Final = "local"
NO_RESOURCES: Final = "No matching resources"
_KILL_GRACE_S: Final = 10.0
_CANCEL_TIME_S: Final = 5.0  # that a supervisor has beyond the grace of its tasks
_LOOK_INTERVAL_S: Final = 2.0  # for supervisors whose end the system did not tell
_LAUNCHER_PAUSE_S: Final = 0.2  # a launcher that cannot live is not replaced in a busy loop
_START_AGAIN_S: Final = 2.0
_CLAIM_TIME_S: Final = 30.0  # a forked supervisor that has not claimed by then is gone


@dataclass
class _Running:
    attempt: Attempt
    needs: Needs
    asked: float
    pid: int | None = None
    cancelled: float | None = None
    watch: ProcessWatch | None = None
    cleaning: asyncio.Task[None] | None = None


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
        self._running: dict[AttemptId, _Running] = {}
        self._changes: deque[Change] = deque()
        self._sequence = itertools.count(1)
        self._changed = asyncio.Event()
        self._launcher: Launcher | None = None
        self._looking: asyncio.Task[None] | None = None
        self._replacing: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._hardware = cpu_description()

    async def open(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._runtime_version = await asyncio.to_thread(self._runtime.version)
        log.info("commands run with %s, %s", self._runtime.name, self._runtime_version)
        self._launcher = await Launcher.start(self._launched, self._launcher_lost)
        self._looking = asyncio.create_task(self._look_from_time_to_time())

    async def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        cleaning = [running.cleaning for running in self._running.values()]
        background = [task for task in (self._looking, self._replacing, *cleaning) if task is not None]
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        for running in self._running.values():
            if running.watch is not None:
                running.watch.close()
        if self._launcher is not None:
            await self._launcher.close()

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
                self._report(attempt.id, Outcome("failed", time.time(), reason=NO_RESOURCES))
        self._start_what_fits()

    async def cancel(self, attempts: Iterable[AttemptId]) -> None:
        for attempt in attempts:
            files = self.files(attempt)
            try:
                files.cancel.touch(mode=0o600)  # also for a supervisor that has still to claim it
            except OSError as error:
                log.warning("attempt %s is ended by a signal alone: %s", attempt, error)
            if self._queue.discard(attempt):
                self._report(attempt, Outcome("cancelled", time.time()))
            elif (running := self._running.get(attempt)) is not None:
                running.cancelled = time.monotonic()
                claim = files.claimed_by()
                if claim is not None and files.is_supervised():
                    _signal(claim.pid, signal.SIGTERM)

    async def recover(self, wanted: Iterable[Attempt], unwanted: Iterable[Attempt]) -> None:
        """Adopt what runs, finish what ended unseen, evict what was lost, queue what never started."""
        await self.submit([attempt for attempt in wanted if not self._take_up(attempt)])
        running = []
        for attempt in unwanted:
            if self._take_up(attempt):
                running.append(attempt.id)
            else:
                self._report(attempt.id, Outcome("cancelled", time.time()))
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
        self._running[attempt.id] = _Running(attempt, needs, time.monotonic())
        if claim is not None and files.is_supervised():
            log.info("attempt %s goes on under process %d", attempt.id, claim.pid)
            self._report_start(attempt.id, claim.time)
            self._watch(attempt.id, claim.pid)
        else:
            self._ended(attempt.id)
        return True

    async def changes(self, since: int) -> list[Change]:
        while self._changes and self._changes[0].sequence <= since:
            self._changes.popleft()
        while not self._changes:
            self._changed.clear()
            await self._changed.wait()
        return list(self._changes)

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
                log.error("attempt %s cannot be started now: %s", attempt.id, error)  # noqa: TRY400
                self._queue.release(needs)
                self._queue.add(attempt)
                self._start_again_later()
                return
            except ValueError as error:
                log.exception("attempt %s cannot be started", attempt.id)
                self._queue.release(needs)
                reason = f"{UNABLE_REASON}: {error}"
                self._report(attempt.id, Outcome("failed", time.time(), reason=reason))
                continue
            self._running[attempt.id] = _Running(attempt, needs, time.monotonic())
            if self._launcher is not None:  # else the next one is told
                self._launcher.ask_for(files.root)

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
            "kill_grace_s": _KILL_GRACE_S,
            "execution": {
                "site": _SITE,
                "provisionedResources": provisioned,
                "cpu": self._hardware,
            },
        }

    def _launched(self, root: Path, pid: int | None, error: str) -> None:
        attempt = _attempt_of(root)
        running = self._running.get(attempt)
        if running is None:
            return
        if pid is None:
            log.error("attempt %s cannot be started now: %s", attempt, error)
            del self._running[attempt]
            self._queue.release(running.needs)
            self._queue.add(running.attempt)
            self._start_again_later()
            return
        self._report_start(attempt, time.time())
        self._watch(attempt, pid)

    def _launcher_lost(self) -> None:
        """Every attempt that was asked for but not claimed is asked for again; a claim is given once."""
        log.error("the launcher process ended; starting another")
        self._launcher = None
        self._replacing = asyncio.create_task(self._replace_launcher())

    async def _replace_launcher(self) -> None:
        while self._launcher is None:
            await asyncio.sleep(_LAUNCHER_PAUSE_S)
            try:
                self._launcher = await Launcher.start(self._launched, self._launcher_lost)
            except OSError:
                log.exception("the launcher cannot be started")
        for attempt, running in list(self._running.items()):
            if running.pid is None:
                self._launcher.ask_for(self.files(attempt).root)

    def _watch(self, attempt: AttemptId, pid: int) -> None:
        running = self._running[attempt]
        running.pid = pid
        running.watch = ProcessWatch(pid, lambda: self._ended(attempt))

    async def _look_from_time_to_time(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_INTERVAL_S)
            for attempt, running in list(self._running.items()):
                try:
                    self._look_at(attempt, running)
                except OSError:
                    log.exception("cannot look at attempt %s", attempt)

    def _look_at(self, attempt: AttemptId, running: _Running) -> None:
        if running.pid is None:
            return
        if self.files(attempt).is_supervised():
            patience_s = _KILL_GRACE_S + _CANCEL_TIME_S
            if running.cancelled is not None and time.monotonic() - running.cancelled >= patience_s:
                log.warning("attempt %s does not end; its supervisor is killed", attempt)
                _signal(running.pid, signal.SIGKILL)  # what it leaves is ended when it is gone
            return
        unclaimed = self.files(attempt).claimed_by() is None
        if not unclaimed or time.monotonic() - running.asked >= _CLAIM_TIME_S:
            self._ended(attempt)

    def _ended(self, attempt: AttemptId) -> None:
        """A process that was watched is gone: the outcome is on disk, or the attempt was lost."""
        running = self._running.get(attempt)
        if running is None or running.cleaning is not None:
            return
        files = self.files(attempt)
        claim = files.claimed_by()
        outcome = _read_outcome(files)
        if outcome is None and claim is None and files.claim_for_nobody():
            claim = files.claimed_by()  # from now on no supervisor that comes late can start it
        if outcome is None and files.is_supervised():
            if (claim := files.claimed_by()) is not None:  # another one has it after all
                self._watch(attempt, claim.pid)
            return
        outcome = outcome or _read_outcome(files)
        if outcome is not None:
            self._finish(attempt, outcome)
        else:
            running.cleaning = asyncio.create_task(self._clean_up(attempt, claim))

    async def _clean_up(self, attempt: AttemptId, claim: Claim | None) -> None:
        """End what a lost supervisor has left behind, so that a new attempt does not run beside it."""
        files = self.files(attempt)
        try:
            outcome = await asyncio.to_thread(self._end_leftovers, files, claim)
        except Exception:  # whatever it is, the attempt has to come to an end
            log.exception("attempt %s was lost, and what it left cannot be ended; trying again", attempt)
            self._running[attempt].cleaning = None
            return
        log.warning("attempt %s was lost", attempt)
        with contextlib.suppress(OSError):
            write_json(files.outcome, asdict(outcome))
        self._finish(attempt, outcome)

    def _end_leftovers(self, files: AttemptFiles, claim: Claim | None) -> Outcome:
        began = claim.time if claim else time.time()
        processes.end_leftovers(ATTEMPT_VARIABLE, str(files.root), files.noted_tasks(), began)
        self._runtime.remove(files.noted_containers())
        files.remove_scratch()
        return Outcome("lost", time.time(), claim.time if claim else None, EVICTED)

    def _finish(self, attempt: AttemptId, outcome: Outcome) -> None:
        running = self._running.pop(attempt)
        if running.watch is not None:
            running.watch.close()
        self._queue.release(running.needs)
        self._report(attempt, outcome)
        self._start_what_fits()

    def _report_start(self, attempt: AttemptId, started: float) -> None:
        running = self._running[attempt]
        provisioned = _provisioned(running.attempt.resources, running.needs)
        execution = {"site": _SITE, "provisionedResources": provisioned}
        self._append(Change(next(self._sequence), attempt, started, execution=execution))

    def _report(self, attempt: AttemptId, outcome: Outcome) -> None:
        self._append(Change(next(self._sequence), attempt, outcome.ended, outcome))

    def _append(self, change: Change) -> None:
        self._changes.append(change)
        self._changed.set()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _provisioned(resources: Mapping[str, Any], needs: Needs) -> dict[str, Any]:
    """What an attempt has for itself, per node."""
    nodes = resources.get("nodes", 1)
    return {
        "cpus": needs.cpus // nodes,
        "memory": needs.memory / nodes if nodes > 1 else needs.memory,
        "disk": resources.get("disk", DEFAULT_DISK_GB),
        "nodes": nodes,
    }


def _read_outcome(files: AttemptFiles) -> Outcome | None:
    found = read_json(files.outcome)
    if found is None:
        return None
    for key in ("output_files", "output_dirs"):
        found[key] = tuple(Output(**each) for each in found.get(key, ()))
    return Outcome(**found)


def _attempt_of(root: Path) -> AttemptId:
    job, number = root.name.split("-")
    return AttemptId(int(job), int(number))
