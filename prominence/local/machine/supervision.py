"""Attempts between the question for a supervisor and their outcome.

::

    asked for -> watched -> outcome on disk                     -> finished
                         -> lost: what it has left is ended     -> finished
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from prominence.local.engine import Outcome, Output
from prominence.local.machine import processes
from prominence.local.machine.files import read_json, write_json
from prominence.local.machine.supervisor import ATTEMPT_VARIABLE, EVICTED
from prominence.local.machine.watch import ProcessWatch
from prominence.logs import about, logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from prominence.local.engine import Attempt, AttemptId
    from prominence.local.machine.files import AttemptFiles, Claim
    from prominence.local.machine.queue import Needs
    from prominence.local.machine.runtimes.base import Runtime

log = logger(__name__)

KILL_GRACE_S: Final = 10.0
_CANCEL_TIME_S: Final = 5.0  # that a supervisor has beyond the grace of its tasks
_LOOK_INTERVAL_S: Final = 2.0  # for supervisors whose end the system did not tell
_CLAIM_TIME_S: Final = 30.0  # a forked supervisor that has not claimed by then is gone


@dataclass
class Running:
    """An attempt that occupies what it needs; ``pid`` is its supervisor, once that is known."""

    attempt: Attempt
    needs: Needs
    asked: float
    pid: int | None = None
    cancelled: float | None = None
    watch: ProcessWatch | None = None
    cleaning: asyncio.Task[None] | None = None


class Supervision:
    """Calls ``finished`` once for each attempt, with its outcome, unless it is dropped before."""

    def __init__(
        self,
        files: Callable[[AttemptId], AttemptFiles],
        runtime: Runtime,
        finished: Callable[[Running, Outcome], None],
    ) -> None:
        self._files = files
        self._runtime = runtime
        self._finished = finished
        self._running: dict[AttemptId, Running] = {}
        self._looking: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._looking = asyncio.create_task(self._look_from_time_to_time())

    async def close(self) -> None:
        """Look after nothing any more; the attempts go on."""
        cleaning = [running.cleaning for running in self._running.values()]
        background = [task for task in (self._looking, *cleaning) if task is not None]
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        for running in self._running.values():
            if running.watch is not None:
                running.watch.close()

    def add(self, attempt: Attempt, needs: Needs) -> None:
        self._running[attempt.id] = Running(attempt, needs, time.monotonic())

    def get(self, attempt: AttemptId) -> Running | None:
        return self._running.get(attempt)

    def drop(self, attempt: AttemptId) -> None:
        """Forget an attempt for which no supervisor could be had."""
        del self._running[attempt]

    def unwatched(self) -> list[AttemptId]:
        """Attempts whose supervisor is not known yet."""
        return [attempt for attempt, running in self._running.items() if running.pid is None]

    def watch(self, attempt: AttemptId, pid: int) -> None:
        running = self._running[attempt]
        running.pid = pid
        running.watch = ProcessWatch(pid, lambda: self.conclude(attempt))

    def cancel(self, attempt: AttemptId) -> None:
        """Have the supervisor end its tasks, if it has the attempt by now."""
        running = self._running.get(attempt)
        if running is None:
            return
        running.cancelled = time.monotonic()
        files = self._files(attempt)
        claim = files.claimed_by()
        if claim is not None and files.is_supervised():
            _signal(claim.pid, signal.SIGTERM)

    def conclude(self, attempt: AttemptId) -> None:
        """A supervisor is gone: the outcome is on disk, or the attempt was lost."""
        running = self._running.get(attempt)
        if running is None or running.cleaning is not None:
            return
        files = self._files(attempt)
        claim = files.claimed_by()
        outcome = _read_outcome(files)
        if outcome is None and claim is None and files.claim_for_nobody():
            claim = files.claimed_by()  # from now on no supervisor that comes late can start it
        if outcome is None and files.is_supervised():
            if (claim := files.claimed_by()) is not None:  # another one has it after all
                self.watch(attempt, claim.pid)
            return
        outcome = outcome or _read_outcome(files)
        if outcome is not None:
            self._finish(attempt, outcome)
        else:
            running.cleaning = asyncio.create_task(self._clean_up(attempt, claim))

    async def _look_from_time_to_time(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_INTERVAL_S)
            for attempt, running in list(self._running.items()):
                try:
                    self._look_at(attempt, running)
                except OSError:
                    log_of_job = about(log, "job", attempt.job)
                    log_of_job.exception("cannot look at attempt %d", attempt.number)

    def _look_at(self, attempt: AttemptId, running: Running) -> None:
        if running.pid is None:
            return
        if self._files(attempt).is_supervised():
            patience_s = KILL_GRACE_S + _CANCEL_TIME_S
            if running.cancelled is not None and time.monotonic() - running.cancelled >= patience_s:
                text = "attempt %d does not end; its supervisor is killed"
                about(log, "job", attempt.job).warning(text, attempt.number)
                _signal(running.pid, signal.SIGKILL)  # what it leaves is ended when it is gone
            return
        unclaimed = self._files(attempt).claimed_by() is None
        if not unclaimed or time.monotonic() - running.asked >= _CLAIM_TIME_S:
            self.conclude(attempt)

    async def _clean_up(self, attempt: AttemptId, claim: Claim | None) -> None:
        """End what a lost supervisor has left behind, so that a new attempt does not run beside it."""
        files, log_of_job = self._files(attempt), about(log, "job", attempt.job)
        try:
            outcome = await asyncio.to_thread(self._end_leftovers, files, claim)
        except Exception:  # whatever it is, the attempt has to come to an end
            text = "attempt %d was lost, and what it left cannot be ended; trying again"
            log_of_job.exception(text, attempt.number)
            self._running[attempt].cleaning = None
            return
        log_of_job.warning("attempt %d was lost", attempt.number)
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
        self._finished(running, outcome)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _read_outcome(files: AttemptFiles) -> Outcome | None:
    found = read_json(files.outcome)
    if found is None:
        return None
    for key in ("output_files", "output_dirs"):
        found[key] = tuple(Output(**each) for each in found.get(key, ()))
    return Outcome(**found)
