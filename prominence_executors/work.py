"""What calls are for: each work makes the job that is sent for it, and reads the outcome of the ended one.

A work is all that is kept of a call until its end. Jobs are made of it when they are sent, and again when
somebody asks for them, so that thousands of calls can wait; what works have in common they share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from prominence_executors.calls import packing
from prominence_executors.outcome import EndedCall, completed_command

if TYPE_CHECKING:
    from prominence import Job, Session, Task
    from prominence.snapshot import JobSnapshot
    from prominence_executors.calls.packing import CallFiles
    from prominence_executors.calls.results import ChunkOutcomes
    from prominence_executors.fence import Claim
    from prominence_executors.options import JobOptions
    from prominence_executors.outcome import CompletedJob
    from prominence_executors.sessions.manifest import CallKind

_INTERPRETER_VARIABLE: Final = "PROMINENCE_LOCAL_PYTHON"


class Work(ABC):
    """What one call is for."""

    __slots__ = ()

    @property
    @abstractmethod
    def kind(self) -> CallKind: ...

    @property
    @abstractmethod
    def job_name(self) -> str: ...

    @property
    def is_chunk(self) -> bool:
        """Whether it is calls of one function with several items, as ``map`` sends them."""
        return False

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of what is stored for calls and its job fetches."""
        return ()

    @abstractmethod
    def job(self) -> Job:
        """A new job, not submitted."""

    def for_another_attempt(self, _job_id: int) -> Work | None:
        """What a new job is made of after this one has failed; None where that cannot be had."""
        return self

    @abstractmethod
    def outcome(self, job: Job, snapshot: JobSnapshot, claim: Claim | None) -> Any:
        """What the call gives for its ended job; raises what it is to raise."""


def command_of(job: Job) -> str:
    """What a job runs, for people; without a command an image's own is run."""
    return "; ".join(str(task.command or task.image) for task in job.tasks)


@dataclass(frozen=True, slots=True)
class FunctionWork(Work):
    """A call of a function, whose name is the default one of the job."""

    options: JobOptions = field(repr=False)
    session: Session = field(repr=False)
    files: CallFiles = field(repr=False)
    name: str

    @property
    def kind(self) -> CallKind:
        return "function"

    @property
    def job_name(self) -> str:
        return self.options.name or self.name

    @property
    def objects(self) -> tuple[str, ...]:
        return self.files.objects

    def job(self) -> Job:
        return self.job_for(None)

    def job_for(self, index: int | str | None) -> Job:
        """A new job for one of several chunks, or a template of such jobs."""
        client = self.session.client
        # Of use to the local service alone, and ignored by others.
        env = {_INTERPRETER_VARIABLE: client.settings.local.python} if client.is_on_loopback else {}
        return self.options.job(
            self.files.command(index),
            session=self.session,
            default_name=self.name,
            env=env,
            artifacts=self.files.artifacts,
            input_files=self.files.input_files,
            output_files=[packing.RESULT],
        )

    def outcome(self, job: Job, snapshot: JobSnapshot, claim: Claim | None) -> Any:
        return self.ended(job, snapshot, claim).value()

    def ended(self, job: Job, snapshot: JobSnapshot, claim: Claim | None) -> EndedCall:
        return EndedCall(self.session, job, snapshot, claim, self.name, self.options.image)


@dataclass(frozen=True, slots=True)
class ChunkWork(Work):
    """Calls of a function with several items: the chunk with an index among those that ``chunks`` has."""

    chunks: FunctionWork
    index: int

    @property
    def kind(self) -> CallKind:
        return "function"

    @property
    def job_name(self) -> str:
        return self.chunks.job_name

    @property
    def is_chunk(self) -> bool:
        return True

    @property
    def objects(self) -> tuple[str, ...]:
        return self.chunks.objects

    def job(self) -> Job:
        return self.chunks.job_for(self.index)

    def outcome(self, job: Job, snapshot: JobSnapshot, claim: Claim | None) -> ChunkOutcomes:
        return self.chunks.ended(job, snapshot, claim).item_outcomes()


@dataclass(frozen=True, slots=True)
class _TasksWork(Work):
    """Tasks that are told of by how they ended."""

    options: JobOptions = field(repr=False)

    @property
    def kind(self) -> CallKind:
        return "command" if self.options.check else "unchecked"

    def outcome(self, job: Job, snapshot: JobSnapshot, _claim: Claim | None) -> CompletedJob:
        return completed_command(job, snapshot, command_of(job), check=self.options.check)


@dataclass(frozen=True, slots=True)
class CommandWork(_TasksWork):
    """A command line, whose name is the default one of the job."""

    session: Session = field(repr=False)
    line: str
    name: str

    @property
    def job_name(self) -> str:
        return self.options.name or self.name

    def job(self) -> Job:
        return self.options.job(self.line, session=self.session, default_name=self.name)


@dataclass(frozen=True, slots=True)
class TaskWork(_TasksWork):
    """A caller's own task, whose name is the default one of the job."""

    session: Session = field(repr=False)
    task: Task
    name: str

    @property
    def job_name(self) -> str:
        return self.options.name or self.name

    def job(self) -> Job:
        return self.options.job_of(self.task, session=self.session, default_name=self.name)


@dataclass(frozen=True, slots=True)
class JobWork(_TasksWork):
    """A caller's own job, which is sent itself when it is sent first."""

    given: Job

    @property
    def job_name(self) -> str:
        return str(self.given.name)

    def job(self) -> Job:
        return copy(self.given)
