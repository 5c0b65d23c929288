"""Images that are files or directories, and names of images in registries."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final

from prominence.local.machine.runtimes.base import ImageUnavailable
from prominence.local.machine.stage_in import DownloadFailed, download, is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prominence.local.machine.archives import Readable
    from prominence.local.machine.runtimes.base import Helpers

_DIGEST: Final = re.compile("[0-9a-f]{64}")
_MANIFESTS: Final = {"manifest.json": "docker-archive", "oci-layout": "oci-archive"}
_PIECE_BYTES: Final = 1024 * 1024
_LOCK_RETRY_S: Final = 0.1
DOCKER: Final = "docker://"


def local_path(
    task: Mapping[str, Any], objects: Mapping[str, str], cache: Path, helpers: Helpers
) -> Path | None:
    """Where a task's image lies on this machine; None where its name is one of a registry.

    An image behind an http URL is downloaded into ``cache`` once.
    """
    image: str = task["image"]
    if image in objects:
        return Path(objects[image])
    if is_remote(image):
        return _downloaded(image, cache, helpers)
    if image.startswith("/"):
        if not Path(image).exists():
            raise ImageUnavailable("there is no such file or directory")
        return Path(image)
    return None


def _downloaded(url: str, cache: Path, helpers: Helpers) -> Path:
    target = cache / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:32]
    with locked(target, helpers):
        if not target.exists():
            scratch = target.with_suffix(".new")
            try:
                with scratch.open("wb") as file:
                    download(url, lambda source: _copy(source, file, helpers))
            except DownloadFailed as error:
                raise ImageUnavailable(str(error)) from error
            scratch.rename(target)
    return target


def _copy(source: Readable, target: BinaryIO, helpers: Helpers) -> None:
    while piece := source.read(_PIECE_BYTES):
        helpers.check()
        target.write(piece)


@contextmanager
def locked(target: Path, helpers: Helpers) -> Iterator[None]:
    """Let one attempt at a time make ``target``; its directory is made if need be."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as file:
        while not _lock(file):
            helpers.check()
            time.sleep(_LOCK_RETRY_S)
        yield


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def digest(path: Path, expected: str | None) -> str:
    """SHA-256 of an image file, or of what is listed of a directory; raises where another is expected.

    Uploaded objects are kept under their digest.
    """
    if path.is_dir():
        found = _listing_digest(path)
    elif _DIGEST.fullmatch(path.name):
        found = path.name
    else:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected and not path.is_dir() and found != expected.lower():
        raise ImageUnavailable(f"its SHA-256 is {found}, the task says {expected}")
    return found


def _listing_digest(root: Path) -> str:
    gathered = hashlib.sha256()
    for directory, _, names in sorted(os.walk(root)):
        for name in (".", *sorted(names)):
            found = os.lstat(f"{directory}/{name}")
            line = f"{directory}/{name} {found.st_mode} {found.st_size} {found.st_mtime_ns}\n"
            gathered.update(line.encode(errors="surrogateescape"))
    return gathered.hexdigest()


def is_singularity_image(path: Path) -> bool:
    with path.open("rb") as file:
        return b"SIF_MAGIC" in file.read(64)


def archive_kind(path: Path) -> str:
    """``docker-archive`` or ``oci-archive`` for what container programs save; ``rootfs`` for other tars."""
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if kind := _MANIFESTS.get(member.name.removeprefix("./")):
                    return kind
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ImageUnavailable(f"it is neither a .sif image nor a tar archive: {error}") from error
    return "rootfs"


def in_registry(name: str) -> str:
    """An image's name with the registry that ``docker pull`` would ask; raises for other transports."""
    name = name.removeprefix(DOCKER)
    if "://" in name:
        raise ImageUnavailable(f"only apptainer can fetch from {name.partition('://')[0]}://")
    first, _, rest = name.partition("/")
    if rest and (first == "localhost" or "." in first or ":" in first):
        return name
    return f"docker.io/{name}" if rest else f"docker.io/library/{name}"


def login_file(task: Mapping[str, Any], directory: Path) -> Path | None:
    """A Docker ``config.json`` with the task's credentials, readable by this user alone; None without."""
    credential = task.get("imagePullCredential")
    if not credential:
        return None
    registry = in_registry(task["image"]).partition("/")[0]
    if registry == "docker.io":
        registry = "https://index.docker.io/v1/"
    pair = base64.b64encode(f"{credential['username']}:{credential['token']}".encode()).decode()
    file = directory / "config.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"auths": {registry: {"auth": pair}}}), encoding="utf-8")
    return file
