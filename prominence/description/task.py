"""One task of a job: a command in a container."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from prominence.description.base import Description, as_object
from prominence.description.checks import HIDDEN

_IMAGE_ARCHIVES: Final = (".tar", ".tgz")


def runtime_for(image: object) -> str:
    """The container runtime for an image: only udocker takes archives."""
    return "udocker" if any(suffix in str(image) for suffix in _IMAGE_ARCHIVES) else "singularity"


def literally(words: Iterable[str]) -> str:
    """A command line that comes out as these words: the service replaces ``$`` names, but not ``$$``."""
    return shlex.join(words).replace("$", "$$")


class Task(Description):
    """A command in a container.

    - ``image``: name or URL of the container image, or an uploaded object's name
    - ``command``: split into words as a shell would, but no shell runs it; without one the image's
      own entry point runs
    - ``runtime``: ``singularity`` or ``udocker``
    - ``type``: ``basic`` (also when not set), ``sidecar``, ``openmpi``, ``intelmpi`` or ``mpich``
    - ``workdir``: working directory; a relative one lies under the job's scratch directory
    - ``env``: environment variables, strings or numbers by name
    - ``procs_per_node``: MPI processes on each node, at most the job's CPUs
    - ``app``: app of a singularity image
    - ``stdout``: name of a file that the task's standard output is copied to
    - ``image_pull_credential``: object with ``username`` and ``token`` for the image's registry
    - ``image_sha256``: checksum that the image must have, in hex
    """

    _wire: ClassVar[Mapping[str, str]] = {
        "image": "image",
        "runtime": "runtime",
        "command": "cmd",
        "type": "type",
        "workdir": "workdir",
        "env": "env",
        "procs_per_node": "procsPerNode",
        "app": "app",
        "stdout": "stdout",
        "image_pull_credential": "imagePullCredential",
        "image_sha256": "imageSha256",
    }

    def __init__(
        self,
        *,
        image: str | None = None,
        command: str | None = None,
        runtime: str | None = "singularity",
        type: str | None = None,  # noqa: A002 - the specification's name
        workdir: str | None = None,
        env: Mapping[str, str | float] | None = None,
        procs_per_node: int | None = None,
        app: str | None = None,
        stdout: str | None = None,
        image_pull_credential: Mapping[str, str] | None = None,
        image_sha256: str | None = None,
    ) -> None:
        self.image = image
        self.command = command
        self.runtime = runtime
        self.type = type
        self.workdir = workdir
        self.env: dict[str, str | float] = as_object(env)
        self.procs_per_node = procs_per_node
        self.app = app
        self.stdout = stdout
        self.image_pull_credential = image_pull_credential
        self.image_sha256 = image_sha256

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        # A missing runtime stays missing: the rules, not a default, have to say so.
        return {"runtime": None, **super()._arguments(data)}

    def _shown(self, attribute: str, value: object) -> str:
        if attribute != "image_pull_credential":
            return super()._shown(attribute, value)
        if not isinstance(value, Mapping):
            return HIDDEN
        return repr({key: value[key] if key == "username" else HIDDEN for key in value})
