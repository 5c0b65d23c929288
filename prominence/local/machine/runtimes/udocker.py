"""udocker: images of docker run by an ordinary user, with no help of the system."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from prominence.local.machine import inherited
from prominence.local.machine.runtimes import images, inside
from prominence.local.machine.runtimes.base import Command, Image, ImageUnavailable, NotRunnable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prominence.local.machine.runtimes.base import Helpers, Start


class UdockerRuntime:
    name = "udocker"
    has_images = True
    memory_measurement = "sampled"

    def __init__(self, options: str, cache: Path) -> None:
        root = ["--allow-root"] if os.getuid() == 0 else []
        self._program = [shutil.which(self.name) or self.name, *root, *shlex.split(options)]
        self._cache = cache

    def version(self) -> str:
        answer = subprocess.run(
            [*self._program, "version"], capture_output=True, text=True, check=False
        ).stdout
        return next((line for line in answer.splitlines() if line.startswith("version")), "")

    def prepare(self, task: Mapping[str, Any], objects: Mapping[str, str], helpers: Helpers, /) -> Image:
        path = images.local_path(task, objects, self._cache, helpers)
        if path is None:
            return self._from_registry(task, helpers)
        if path.is_dir() or images.is_singularity_image(path):
            raise ImageUnavailable("udocker runs images of registries and .tar files only")
        sha256 = images.digest(path, task.get("imageSha256"))
        if images.archive_kind(path) != "rootfs":
            raise ImageUnavailable("udocker takes a tar of a file system: make it with `podman export`")
        reference = f"prominence:{sha256}"
        with images.locked(self._cache / sha256, helpers):
            if self._has(reference, helpers):
                return Image(reference, sha256)
            self._succeed(helpers, "import", str(path), reference)
        return Image(reference, sha256, is_new=True)

    def command(self, start: Start, /) -> Command:
        words = inside.command(start)
        variables = inside.environment(start)
        if several_lines := [name for name, value in variables.items() if "\n" in value]:
            raise NotRunnable(f"udocker cannot pass variables of several lines: {', '.join(several_lines)}")
        argv = [
            *self._program,
            "run",
            "--rm",
            "--nobanner",
            f"--name={start.name}",
            f"--workdir={inside.directory(start)}",
            f"--env-file={inside.environment_file(start, variables)}",
            *(f"--volume={bind.source}:{bind.target}" for bind in inside.binds(start)),
            *(["--entrypoint="] if words else []),
            start.image.reference,
            *words,
        ]
        return Command(argv[0], argv, inherited.for_container_programs(), start.private)

    def exit_code(self, _name: str, code: int, /) -> int:
        return code

    def remove(self, names: Sequence[str], /) -> None:
        """Remove what a container that was cut short has left on the disk; most have removed themselves."""
        for name in names:
            subprocess.run(
                [*self._program, "rm", name],
                env=inherited.for_container_programs(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )

    def _from_registry(self, task: Mapping[str, Any], helpers: Helpers) -> Image:
        if task.get("imagePullCredential"):
            raise ImageUnavailable("udocker has no way to take credentials that others cannot see")
        name = task["image"].removeprefix(images.DOCKER)
        images.in_registry(name)
        with images.locked(self._cache / "udocker", helpers):
            if self._has(name, helpers):
                return Image(name)
            self._succeed(helpers, "pull", name)
        return Image(name, is_new=True)

    def _has(self, name: str, helpers: Helpers) -> bool:
        return helpers.run([*self._program, "inspect", name], inherited.for_container_programs()).code == 0

    def _succeed(self, helpers: Helpers, *words: str) -> None:
        finished = helpers.run([*self._program, *words], inherited.for_container_programs())
        if finished.code:
            raise ImageUnavailable(finished.output.strip())
