"""Why a job failed, as a typed exception with its evidence and what can be done about it.

The service's reason counts first where it is about the job as a whole, then the exit codes; a task that
failed writes no outputs, so that an output could not be stored tells something only where all tasks
succeeded.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final

from prominence.exceptions import (
    ImagePullFailed,
    JobDeleted,
    JobEvicted,
    JobFailedError,
    JobHeld,
    JobLost,
    MemoryExceeded,
    NoMatchingResources,
    OutcomeUnknown,
    ProminenceError,
    StageInFailed,
    StageOutFailed,
    TaskExitError,
    TaskKilled,
    WalltimeExceeded,
)
from prominence.logs import about, logger
from prominence.outputs import missing_outputs
from prominence.plugins import plugins
from prominence_executors.advice import next_step, word_for_a_shell

if TYPE_CHECKING:
    from prominence import Job
    from prominence.snapshot import JobSnapshot

log = logger(__name__)

_STDERR_CHARACTERS: Final = 2000
_WHAT_CHARACTERS: Final = 300
_SHOWN: Final = 10  # outputs that are missing
_SHELLS_ADD: Final = 128  # to the number of the signal that ended a command, as its exit code

_OF_THE_JOB: Final[tuple[tuple[str, type[JobFailedError]], ...]] = (  # the service's texts begin so
    ("Walltime limit exceeded", WalltimeExceeded),
    ("Job used too much memory", MemoryExceeded),
    ("Container image pull failed", ImagePullFailed),
    ("Artifact download failed", StageInFailed),
    ("Artifact uncompress failed", StageInFailed),
    ("No matching resources", NoMatchingResources),
    ("Maximum time queued was exceeded", NoMatchingResources),
    ("Job was evicted", JobEvicted),
)
_OF_OUTPUTS: Final = ("Unable to stageout", "Stageout failed")


def exit_code(snapshot: JobSnapshot) -> int | None:
    """The first exit code that is not 0, else 0; None where no task is on record."""
    codes = [code for code in snapshot.exit_codes if code is not None]
    return next((code for code in codes if code), 0) if codes else None


def failure(
    job: Job,
    snapshot: JobSnapshot,
    what: str,
    *,
    kind: type[JobFailedError] | None = None,
    text: str = "",
) -> JobFailedError:
    """The error that says how a job failed; ``kind`` and ``text`` where the caller knows better."""
    kind = _of_plugins(job, snapshot) or kind or kind_of(snapshot)
    if len(what) > _WHAT_CHARACTERS:
        what = f"{what[:_WHAT_CHARACTERS]} ..."
    text = f"job {snapshot.id} ({what}) {text or _what_happened(kind, snapshot)}"
    if advice := next_step(kind):
        text += f"; {advice}"
    if issubclass(kind, TaskExitError | StageOutFailed) and (word := _word_for_a_shell(snapshot)):
        text += f"; {word} is for a shell, and commands are run without one: use sh -c '...'"
    return kind(
        text,
        job_id=snapshot.id,
        status=snapshot.status,
        reason=snapshot.reason,
        exit_codes=snapshot.exit_codes,
        stderr=_last_lines(job),
    )


def _word_for_a_shell(snapshot: JobSnapshot) -> str:
    commands = (str(task.get("cmd", "")) for task in snapshot.entry.get("tasks") or ())
    return next((word for command in commands if (word := word_for_a_shell(command))), "")


def lost(job: Job, error: ProminenceError) -> JobLost:
    """The error for a job that the service does not know any more."""
    text = f"job {job.id} ({job.name}) is lost: {error}"
    return JobLost(text, job_id=job.id)


def _of_plugins(job: Job, snapshot: JobSnapshot) -> type[JobFailedError] | None:
    try:
        found: Any = plugins().hook.prominence_classify_failure(job=job, snapshot=snapshot)
    except Exception:  # the job's failure is to be told, not the plugin's
        log_of_job = about(log, "job", snapshot.id)
        log_of_job.exception("a plugin could not classify its failure")
        return None
    return found if isinstance(found, type) and issubclass(found, JobFailedError) else None


def kind_of(snapshot: JobSnapshot) -> type[JobFailedError]:
    if snapshot.status == "deleted":
        return JobDeleted
    for beginning, kind in _OF_THE_JOB:
        if snapshot.reason.startswith(beginning):
            return kind
    if code := exit_code(snapshot):
        return TaskKilled if signal_of(code) else TaskExitError
    if snapshot.reason.startswith(_OF_OUTPUTS):
        return StageOutFailed
    if snapshot.may_come_back:
        return JobHeld
    return OutcomeUnknown if snapshot.status == "completed" else JobFailedError


def signal_of(code: int) -> signal.Signals | None:
    """The signal that an exit code tells of; shells and container runtimes add 128 to its number."""
    number = -code if code < 0 else code - _SHELLS_ADD
    try:
        return signal.Signals(number)
    except ValueError:
        return None


def _what_happened(kind: type[JobFailedError], snapshot: JobSnapshot) -> str:
    if issubclass(kind, TaskExitError) and (code := exit_code(snapshot)):
        return _exit(code)
    if kind is OutcomeUnknown:
        return "has completed, but the service knows nothing of its tasks"
    state = "is on hold" if kind is JobHeld else snapshot.status
    text = f"{state}: {snapshot.reason or 'no reason given'}"
    if kind is StageOutFailed and (missing := missing_outputs(snapshot)):
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        text += f" (not stored: {', '.join(missing[:_SHOWN])}{more})"
    return text


def _exit(code: int) -> str:
    killed_by = signal_of(code)
    if killed_by is None:
        return f"ended with exit code {code}"
    by = f"was ended by signal {killed_by.value} ({killed_by.name})"
    return by if code < 0 else f"{by}, which its exit code {code} stands for"


def _last_lines(job: Job) -> str:
    """The end of the job's standard error; empty where even that cannot be had."""
    try:
        text: Any = job.stderr()
    except ProminenceError:
        return ""
    return str(text)[-_STDERR_CHARACTERS:].strip()
