"""What is brought out of an attempt's scratch directory after its tasks ran."""

from __future__ import annotations

import glob
import os
import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prominence.local.machine.runtimes.base import CONTAINER_HOME
from prominence.local.trees import with_contents

if TYPE_CHECKING:
    from prominence.local.machine.files import AttemptFiles

MISSING_FILE: Final = "Stageout failed due to no such file or directory"
MISSING_DIRECTORY: Final = "Stageout failed due to tarball creation failed"
UNABLE_TO_STORE: Final = "Unable to stageout output to object storage"


@dataclass(slots=True)
class StagedOut:
    """What was brought back; ``reason`` says in the service's words why something was not."""

    files: list[dict[str, Any]] = field(default_factory=list)
    dirs: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""


def stage_out(description: dict[str, Any], files: AttemptFiles) -> StagedOut:
    """Bring every output that exists to ``outputs/``, also when others are missing."""
    staged = StagedOut()
    for name in description.get("outputDirs", []):
        found = _inside(files.scratch, name)
        if found is None or not found.is_dir():
            staged.reason = MISSING_DIRECTORY
            continue
        archive = files.outputs / f"{Path(name).name}.tgz"
        with tarfile.open(archive, "w:gz") as tar:
            for path in with_contents(found):
                tar.add(path, Path(name).name / path.relative_to(found), recursive=False)
        staged.dirs.append(_record(name, archive))
    for name in description.get("outputFiles", []):
        found = _inside(files.scratch, name)
        if found is None or not found.is_file():
            staged.reason = MISSING_FILE
            continue
        stored = files.outputs / Path(name).name
        _keep(found, stored)
        staged.files.append(_record(name, stored))
    return staged


def _inside(scratch: Path, name: str) -> Path | None:
    """The path that an output's name (or pattern) means, if it exists and lies in the scratch directory."""
    relative = name.removeprefix(f"{CONTAINER_HOME}/")
    matches = sorted(glob.glob(relative, root_dir=scratch))  # noqa: PTH207 - takes any text, "/x" too
    exact = scratch / relative
    found = exact if exact.exists() else scratch / matches[0] if matches else None
    if found is None:
        return None
    real = found.resolve()
    return real if real.is_relative_to(scratch.resolve()) else None


def _keep(found: Path, stored: Path) -> None:
    """Link, or copy where links do not work; a name that stood there before is replaced."""
    stored.unlink(missing_ok=True)
    try:
        os.link(found, stored)
    except OSError:
        shutil.copyfile(found, stored)


def _record(name: str, stored: Path) -> dict[str, Any]:
    return {"name": name, "path": str(stored), "size": stored.stat().st_size}
