"""Settings of the embedded service, and where its state directory lies."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from prominence.exceptions import ConfigurationError
from prominence.settings.environment import command_line, positive, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNTIMES: Final = ("host", "auto", "apptainer", "singularity", "podman", "docker", "udocker")
_NETWORK_FILESYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "afs", "fuse.sshfs", "9p"}
)


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """What the embedded service runs commands with.

    ``name`` is one of RUNTIMES (empty: what a running service has, else ``host``); ``options`` come right
    after the container program's name; ``openmpi`` and ``mpich`` are the command lines that start MPI tasks
    without a container (empty: whatever is installed).
    """

    name: str = ""
    options: str = ""
    openmpi: str = ""
    mpich: str = ""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the embedded service keeps what has ended, in days, and how much of it, in 10^9 bytes."""

    days: float | None
    gigabytes: float | None

    def __str__(self) -> str:
        bounds = [(self.days, "d"), (self.gigabytes, "GB")]
        return ",".join(f"{bound:g}{unit}" for bound, unit in bounds if bound is not None) or "forever"

    @classmethod
    def parse(cls, text: str) -> Retention:
        """From ``30d``, ``20GB``, ``30d,20GB`` or ``forever``; else raises ConfigurationError."""
        found: dict[str, float] = {}
        for part in [] if text == "forever" else text.split(","):
            match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(d|GB)\s*", part)
            if match is None or match[2] in found:
                raise ConfigurationError(
                    f"PROMINENCE_LOCAL_RETENTION is {text!r}: it must be like 30d, 20GB, 30d,20GB, or forever"
                )
            found[match[2]] = float(match[1])
        return cls(found.get("d"), found.get("GB"))


DEFAULT_RETENTION: Final = Retention(days=90, gigabytes=50)


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """The embedded service: its state directory; its capacity (None: all that its engine has; memory in
    GB); the interpreter that function calls use there (``PROMINENCE_LOCAL_PYTHON``); the name of the
    engine that runs its jobs (``PROMINENCE_LOCAL_ENGINE``); what that runs commands with; and how long
    the service keeps what has ended (``PROMINENCE_LOCAL_RETENTION``)."""

    directory: Path
    cpus: int | None = None
    memory: float | None = None
    python: str = field(default_factory=lambda: sys.executable)
    engine: str = "machine"
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    retention: Retention = DEFAULT_RETENTION

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], home: Path) -> Self:
        """Settings in force; raises ConfigurationError where one breaks its rule."""
        return cls(
            directory=_directory(environ, home),
            cpus=whole("PROMINENCE_LOCAL_CPUS", environ),
            memory=positive("PROMINENCE_LOCAL_MEMORY", environ),
            python=_python(environ),
            engine=environ.get("PROMINENCE_LOCAL_ENGINE") or "machine",
            runtime=_runtime(environ),
            retention=_retention(environ),
        )


def _runtime(environ: Mapping[str, str]) -> RuntimeSettings:
    name = environ.get("PROMINENCE_LOCAL_RUNTIME", "")
    if name and name not in RUNTIMES:
        raise ConfigurationError(
            f"PROMINENCE_LOCAL_RUNTIME is {name!r}: it must be one of {', '.join(RUNTIMES)}"
        )
    return RuntimeSettings(
        name,
        options=command_line("PROMINENCE_LOCAL_RUNTIME_OPTIONS", environ),
        openmpi=command_line("PROMINENCE_LOCAL_OPENMPI", environ),
        mpich=command_line("PROMINENCE_LOCAL_MPICH", environ),
    )


def _directory(environ: Mapping[str, str], home: Path) -> Path:
    given = environ.get("PROMINENCE_LOCAL_DIR")
    if not given:
        return default_directory(home)
    if Path(given).exists() and not Path(given).is_dir():
        raise ConfigurationError(f"PROMINENCE_LOCAL_DIR is {given!r}: it must be a directory")
    return Path(given).absolute()


def _retention(environ: Mapping[str, str]) -> Retention:
    given = environ.get("PROMINENCE_LOCAL_RETENTION")
    return Retention.parse(given) if given else DEFAULT_RETENTION


def _python(environ: Mapping[str, str]) -> str:
    given = environ.get("PROMINENCE_LOCAL_PYTHON")
    if given and shutil.which(given) is None:
        raise ConfigurationError(f"PROMINENCE_LOCAL_PYTHON is {given!r}: it must be a program")
    return given or sys.executable


def default_directory(home: Path) -> Path:
    """One directory per host: below the home directory, unless that is on a network file system."""
    host = socket.gethostname().split(".")[0] or "localhost"
    if _filesystem_of(home) in _NETWORK_FILESYSTEMS:
        return Path(f"/var/tmp/prominence-{os.getuid()}-{host}")  # noqa: S108 - its owner is checked
    return home / ".prominence" / "local" / host


def _filesystem_of(path: Path) -> str:
    """The type of the file system that holds a path; empty where the system does not tell."""
    best, kind = "", ""
    path = path.resolve()
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in mounts:
        _, mount_point, this_kind, *_ = line.split(" ")
        mount_point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount_point)
        if path.is_relative_to(mount_point) and len(mount_point) >= len(best):
            best, kind = mount_point, this_kind
    return kind
