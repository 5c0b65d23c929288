"""podman and docker, which are told the same in nearly the same words.

Containers share the machine's network, so that they reach the service on loopback, and its process
numbers, so that a command ends by signals as it does elsewhere. podman's processes descend from the
supervisor; docker's belong to its daemon, which is told to limit their memory.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from prominence.local.machine import inherited
from prominence.local.machine.runtimes import images, inside
from prominence.local.machine.runtimes.base import (
    NOT_RUNNABLE,
    Command,
    Image,
    ImageUnavailable,
    NotRunnable,
    UsedTooMuchMemory,
)
from prominence.logs import logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prominence.local.machine.runtimes.base import Finished, Helpers, Start

log = logger(__name__)

_MAYBE_NOT_STARTED: Final = (125, 126, 127)
_KILLED: Final = 128 + 9
_MANY: Final = 1_048_576  # podman's own choice
_HELPER_TIME_S: Final = 120
_LOADED: Final = "Loaded image"


class PodmanRuntime:
    name = "podman"
    has_images = True
    memory_measurement = "sampled"
    _RUN: ClassVar[tuple[str, ...]] = ("run", "--network=host", "--pid=host", "--security-opt=label=disable")

    _REMOVE: ClassVar[tuple[str, ...]] = ("--force", "--time=0")  # it has been given time before

    def __init__(self, options: str, cache: Path) -> None:
        """``options`` come right after the program's name; ``cache`` holds what is made of image files."""
        self._program = [shutil.which(self.name) or self.name, *shlex.split(options)]
        self._cache = cache

    def version(self) -> str:
        return self._ask("--version")

    def prepare(self, task: Mapping[str, Any], objects: Mapping[str, str], helpers: Helpers, /) -> Image:
        path = images.local_path(task, objects, self._cache, helpers)
        if path is None:
            return self._from_registry(task, helpers)
        sha256 = images.digest(path, task.get("imageSha256"))
        reference = f"localhost/prominence:{sha256}"
        with images.locked(self._cache / sha256, helpers):
            if self._id_of(reference, helpers):
                return Image(reference, sha256)
            self._load(path, reference, helpers)
        return Image(reference, sha256, is_new=True)

    def command(self, start: Start, /) -> Command:
        variables = inside.environment(start)
        several_lines = {name: value for name, value in variables.items() if "\n" in value}
        words = inside.command(start)
        file = inside.environment_file(
            start, {name: value for name, value in variables.items() if name not in several_lines}
        )
        argv = [
            *self._program,
            *self._RUN,
            *self._limits(start),
            f"--name={start.name}",
            f"--user={self._user()}",
            f"--workdir={inside.directory(start)}",
            f"--env-file={file}",
            *(f"--env={name}" for name in several_lines),
            *(f"--volume={_checked(bind.source)}:{bind.target}" for bind in inside.binds(start)),
            *(["--entrypoint="] if words else []),
            start.image.reference,
            *words,
        ]
        return Command(argv[0], argv, {**self._environment(), **several_lines}, start.private)

    def exit_code(self, name: str, code: int, /) -> int:
        if code in _MAYBE_NOT_STARTED and self._state(name, "Status") in {"", "created", "configured"}:
            return NOT_RUNNABLE
        if code == _KILLED and self._state(name, "OOMKilled") == "true":
            raise UsedTooMuchMemory
        return code

    def remove(self, names: Sequence[str], /) -> None:
        if not names:
            return
        try:
            self._run_now("rm", *self._REMOVE, *names)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("cannot remove %s: %s", ", ".join(names), getattr(error, "stderr", None) or error)

    def _user(self) -> str:
        """root inside is this user outside, or root where this user is root."""
        return "0:0"

    def _limits(self, _start: Start) -> list[str]:
        """As many files and processes as the service may have; podman would ask for more, and not get it."""
        return [
            f"--ulimit=nofile={_within(resource.RLIMIT_NOFILE)}",
            f"--ulimit=nproc={_within(resource.RLIMIT_NPROC, _process_numbers())}",
        ]

    def _environment(self) -> dict[str, str]:
        return inherited.for_container_programs()

    def _from_registry(self, task: Mapping[str, Any], helpers: Helpers) -> Image:
        name = task["image"].removeprefix(images.DOCKER)
        full = images.in_registry(name)
        for reference in (name, full):
            if found := self._id_of(reference, helpers):
                return Image(reference, found)
        with tempfile.TemporaryDirectory() as directory:
            login = images.login_file(task, Path(directory))
            pulled = self._pull(full, login, helpers)
        if pulled.code:
            raise ImageUnavailable(pulled.output.strip())
        return Image(full, self._id_of(full, helpers), is_new=True)

    def _pull(self, name: str, login: Path | None, helpers: Helpers) -> Finished:
        credentials = [f"--authfile={login}"] if login else []
        return helpers.run([*self._program, "pull", "--quiet", *credentials, name], self._environment())

    def _id_of(self, reference: str, helpers: Helpers) -> str:
        """The SHA-256 of an image that is here already; empty where it is not."""
        argv = [*self._program, "image", "inspect", "--format={{.Id}}", reference]
        found = helpers.run(argv, self._environment())
        return "" if found.code else found.output.strip().removeprefix("sha256:")

    def _load(self, path: Path, reference: str, helpers: Helpers) -> None:
        if path.is_dir():
            with tempfile.NamedTemporaryFile(dir=self._cache, suffix=".tar") as file:
                with tarfile.open(fileobj=file, mode="w") as archive:
                    archive.add(path, arcname=".")
                self._import(Path(file.name), reference, helpers)
        elif images.is_singularity_image(path):
            raise ImageUnavailable(f"{self.name} cannot run a .sif image: use apptainer")
        elif images.archive_kind(path) == "rootfs":
            self._import(path, reference, helpers)
        else:
            output = self._succeed(helpers, "load", f"--input={path}")
            loaded = [line.split(": ", 1)[1] for line in output.splitlines() if line.startswith(_LOADED)]
            if not loaded:
                raise ImageUnavailable(f"{self.name} load did not tell what it loaded: {output.strip()}")
            self._succeed(helpers, "tag", loaded[-1].strip(), reference)

    def _import(self, archive: Path, reference: str, helpers: Helpers) -> None:
        self._succeed(helpers, "import", str(archive), reference)

    def _succeed(self, helpers: Helpers, *words: str) -> str:
        finished = helpers.run([*self._program, *words], self._environment())
        if finished.code:
            raise ImageUnavailable(finished.output.strip())
        return finished.output

    def _state(self, name: str, what: str) -> str:
        return self._ask("inspect", "--type=container", f"--format={{{{.State.{what}}}}}", name)

    def _ask(self, *words: str) -> str:
        """What the program says to standard output; empty where it fails."""
        try:
            return self._run_now(*words)
        except (OSError, subprocess.SubprocessError):
            return ""

    def _run_now(self, *words: str) -> str:
        """Run the program outside of any attempt, which may have ended."""
        finished = subprocess.run(
            [*self._program, *words],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_HELPER_TIME_S,
            check=True,
        )
        return finished.stdout.strip()


class DockerRuntime(PodmanRuntime):
    name = "docker"
    memory_measurement = "limited"
    _REMOVE = ("--force",)

    def _user(self) -> str:
        return f"{os.getuid()}:{os.getgid()}"

    def _limits(self, start: Start) -> list[str]:
        return [f"--memory={start.memory_bytes}", f"--memory-swap={start.memory_bytes}"]

    def _pull(self, name: str, login: Path | None, helpers: Helpers) -> Finished:
        environment = self._environment()
        if login:
            environment["DOCKER_CONFIG"] = str(login.parent)
        return helpers.run([*self._program, "pull", "--quiet", name], environment)


def _within(kind: int, most: int = _MANY) -> str:
    """A limit of this process as podman reads it, unlimited or above ``most`` as that number."""
    return ":".join(str(most if not 0 <= limit < most else limit) for limit in resource.getrlimit(kind))


def _process_numbers() -> int:
    """How many there can be: podman lowers its own limit to that, and cannot go back."""
    try:
        return int(Path("/proc/sys/kernel/pid_max").read_text())
    except OSError:
        return _MANY


def _checked(source: Path) -> Path:
    if ":" in str(source):
        raise NotRunnable(f"a directory with a colon cannot be mounted: {source}")
    return source
