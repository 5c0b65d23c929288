"""What runs the commands of tasks: this machine itself, or one of the container programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prominence.local.machine.runtimes.host import HostRuntime

if TYPE_CHECKING:
    from prominence.local.machine.runtimes.base import Runtime


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How a service runs commands: the runtime's name, and the launchers of MPI tasks on the machine itself.

    ``openmpi`` and ``mpich`` are command lines; empty: whatever is installed.
    """

    name: str = "host"
    openmpi: str = ""
    mpich: str = ""


def runtime_of(options: RuntimeOptions) -> Runtime:
    return HostRuntime(options.openmpi, options.mpich)
