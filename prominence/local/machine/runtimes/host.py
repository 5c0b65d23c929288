"""The `host` runtime: a task's command is run directly on this machine, with no container.

What a container would give is imitated where that is possible without one: a home directory of the
job's own, a private /tmp by way of TMPDIR, a clean environment. The image is not looked at.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from typing import TYPE_CHECKING, Any, Final

from prominence.local.machine import inherited
from prominence.local.machine.runtimes.base import (
    CONTAINER_HOME,
    INTERPRETER_VARIABLE,
    Command,
    Image,
    NotRunnable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prominence.local.machine.files import Node
    from prominence.local.machine.runtimes.base import Helpers, Mpi, Start

_HOME_IN_VALUE: Final = re.compile(rf"(?<![\w./-]){CONTAINER_HOME}(?=[/:]|$)")
_PYTHONS: Final = ("python", "python3")
_MPI_ENVIRONMENT: Final = {  # Open MPI asks for both before it starts anything as root
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


class HostRuntime:
    name = "host"
    has_images = False
    memory_measurement = "sampled"

    def __init__(self, openmpi: str, mpich: str) -> None:
        """``openmpi`` and ``mpich`` are the launchers' command lines; empty: whatever is installed."""
        self._launchers = {"openmpi": openmpi, "mpich": mpich, "intelmpi": mpich}

    def version(self) -> str:
        return os.uname().release

    def prepare(self, task: Mapping[str, Any], _objects: Mapping[str, str], _helpers: Helpers) -> Image:
        return Image(task["image"])

    def command(self, start: Start) -> Command:
        own = _environment(start)
        directory = _directory(start.workdir, start.node)
        if not start.words:
            raise NotRunnable("there is no command, and without a container no entry point of an image")
        words = list(start.words)
        if words[0] in _PYTHONS and INTERPRETER_VARIABLE in own:
            words[0] = own[INTERPRETER_VARIABLE]
        path = _find(words[0], own, directory)
        if start.mpi is not None:
            words = [*self._launcher(start.mpi), *words]
            path = _find(words[0], own, directory)
        return Command(path, words, own, directory)

    def exit_code(self, _name: str, code: int) -> int:
        return code

    def remove(self, _names: Sequence[str]) -> None:
        """All that was started here descends from the supervisor."""

    def _launcher(self, mpi: Mpi) -> list[str]:
        given = shlex.split(self._launchers[mpi.kind])
        return [*(given or _installed_launcher(mpi.kind)), "-np", str(mpi.processes)]


def _installed_launcher(kind: str) -> list[str]:
    """Debian has both at once, under names of their own; elsewhere ``mpirun`` is the one there is."""
    kind = "openmpi" if kind == "openmpi" else "mpich"
    program = f"mpirun.{kind}" if shutil.which(f"mpirun.{kind}") else "mpirun"
    return [program, "--oversubscribe"] if kind == "openmpi" else [program]


def _environment(start: Start) -> dict[str, str]:
    tmp = str(start.node.tmp)
    return {
        **inherited.for_tasks(),
        "HOME": str(start.node.scratch),
        "USER": inherited.user(),
        "TMP": tmp,
        "TEMP": tmp,
        "TMPDIR": tmp,
        **(_MPI_ENVIRONMENT if start.mpi else {}),
        **start.environment,
        **{name: _in_scratch(str(value), start.node) for name, value in start.task.get("env", {}).items()},
    }


def _in_scratch(value: str, node: Node) -> str:
    return _HOME_IN_VALUE.sub(lambda _: str(node.scratch), value)


def _directory(wanted: str, node: Node) -> Path:
    directory = node.scratch / _in_scratch(wanted, node)
    if not directory.is_dir():
        raise NotRunnable(f"working directory {wanted} does not exist")
    return directory


def _find(program: str, environment: Mapping[str, str], directory: Path) -> str:
    if "/" in program:
        found = shutil.which(directory / program)
    else:
        found = shutil.which(program, path=environment.get("PATH", os.defpath))
    if found is None:
        raise NotRunnable(f"{program}: command not found")
    return str(found)
