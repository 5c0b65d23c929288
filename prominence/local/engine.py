"""The seam under the service: whole job attempts go in, changes come out.

The engine queues attempts, decides when each one starts, runs it and keeps its output. Retries, labels,
data and everything that the REST API shows belong to the service above. This machine is the first
engine (:mod:`prominence.local.machine`); a batch system can be another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Stream = Literal["stdout", "stderr"]


class AttemptId(NamedTuple):
    """The n-th try at running a job; tries count from 1."""

    job: int
    number: int

    def __str__(self) -> str:
        return f"{self.job}-{self.number}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """All that an engine needs to run a job once.

    ``description`` is the job in the API's JSON, already validated; ``environment`` is set for every
    task (the job's token and the service's URL among it).
    """

    id: AttemptId
    description: dict[str, Any]
    environment: dict[str, str]
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Output:
    """A file or directory brought back from an attempt: where it lies now and its size in bytes."""

    name: str
    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    ``status`` is ``finished`` (all tasks were run, whatever their exit codes), ``failed``, ``killed``,
    ``cancelled`` or ``lost``; ``execution`` has the API's form; times are Unix epochs in seconds.
    """

    status: Literal["finished", "failed", "killed", "cancelled", "lost"]
    ended: float
    started: float | None = None
    reason: str = ""
    execution: dict[str, Any] = field(default_factory=dict)
    output_files: tuple[Output, ...] = ()
    output_dirs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to an attempt: it started (``outcome`` is None) or it ended."""

    sequence: int
    attempt: AttemptId
    time: float
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an engine has in all: cores and memory in GB."""

    cpus: int
    memory: float


class Engine(Protocol):
    async def open(self) -> None:
        """Get ready to run attempts."""

    async def close(self) -> None:
        """Let go of everything but the attempts, which go on."""

    def refuses(self, description: dict[str, Any]) -> str | None:
        """Why this engine cannot run such a job, or None."""

    async def recover(self, wanted: Iterable[Attempt], unwanted: Iterable[Attempt]) -> None:
        """Take up attempts of an earlier life of the service.

        Each wanted one runs on, ends, or is queued again; each unwanted one is ended if it runs.
        """

    async def submit(self, attempts: Sequence[Attempt]) -> None:
        """Queue attempts; they start in order of priority, then of arrival."""

    async def cancel(self, attempts: Iterable[AttemptId]) -> None:
        """End attempts wherever they are; each then gets an outcome ``cancelled`` (or its true one)."""

    async def changes(self, since: int) -> list[Change]:
        """Wait for changes after sequence number ``since``; those up to it are forgotten."""

    def open_output(self, attempt: AttemptId, stream: Stream, node: int) -> BinaryIO | None:
        """What was written so far, to be read from any offset; None where there is no such output."""

    def capacity(self) -> tuple[Capacity, Capacity]:
        """In all, and free at this moment."""
