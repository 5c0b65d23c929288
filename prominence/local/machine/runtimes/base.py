"""What the supervisor asks of a runtime, and what it tells one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prominence.local.machine.files import Node

CONTAINER_HOME: Final = "/home/user"
NOT_RUNNABLE: Final = 255  # what the service reports for a missing command or working directory
INTERPRETER_VARIABLE: Final = "PROMINENCE_LOCAL_PYTHON"


class NotRunnable(Exception):
    """A command cannot be started; the text is for the job's standard error."""


class ImageUnavailable(Exception):
    """An image cannot be had; the text is for the job's standard error."""


class UsedTooMuchMemory(Exception):
    """A container was ended by the system for the memory that it used."""


class Finished(NamedTuple):
    """How a helper program ended, and what it wrote to standard output and error together."""

    code: int
    output: str


class Helpers(Protocol):
    """Runs programs on behalf of an attempt, and notices when that is to be ended meanwhile."""

    def run(self, argv: Sequence[str], environment: Mapping[str, str]) -> Finished:
        """Run a program to its end."""

    def check(self) -> None:
        """Return if the attempt is to go on; for whatever waits in another way."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program ready to be started: where it lies, its arguments, environment and directory."""

    path: str
    argv: list[str]
    environment: dict[str, str]
    directory: Path


@dataclass(frozen=True, slots=True)
class Image:
    """An image as its runtime names it; ``sha256`` where that is known, ``is_new`` if it was fetched."""

    reference: str
    sha256: str = ""
    is_new: bool = False


class Mount(NamedTuple):
    """A directory below the scratch directory, and the absolute path at which the task is to see it."""

    directory: str
    target: str


class Mpi(NamedTuple):
    """Which MPI a task is for (``openmpi``, ``mpich``, ``intelmpi``), and with how many processes."""

    kind: str
    processes: int


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a task on one node.

    ``words`` is the command, its ids filled in (empty: the image's own entry point), to be run as ``mpi``
    if that is given; ``environment`` is what the service sets; ``name`` is unique on this machine;
    ``private`` is a directory that the task does not see.
    """

    task: Mapping[str, Any]
    words: tuple[str, ...]
    mpi: Mpi | None
    workdir: str
    environment: Mapping[str, str]
    node: Node
    mounts: tuple[Mount, ...]
    image: Image
    name: str
    memory_bytes: int
    private: Path


class Runtime(Protocol):
    name: str
    has_images: bool
    """False where commands run without an image, whatever a task names."""
    memory_measurement: str
    """``sampled`` by the supervisor, or ``limited`` by the runtime."""

    def version(self) -> str:
        """The runtime's own version, as ``execution.runtimeVersion`` tells it."""

    def prepare(self, task: Mapping[str, Any], objects: Mapping[str, str], helpers: Helpers, /) -> Image:
        """Have the task's image ready; ``objects`` are uploaded files by name. Raises ImageUnavailable."""

    def command(self, start: Start, /) -> Command:
        """What is to be started. Raises NotRunnable."""

    def exit_code(self, name: str, code: int, /) -> int:
        """The task's exit code, given that of the process which was started under ``name``.

        Raises UsedTooMuchMemory where the runtime limits memory and tells so.
        """

    def remove(self, names: Sequence[str], /) -> None:
        """End and remove what was started under these names and is no descendant of the supervisor."""
