"""How a job ended, as a value or a typed exception.

What the runner recorded counts first, then the exit codes, then the service's reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from prominence.exceptions import (
    ImagePullFailed,
    JobDeleted,
    JobEvicted,
    JobFailedError,
    MemoryExceeded,
    NoMatchingResources,
    OutcomeUnknown,
    ProminenceError,
    StageInFailed,
    StageOutFailed,
    TaskExitError,
    WalltimeExceeded,
)

if TYPE_CHECKING:
    from prominence import Job
    from prominence.snapshot import JobSnapshot

_STDERR_CHARACTERS: Final = 2000

_BY_REASON: Final[tuple[tuple[str, type[JobFailedError]], ...]] = (  # the service's texts begin so
    ("Walltime limit exceeded", WalltimeExceeded),
    ("Job used too much memory", MemoryExceeded),
    ("Container image pull failed", ImagePullFailed),
    ("Artifact download failed", StageInFailed),
    ("Artifact uncompress failed", StageInFailed),
    ("Unable to stageout", StageOutFailed),
    ("Stageout failed", StageOutFailed),
    ("No matching resources", NoMatchingResources),
    ("Maximum time queued was exceeded", NoMatchingResources),
    ("Job was evicted", JobEvicted),
)

_ADVICE: Final[dict[type[JobFailedError], str]] = {
    WalltimeExceeded: "ask for a longer resources.walltime (minutes)",
    MemoryExceeded: "ask for more resources.memory (GB)",
    ImagePullFailed: "check the image's name",
    StageInFailed: "check the names of artifacts and inputs",
    StageOutFailed: "check that the command writes its output files where they are declared",
    NoMatchingResources: "ask for fewer cpus or less memory",
    JobEvicted: "submit it again",
}


@dataclass(frozen=True)
class CompletedJob:
    """A command that has run: its exit code, and its output, fetched when first asked for."""

    job: Job
    command: str
    returncode: int

    @cached_property
    def stdout(self) -> str:
        return self.job.stdout()

    @cached_property
    def stderr(self) -> str:
        return self.job.stderr()

    def __repr__(self) -> str:
        return f"CompletedJob(id={self.job.id}, command={self.command!r}, returncode={self.returncode})"


def exit_code(snapshot: JobSnapshot) -> int | None:
    """The first exit code that is not 0, else 0; None where no task is on record."""
    codes = [code for code in snapshot.exit_codes if code is not None]
    return next((code for code in codes if code), 0) if codes else None


def completed_command(job: Job, snapshot: JobSnapshot, command: str, *, check: bool) -> CompletedJob:
    """The outcome of a command; raises the failure, other than an exit code with ``check=False``."""
    code = exit_code(snapshot)
    if snapshot.status == "completed" and code is not None and (code == 0 or not check):
        return CompletedJob(job, command, code)
    raise failure(job, snapshot, command)


def failure(job: Job, snapshot: JobSnapshot, what: str) -> JobFailedError:
    """The error that says how a job failed, with its evidence."""
    kind = _kind(snapshot)
    code = exit_code(snapshot)
    text = f"job {snapshot.id} ({what}) {_verb(kind, snapshot, code)}"
    if kind in _ADVICE:
        text += f"; {_ADVICE[kind]}"
    return kind(
        text,
        job_id=snapshot.id,
        status=snapshot.status,
        reason=snapshot.reason,
        exit_codes=snapshot.exit_codes,
        stderr=_last_lines(job),
    )


def _kind(snapshot: JobSnapshot) -> type[JobFailedError]:
    if snapshot.status == "deleted":
        return JobDeleted
    for beginning, kind in _BY_REASON:
        if snapshot.reason.startswith(beginning):
            return kind
    if exit_code(snapshot):
        return TaskExitError
    return OutcomeUnknown if snapshot.status == "completed" else JobFailedError


def _verb(kind: type[JobFailedError], snapshot: JobSnapshot, code: int | None) -> str:
    if kind is TaskExitError and code is not None:
        return f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
    if kind is OutcomeUnknown:
        return "has completed, but the service knows nothing of its tasks"
    return f"{snapshot.status}: {snapshot.reason or 'no reason given'}"


def _last_lines(job: Job) -> str:
    """The end of the job's standard error; empty where even that cannot be had."""
    try:
        text: Any = job.stderr()
    except ProminenceError:
        return ""
    return str(text)[-_STDERR_CHARACTERS:].strip()
