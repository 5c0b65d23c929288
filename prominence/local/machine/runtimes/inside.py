"""What a task sees inside of any container: paths, environment and command."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Final, NamedTuple

from prominence.local.machine.runtimes.base import CONTAINER_HOME, INTERPRETER_VARIABLE, NotRunnable

if TYPE_CHECKING:
    from pathlib import Path

    from prominence.local.machine.runtimes.base import Start

_TMP: Final = "/tmp"  # noqa: S108 - inside, where it is the task's own
_LAUNCHERS: Final = {
    "openmpi": ("mpirun", "--allow-run-as-root", "--oversubscribe"),
    "mpich": ("mpirun",),
    "intelmpi": ("mpirun",),
}


class Bind(NamedTuple):
    """A directory of this machine, and where the container has it."""

    source: Path
    target: str


def environment(start: Start) -> dict[str, str]:
    """All variables that the task is to have beyond those of its image."""
    variables = {
        "HOME": CONTAINER_HOME,
        "USER": "user",
        **dict.fromkeys(("TMP", "TEMP", "TMPDIR"), _TMP),
        **start.environment,
        **{name: str(value) for name, value in start.task.get("env", {}).items()},
    }
    variables.pop(INTERPRETER_VARIABLE, None)  # a path of this machine, for the host runtime alone
    return variables


def command(start: Start) -> list[str]:
    """The words to run; empty where the image's own entry point is meant."""
    if start.mpi is None:
        return list(start.words)
    return [*_LAUNCHERS[start.mpi.kind], "-np", str(start.mpi.processes), *start.words]


def binds(start: Start) -> list[Bind]:
    """Raises NotRunnable where an artifact's directory does not exist, or is none of the job's."""
    found = [Bind(start.node.scratch, CONTAINER_HOME), Bind(start.node.tmp, _TMP)]
    for mount in start.mounts:
        source = (start.node.scratch / mount.directory).resolve()
        if not source.is_dir() or not source.is_relative_to(start.node.scratch.resolve()):
            raise NotRunnable(f"there is no directory {mount.directory} to be mounted at {mount.target}")
        if {":", ","} & set(mount.target):  # container programs would read options in it
            raise NotRunnable(f"nothing can be mounted at a path with a comma or colon: {mount.target}")
        found.append(Bind(source, mount.target))
    return found


def directory(start: Start) -> str:
    """The working directory; raises NotRunnable where it should be one of the job's own and is not there."""
    wanted = posixpath.normpath(posixpath.join(CONTAINER_HOME, start.workdir))
    for bind in binds(start):
        if wanted == bind.target or wanted.startswith(f"{bind.target}/"):
            below = os.path.relpath(wanted, bind.target)
            if not (bind.source / below).is_dir():
                raise NotRunnable(f"working directory {start.workdir} does not exist")
    return wanted


def environment_file(start: Start, variables: dict[str, str]) -> Path:
    """Put variables where only this user can read them, not into a command line that everybody sees."""
    file = start.private / f"{start.name}.env"
    file.touch(mode=0o600)
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()), encoding="utf-8")
    return file
