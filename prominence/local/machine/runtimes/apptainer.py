"""apptainer, and singularity by its older name: containers that are plain child processes."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final

from prominence.local.machine import inherited
from prominence.local.machine.runtimes import images, inside
from prominence.local.machine.runtimes.base import (
    CONTAINER_HOME,
    Command,
    Image,
    ImageUnavailable,
    NotRunnable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from prominence.local.machine.runtimes.base import Helpers, Start

_SET_BY_OPTIONS: Final = "HOME"
_SEPARATORS: Final = frozenset(",:")


class ApptainerRuntime:
    has_images = True
    memory_measurement = "sampled"

    def __init__(self, name: str, options: str, cache: Path) -> None:
        """``options`` come right after the program's name; ``cache`` holds pulled and converted images."""
        self.name = name
        self._program = [shutil.which(name) or name, *shlex.split(options)]
        self._cache = cache

    def version(self) -> str:
        return subprocess.run(
            [*self._program, "--version"], capture_output=True, text=True, check=False
        ).stdout.strip()

    def prepare(self, task: Mapping[str, Any], objects: Mapping[str, str], helpers: Helpers, /) -> Image:
        path = images.local_path(task, objects, self._cache, helpers)
        if path is None:
            return self._from_registry(task, helpers)
        if path.is_dir():
            return Image(str(path))
        sha256 = images.digest(path, task.get("imageSha256"))
        if images.is_singularity_image(path):
            return Image(str(path), sha256)
        kind = images.archive_kind(path)
        if kind == "rootfs":
            raise ImageUnavailable(
                f"{self.name} cannot run a tar of a file system: unpack it, or use what `podman save` writes"
            )
        is_new = self._make(self._cache / f"{sha256}.sif", ["build"], f"{kind}:{path}", {}, helpers)
        return Image(str(self._cache / f"{sha256}.sif"), sha256, is_new)

    def command(self, start: Start, /) -> Command:
        home, *others = inside.binds(start)
        words = inside.command(start)
        for bind in (home, *others):
            if _SEPARATORS & {*str(bind.source), *bind.target}:
                raise NotRunnable(f"a directory with a comma or colon cannot be mounted: {bind.source}")
        argv = [
            *self._program,
            "exec" if words else "run",
            "--contain",
            "--cleanenv",
            f"--home={home.source}:{CONTAINER_HOME}",
            *(f"--bind={bind.source}:{bind.target}" for bind in others),
            f"--pwd={inside.directory(start)}",
            *([f"--app={start.task['app']}"] if start.task.get("app") else []),
            start.image.reference,
            *words,
        ]
        variables = inside.environment(start)
        del variables[_SET_BY_OPTIONS]
        prefix = f"{self.name.upper()}ENV_"
        passed = {f"{prefix}{name}": value for name, value in variables.items()}
        return Command(argv[0], argv, {**inherited.for_container_programs(), **passed}, start.private)

    def exit_code(self, _name: str, code: int, /) -> int:
        return code

    def remove(self, _names: Sequence[str], /) -> None:
        """All that was started here descends from the supervisor, and leaves nothing behind."""

    def _from_registry(self, task: Mapping[str, Any], helpers: Helpers) -> Image:
        name = task["image"]
        source = name if "://" in name else f"{images.DOCKER}{name}"
        target = self._cache / f"{hashlib.sha256(source.encode()).hexdigest()[:32]}.sif"
        credential = task.get("imagePullCredential")
        login = {}
        if credential:
            prefix = f"{self.name.upper()}_DOCKER_"
            login = {f"{prefix}USERNAME": credential["username"], f"{prefix}PASSWORD": credential["token"]}
        is_new = self._make(target, ["pull"], source, login, helpers)
        return Image(str(target), images.digest(target, task.get("imageSha256")), is_new)

    def _make(
        self, target: Path, words: list[str], source: str, login: dict[str, str], helpers: Helpers
    ) -> bool:
        """Have ``target`` made of ``source`` if it is not there; True if it was made now."""
        with images.locked(target, helpers):
            if target.exists():
                return False
            scratch = target.with_suffix(".new.sif")
            argv = [*self._program, *words, "--force", str(scratch), source]
            finished = helpers.run(argv, {**inherited.for_container_programs(), **login})
            if finished.code:
                scratch.unlink(missing_ok=True)
                raise ImageUnavailable(finished.output.strip())
            scratch.rename(target)
            return True
