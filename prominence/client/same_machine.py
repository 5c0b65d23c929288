"""The short way of large data: as files, where the service is that of this user on this machine.

It tells such a client of files below its state directory (:mod:`prominence.sharing`): of one to be
filled for an upload, and of those that outputs lie in. Whatever keeps the short way from being taken, the
data is sent: a file that is gone by now, or of another size, a disk that is full, a service that says no.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, Final

from prominence.client.retry import Kind
from prominence.client.transport import Request
from prominence.copying import copied
from prominence.exceptions import ServiceError, ServiceUnavailable
from prominence.logs import logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prominence.client.downloads import Known, Progress
    from prominence.client.transport import Transport
    from prominence.client.uploads import Content, UploadPlace
    from prominence.sharing import SharedFiles

log = logger(__name__)

_SLOWEST_DISK: Final = 20e6  # bytes in a second; what is taken over is read once, and brought to disk


def place(
    transport: Transport, where: UploadPlace, name: str, content: Content, sha256: str | None
) -> str | None:
    """Fill the file of an upload and have it taken over; the object's SHA-256, None where it is to be sent.

    Raises what the caller's own ``progress`` raises.
    """
    files = transport.service.files
    if files is None or where.path is None:
        return None
    stored = None
    try:
        _fill(files, where.path, content)
        stored = _taken_over(transport, where.path, name, content.size, sha256)
    except (OSError, ServiceError, ServiceUnavailable) as error:
        log.debug("%s cannot be placed, so it is sent: %s", name, error)
    finally:
        if stored is None:
            with suppress(OSError):
                files.path_of(where.path).unlink()
    return stored


def _fill(files: SharedFiles, path: str, content: Content) -> None:
    with io.FileIO(files.open(path, os.O_WRONLY), "wb") as target:
        _check_size(target, 0)
        content.write_to(target)
        _check_size(target, content.size)


def _taken_over(transport: Transport, path: str, name: str, size: int, sha256: str | None) -> str | None:
    body = json.dumps({"filename": name, "path": path, "checksum": sha256}).encode()
    request = Request("POST", "/data/placed", Kind.REMOVE, body=body, longer=size / _SLOWEST_DISK)
    answer = transport.send(request).json()
    return answer.get("sha256") if isinstance(answer, dict) else None


def read(transport: Transport, known: Known) -> bytes | None:
    """What is stored, by the path that is known of it; None where it is to be fetched."""
    try:
        with _opened(transport, known) as source:
            content = source.read()
    except OSError as error:
        log.debug("%s is fetched, since it cannot be read: %s", known["service_path"], error)
        return None
    _progress(known)(len(content), len(content))
    return content


def copy(transport: Transport, known: Known, target: BinaryIO) -> bool:
    """Write what is stored to a file, by the path that is known of it; False where it is to be fetched."""
    done, progress = 0, _progress(known)
    try:
        with _opened(transport, known) as source:
            for count in copied(source.fileno(), target.fileno()):
                done += count
                progress(done, known.get("size"))
    except OSError as error:
        log.debug("%s is fetched, since it cannot be copied: %s", known["service_path"], error)
        return False
    return True


@contextmanager
def _opened(transport: Transport, known: Known) -> Iterator[io.FileIO]:
    """The file, which has the size and the checksum that are known; raises OSError where there is none."""
    files, path = transport.service.files, known["service_path"]
    if files is None or path is None:
        raise FileNotFoundError("this process does not have the service's files")
    with io.FileIO(files.open(path, os.O_RDONLY)) as source:
        _check_size(source, known.get("size"))
        if (sha256 := known.get("sha256")) is not None:
            found = hashlib.file_digest(source, "sha256").hexdigest()
            source.seek(0)
            if found != sha256.lower():
                raise OSError(f"it has the SHA-256 {found}, not {sha256}")
        yield source


def _check_size(file: io.FileIO, size: int | None) -> None:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is no file")
    if size not in {None, found.st_size}:
        raise OSError(f"it has {found.st_size} bytes, not {size}")


def _progress(known: Known) -> Progress:
    return known.get("progress") or (lambda _done, _total: None)
