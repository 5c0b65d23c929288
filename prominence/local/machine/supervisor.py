"""One process per job attempt: the parent of its tasks and the only one that knows how they ended.

It needs nothing of the service while it runs. It claims the attempt, stages in, runs the tasks in
turn, stages out, and writes ``outcome.json`` as the last thing; without that file the attempt counts
as lost.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import time
import traceback
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from prominence.local.machine import host_runtime, processes, staging
from prominence.local.machine.files import AttemptFiles, Claim, write_json

if TYPE_CHECKING:
    from pathlib import Path

ATTEMPT_VARIABLE: Final = "PROMINENCE_LOCAL_ATTEMPT"
WALLTIME_REASON: Final = "Walltime limit exceeded"
UNABLE_REASON: Final = "Unable to execute task(s)"
KILLED_EXIT_CODE: Final = -9  # what the service shows for a task cut short
_MEMORY_SAMPLE_S: Final = 1.0
_OUTCOME_PAUSES_S: Final = (1.0,) * 30 + (10.0,) * 60  # for ten minutes in all
_PLAIN_SIGNALS: Final = (  # Python or we changed these; tasks get the defaults back
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGCHLD,
)


def supervise(root: Path) -> None:
    """Run the attempt in ``root`` to its end, unless another process has claimed it."""
    files = AttemptFiles(root)
    started = time.time()
    if files.claim(Claim(os.getpid(), started)) is None:
        return
    description = files.read_description()
    if description is None:
        return  # the attempt was removed before it began
    try:
        outcome = _Supervisor(files, description).run()
    finally:
        processes.end_descendants(0, _reap_strangers)
        shutil.rmtree(files.scratch, ignore_errors=True)
        shutil.rmtree(files.tmp, ignore_errors=True)
    _put_on_record(files, {**outcome, "started": started, "ended": time.time()})


def _put_on_record(files: AttemptFiles, outcome: dict[str, Any]) -> None:
    """Write the outcome, waiting for space where the disk is full: without it the attempt counts as lost."""
    for pause in (*_OUTCOME_PAUSES_S, None):
        try:
            write_json(files.outcome, outcome)
        except OSError:
            if pause is None:
                raise
            time.sleep(pause)
        else:
            return


class _Stop(Exception):
    """The attempt ends before its tasks do."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass
class _TaskRecord:
    """What the service reports of one task."""

    exit_code: int | None = None
    retries: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_kb: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "exitCode": self.exit_code,
            "retries": self.retries,
            "wallTimeUsage": self.wall_s,
            "cpuTimeUsage": self.cpu_s,
            "maxResidentSetSizeKB": self.peak_kb,
        }


@dataclass
class _Supervisor:
    files: AttemptFiles
    description: dict[str, Any]
    records: list[_TaskRecord] = field(default_factory=list)
    cancelled: bool = False
    deadline: float = 0.0
    ended: dict[int, tuple[int, Any]] = field(default_factory=dict)
    tree_peak_kb: int = 0

    @cached_property
    def job(self) -> dict[str, Any]:
        job: dict[str, Any] = self.description["job"]
        return job

    @cached_property
    def policies(self) -> dict[str, Any]:
        policies: dict[str, Any] = self.job.get("policies") or {}
        return policies

    @cached_property
    def environment(self) -> dict[str, str]:
        return {**self.description["environment"], ATTEMPT_VARIABLE: str(self.files.root)}

    def run(self) -> dict[str, Any]:
        processes.adopt_orphans()
        self._listen_to_signals()
        if self.files.cancel.exists():
            self.cancelled = True
        status, reason = "finished", ""
        begin = time.monotonic()
        stage_in_s = 0.0
        try:
            staging.stage_in(self.job, self.files)
            stage_in_s = time.monotonic() - begin
            self.deadline = time.monotonic() + self.description["walltime_s"]
            self._run_tasks()
        except _Stop as stop:
            status, reason = stop.status, stop.reason
        except Exception as error:  # noqa: BLE001 - whatever it is, the job's owner has to hear of it
            status, reason = "failed", self._explain(error)
        self._end_tasks(self.description["kill_grace_s"] if status != "finished" else 0)
        begin = time.monotonic()
        staged = self._stage_out()
        if status == "finished" and staged.reason:
            status, reason = "failed", staged.reason
        return {
            "status": status,
            "reason": reason,
            "execution": self._execution(stage_in_s, time.monotonic() - begin),
            "output_files": staged.files,
            "output_dirs": staged.dirs,
        }

    def _stage_out(self) -> staging.StagedOut:
        try:
            return staging.stage_out(self.job, self.files)
        except (OSError, ValueError) as error:
            self._explain(error)
            return staging.StagedOut(reason=staging.UNABLE_TO_STORE)

    def _explain(self, error: Exception) -> str:
        """Leave the cause where people look for it, in the job's standard error; the service's reason."""
        with contextlib.suppress(OSError):
            self.files.log.write_text(traceback.format_exc(), encoding="utf-8")
            with self.files.stream("stderr", 0).open("a", errors="backslashreplace") as stderr:
                stderr.write(f"prominence: {type(error).__name__}: {error}\n")
        return UNABLE_REASON

    def _run_tasks(self) -> None:
        with (
            self.files.stream("stdout", 0).open("ab", buffering=0) as stdout,
            self.files.stream("stderr", 0).open("ab", buffering=0) as stderr,
        ):
            for number, task in enumerate(self.job["tasks"]):
                record = _TaskRecord()
                self.records.append(record)
                for attempt in range(self.policies.get("maximumTaskRetries", 0) + 1):
                    record.retries = attempt
                    self._run_task(task, number, record, stdout.fileno(), stderr.fileno())
                    if record.exit_code == 0:
                        break
                if record.exit_code != 0 and not self.policies.get("ignoreTaskFailures"):
                    return

    def _run_task(
        self, task: dict[str, Any], number: int, record: _TaskRecord, stdout: int, stderr: int
    ) -> None:
        self._check_time()
        copy_to = task.get("stdout")
        begin_output = os.fstat(stdout).st_size
        self._reap()
        self.ended.clear()  # a new process may get the number of one that ended
        begin = time.monotonic()
        try:
            command = host_runtime.prepare(task, number, self.environment, self.files)
            pid = _start(command, stdout, stdout if copy_to else stderr)
        except (host_runtime.NotRunnable, OSError, ValueError) as error:
            os.write(stderr, f"prominence: {error}\n".encode(errors="backslashreplace"))
            record.exit_code = host_runtime.NOT_RUNNABLE
            return
        try:
            self.files.note_task(pid)
            status, usage = self._wait_for(pid)
        except _Stop:
            record.exit_code = KILLED_EXIT_CODE
            raise
        finally:
            record.wall_s += time.monotonic() - begin
        record.exit_code = os.waitstatus_to_exitcode(status)
        record.cpu_s += usage.ru_utime + usage.ru_stime
        record.peak_kb = max(record.peak_kb, usage.ru_maxrss)
        if copy_to:
            self._copy_output(begin_output, copy_to)

    def _wait_for(self, pid: int) -> tuple[int, Any]:
        while True:
            self._reap()
            if pid in self.ended:
                return self.ended.pop(pid)
            self._check_time()
            timeout = min(_MEMORY_SAMPLE_S, max(0.0, self.deadline - time.monotonic()))
            if select.select([self.wake], [], [], timeout)[0]:
                self.wake.recv(4096)
            else:
                self.tree_peak_kb = max(self.tree_peak_kb, processes.tree_memory() // 1024)

    def _check_time(self) -> None:
        if self.cancelled:
            raise _Stop("cancelled", "")
        if time.monotonic() >= self.deadline:
            raise _Stop("killed", WALLTIME_REASON)

    def _end_tasks(self, grace: float) -> None:
        processes.end_descendants(grace, self._reap)
        for record in self.records:
            if record.exit_code == KILLED_EXIT_CODE:
                for _, usage in self.ended.values():
                    record.cpu_s += usage.ru_utime + usage.ru_stime
                    record.peak_kb = max(record.peak_kb, usage.ru_maxrss)

    def _reap(self) -> bool:
        """Collect every child that has ended, tasks and orphans alike; True while children are left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.ended[pid] = (status, usage)

    def _listen_to_signals(self) -> None:
        """Turn signals into something that select() sees; TERM asks for the attempt's end."""
        self.wake, writer = socket.socketpair()
        self.wake.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, *_: object) -> None:
        self.cancelled = True

    def _copy_output(self, begin: int, name: str) -> None:
        target = self.files.scratch / os.path.basename(name)  # noqa: PTH119 - as the service does
        target.unlink(missing_ok=True)  # it may be a link or a pipe of the task's
        with self.files.stream("stdout", 0).open("rb") as source, target.open("xb") as copy:
            source.seek(begin)
            shutil.copyfileobj(source, copy)

    def _execution(self, stage_in_s: float, stage_out_s: float) -> dict[str, Any]:
        peak = max([self.tree_peak_kb, *(record.peak_kb for record in self.records)])
        return {
            **self.description["execution"],
            "maxMemoryUsageKB": peak,
            "stageInTime": stage_in_s,
            "stageOutTime": stage_out_s,
            "tasks": [record.as_json() for record in self.records],
        }


def _start(command: host_runtime.Command, stdout: int, stderr: int) -> int:
    """Start a command in a session of its own; returns its process id."""
    os.chdir(command.directory)  # posix_spawn has no other way to set it
    return os.posix_spawn(
        command.path,
        command.argv,
        command.environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=_PLAIN_SIGNALS,
    )


def _reap_strangers() -> bool:
    """Collect ended children after a failure, when nobody keeps their records."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return False
    return True
