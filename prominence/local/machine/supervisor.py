"""One process per job attempt: the parent of its tasks and the only one that knows how they ended.

It needs nothing of the service while it runs. It claims the attempt, stages in, runs the tasks in
turn, stages out, and writes ``outcome.json`` as the last thing; without that file the attempt counts
as lost.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import traceback
from pathlib import Path
from typing import Any, Final

from prominence.local.machine import stage_out
from prominence.local.machine.children import Children
from prominence.local.machine.files import AttemptFiles, Claim, write_json
from prominence.local.machine.limits import Limits, Stop
from prominence.local.machine.processes import end_descendants
from prominence.local.machine.runtimes import runtime_of
from prominence.local.machine.stage_in import StageInFailed, stage_in
from prominence.local.machine.tasks import Tasks
from prominence.settings import RuntimeSettings

ATTEMPT_VARIABLE: Final = "PROMINENCE_LOCAL_ATTEMPT"
EVICTED: Final = "Job was evicted"
UNABLE_REASON: Final = "Unable to execute task(s)"
_SIDECAR_GRACE_S: Final = 2.0
_TRIES_WITH_OUTPUTS: Final = 5
_OUTCOME_PAUSES_S: Final = (1.0,) * 30 + (10.0,) * 60  # for ten minutes in all


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
        end_descendants(0, _reap_strangers)
    _put_on_record(files, {**outcome, "started": started, "ended": time.time()})
    files.remove_scratch()


def _put_on_record(files: AttemptFiles, outcome: dict[str, Any]) -> None:
    """Write the outcome: without it the attempt counts as lost.

    Where the disk is full, first the scratch directory makes room, which is not needed any more, then the
    outputs do, whose loss the outcome tells; then it waits for others.
    """
    for tried, pause in enumerate((*_OUTCOME_PAUSES_S, None)):
        try:
            write_json(files.outcome, outcome)
        except FileNotFoundError:
            raise  # the job has removed its directory, or somebody all of them
        except OSError:
            if pause is None:
                raise
            if tried == 0:
                files.remove_scratch()
            elif tried == _TRIES_WITH_OUTPUTS:
                outcome = _without_outputs(files, outcome)
            else:
                time.sleep(pause)
        else:
            return


def _without_outputs(files: AttemptFiles, outcome: dict[str, Any]) -> dict[str, Any]:
    if not outcome["output_files"] and not outcome["output_dirs"]:
        return outcome
    files.remove_outputs()
    without = {**outcome, "output_files": [], "output_dirs": []}
    if outcome["status"] == "finished":
        without |= {"status": "failed", "reason": stage_out.UNABLE_TO_STORE}
    return without


class _Supervisor:
    def __init__(self, files: AttemptFiles, description: dict[str, Any]) -> None:
        self.files = files
        self.description = description
        self.job: dict[str, Any] = description["job"]
        provisioned = description["execution"]["provisionedResources"]
        self.nodes = [files.node(number) for number in range(provisioned["nodes"])]
        self.runtime = runtime_of(RuntimeSettings(**description["runtime"]), Path(description["images"]))
        self.limits = Limits(description["walltime_s"], provisioned["memory"] * provisioned["nodes"])
        self.children = Children(self.limits)
        self.tasks = Tasks(
            files=files,
            job=self.job,
            environment={**description["environment"], ATTEMPT_VARIABLE: str(files.root)},
            nodes=self.nodes,
            cpus=provisioned["cpus"],
            runtime=self.runtime,
            objects=description["objects"],
            children=self.children,
            limits=self.limits,
        )

    def run(self) -> dict[str, Any]:
        self.limits.cancelled = self.files.cancel.exists() or self.limits.cancelled
        status, reason, version = "finished", "", {}
        begin = time.monotonic()
        stage_in_s = 0.0
        grace_s: float = self.description["kill_grace_s"]
        try:
            self._stage_in()
            stage_in_s = time.monotonic() - begin
            version = {self.runtime.name: self.description["runtime_version"]}
            self.limits.begin()
            self.tasks.run()
            grace_s = _SIDECAR_GRACE_S if self.tasks.has_sidecars else 0.0
        except Stop as stop:
            status, reason = stop.status, stop.reason
            if status == "cancelled" and not self.files.cancel.exists():
                status, reason = "lost", EVICTED  # the system is going down: nobody has deleted the job
            grace_s = 0.0 if stop.is_urgent else grace_s
            self._complain(stop.detail)
        except StageInFailed as failure:
            stage_in_s = time.monotonic() - begin
            status, reason = "failed", failure.reason
            self._complain(str(failure))
        except Exception as error:  # noqa: BLE001 - whatever it is, the job's owner has to hear of it
            status, reason = "failed", self._explain(error)
        self._end_tasks(grace_s)
        begin = time.monotonic()
        staged = self._stage_out()
        if status == "finished" and staged.reason:
            status, reason = "failed", staged.reason
        return {
            "status": status,
            "reason": reason,
            "execution": {
                **self._execution(),
                "runtimeVersion": version,
                "stageInTime": stage_in_s,
                "stageOutTime": time.monotonic() - begin,
            },
            "output_files": staged.files,
            "output_dirs": staged.dirs,
        }

    def _stage_in(self) -> None:
        first, *others = self.nodes
        stage_in(self.job, self.description["objects"], first.scratch, self.limits.check)
        for node in others:
            shutil.copytree(first.scratch, node.scratch, symlinks=True)
            node.tmp.mkdir(mode=0o700)

    def _stage_out(self) -> stage_out.StagedOut:
        try:
            return stage_out.stage_out(self.job, self.files)
        except Exception as error:  # noqa: BLE001 - whatever names and links a job has made, it has to end
            self._explain(error)
            return stage_out.StagedOut(reason=stage_out.UNABLE_TO_STORE)

    def _explain(self, error: Exception) -> str:
        """Leave the cause of something unforeseen; returns the service's reason."""
        with contextlib.suppress(OSError):
            self.files.log.write_text(traceback.format_exc(), encoding="utf-8")
        self._complain(f"{type(error).__name__}: {error}")
        return UNABLE_REASON

    def _complain(self, text: str) -> None:
        """Say something where people look for it: in the job's standard error."""
        if not text:
            return
        with (
            contextlib.suppress(OSError),
            self.files.stream("stderr", 0).open("a", errors="backslashreplace") as stderr,
        ):
            stderr.write(f"prominence: {text}\n")

    def _end_tasks(self, grace_s: float) -> None:
        self.children.end_all(grace_s)
        self.tasks.add_usage_of_killed()
        self.runtime.remove(self.files.noted_containers())

    def _execution(self) -> dict[str, Any]:
        records = self.tasks.records
        sampled_kb = self.limits.peak_bytes // 1024
        execution: dict[str, Any] = {
            **self.description["execution"],
            "maxMemoryUsageKB": max([sampled_kb, *(record.peak_kb for record in records)]),
            "memoryMeasurement": self.runtime.memory_measurement,
        }
        if told := [shown for record in records if (shown := record.as_json())]:
            execution["tasks"] = told
        return execution


def _reap_strangers() -> bool:
    """Collect ended children after a failure, when nobody keeps their records."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        return False
    return True
