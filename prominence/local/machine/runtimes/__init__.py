"""What runs the commands of tasks: this machine itself, or one of the container programs."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from prominence.exceptions import LocalServiceError
from prominence.local.machine.runtimes.host import HostRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from prominence.local.machine.runtimes.base import Runtime
    from prominence.settings import RuntimeSettings

_BY_PREFERENCE: Final = ("apptainer", "singularity", "podman", "docker", "udocker")
_ANSWER_TIME_S: Final = 10


def choose_runtime(wanted: str) -> str:
    """The name of the runtime to use; ``auto`` is the first container program that works here, else `host`.

    Raises LocalServiceError where the wanted one is not installed.
    """
    if wanted == "auto":
        return next((name for name in _BY_PREFERENCE if _works(name)), HostRuntime.name)
    name = wanted or HostRuntime.name
    if name != HostRuntime.name and shutil.which(name) is None:
        raise LocalServiceError(
            f"PROMINENCE_LOCAL_RUNTIME is {name}, but there is no such program in the PATH"
        )
    return name


def installed_runtimes() -> dict[str, bool]:
    """The container programs in the PATH, by preference, and whether each can be used."""
    return {name: _works(name) for name in _BY_PREFERENCE if shutil.which(name) is not None}


def runtime_of(settings: RuntimeSettings, cache: Path) -> Runtime:
    """The runtime of that name; ``cache`` is where it may keep what it makes of images."""
    name = settings.name or HostRuntime.name
    if name == HostRuntime.name:
        return HostRuntime(settings.openmpi, settings.mpich)
    if name == "podman":
        from prominence.local.machine.runtimes.podman import PodmanRuntime

        return PodmanRuntime(settings.options, cache)
    if name == "docker":
        from prominence.local.machine.runtimes.podman import DockerRuntime

        return DockerRuntime(settings.options, cache)
    if name == "udocker":
        from prominence.local.machine.runtimes.udocker import UdockerRuntime

        return UdockerRuntime(settings.options, cache)
    from prominence.local.machine.runtimes.apptainer import ApptainerRuntime

    return ApptainerRuntime(name, settings.options, cache)


def _works(name: str) -> bool:
    if shutil.which(name) is None:
        return False
    if name != "docker":
        return True
    try:  # its program is of no use where no daemon runs
        answer = subprocess.run([name, "info"], capture_output=True, timeout=_ANSWER_TIME_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0
