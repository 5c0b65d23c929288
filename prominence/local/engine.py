"""The seam under the service: whole job attempts go in, changes come out.

The engine queues attempts, decides when each one starts, runs it and keeps its output. Retries, labels,
data and everything that the REST API shows belong to the service above. This machine is the first
engine (:mod:`prominence.local.machine`); a batch system can be another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from prominence.settings import RuntimeSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

Stream = Literal["stdout", "stderr"]

DEFAULT_WALLTIME_MIN: Final = 720
DEFAULT_DISK_GB: Final = 10


class AttemptId(NamedTuple):
    """The n-th try at running a job; tries count from 1."""

    job: int
    number: int

    def __str__(self) -> str:
        return f"{self.job}-{self.number}"


class Assignment(NamedTuple):
    """All that is needed to run a job once.

    ``description`` is the job in the API's JSON, already validated, the values of a factory filled in;
    ``environment`` is set for every task (the job's token and the service's URL among it); ``objects``
    tells where the uploaded files lie that the job names as artifacts or images.
    """

    description: dict[str, Any]
    environment: dict[str, str]
    objects: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try at a job as it waits in a queue, perhaps with tens of thousands of others.

    ``resources`` are those of the job's description, and may be shared with other attempts.
    """

    id: AttemptId
    resources: Mapping[str, Any]
    loader: Callable[[AttemptId], Assignment]
    priority: int = 0

    def load(self) -> Assignment:
        """The job itself, read anew at each call.

        Raises OSError where it cannot be read at the moment, ValueError where it never can.
        """
        return self.loader(self.id)


@dataclass(frozen=True, slots=True)
class Output:
    """A file, or a directory as a ``.tgz``, brought back from an attempt.

    ``name`` is the one that the description has, ``path`` a file on this machine that stays until the
    attempt is forgotten, ``size`` its bytes. The last part of the path is what callers know it by.
    """

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
    """Something happened to an attempt: it started, went back to the engine's queue, or ended.

    ``time`` is a Unix epoch; only an end has an ``outcome``. ``execution`` is what is known of an attempt
    that started, in the API's form: where it runs, and with what.
    """

    sequence: int
    attempt: AttemptId
    time: float
    outcome: Outcome | None = None
    requeued: bool = False
    execution: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an engine has in all: cores and memory in GB."""

    cpus: int
    memory: float


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """What the service tells an engine that it is going to use.

    ``directory`` is the engine's own, kept from one life of the service to the next; it may not exist
    yet. ``cpus`` and ``memory`` (GB) are the capacity that the user wants, where one was given.
    ``minute`` is the length of a walltime minute in seconds (60 but in tests). ``runtime`` is what the user
    wants commands to be run with; an engine with containers of its own does not need it. ``database`` names
    the database that ids of attempts are from: what is there of the same id from another one is not it.
    """

    directory: Path
    cpus: int | None = None
    memory: float | None = None
    minute: float = 60.0
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    database: str = ""


class OutputPart(NamedTuple):
    """The bytes of an output from some offset to its present end."""

    size: int
    pieces: AsyncIterator[bytes]


class Engine(Protocol):
    """What the service needs of whatever runs its jobs; all of it is called in one event loop.

    Only :meth:`open` and :meth:`recover` may take long: every other method is awaited while somebody waits
    for an answer.
    """

    async def open(self) -> None:
        """Get ready to run attempts; called once, before anything else."""

    async def close(self) -> None:
        """Let go of everything but the attempts, which go on."""

    def refuses(self, description: dict[str, Any]) -> str | None:
        """Why this engine cannot run such a job, or None."""

    async def recover(self, wanted: Iterable[Attempt], unwanted: Iterable[Attempt]) -> None:
        """Take up attempts of an earlier life of the service, which may have been killed at any moment.

        Each wanted one runs on, ends, or is queued again if it certainly never started; one that was lost
        ends as ``lost``. Each unwanted one is ended if it runs. All of them get an outcome in the end,
        also those whose outcome had been told before.
        """

    async def submit(self, attempts: Sequence[Attempt]) -> None:
        """Queue attempts; when each starts is for the engine to decide. An id is submitted once."""

    async def cancel(self, attempts: Iterable[AttemptId]) -> None:
        """End attempts wherever they are; each then gets an outcome ``cancelled`` (or its true one)."""

    async def changes(self, since: int) -> list[Change]:
        """Wait for changes after sequence number ``since``; those up to it are on record and forgotten.

        Sequence numbers grow, and begin at 1 in each life of the service. A change that was not
        acknowledged is told again. A start may be left out where an outcome follows; an outcome never.
        """

    async def read_output(
        self, attempt: AttemptId, node: int, stream: Stream, offset: int
    ) -> OutputPart | None:
        """What was written so far from byte ``offset`` on; None where there is no such output."""

    async def execute(self, attempt: AttemptId, line: str, timeout_s: float) -> bytes | None:
        """Run a shell line in the scratch directory of a running attempt, beside its tasks.

        Returns what it wrote to stdout and stderr, mixed; None when it failed or was not done in time.
        """

    async def snapshot(self, attempt: AttemptId, path: str, archive: Path) -> bool:
        """Write a ``.tgz`` of a path in the scratch directory of a running attempt.

        ``path`` is relative. False when there is no such path, or it leads out of the directory.
        """

    async def forget(self, attempts: Iterable[AttemptId]) -> int:
        """Remove what is kept of attempts that have ended: their outputs, what they wrote.

        Returns the bytes that became free in the engine's directory.
        """

    def capacity(self) -> tuple[Capacity, Capacity]:
        """In all, and free at this moment."""
