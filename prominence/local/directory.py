"""Where the embedded service keeps its things, and who may look at them.

::

    <state directory>/          0700, owned by the user, on a disk of this host
        start.lock              held by a client while it starts the service
        service.lock            held by the service for its whole life; has its process number
        endpoint.json           URL, token and files' key of the service that holds a lock on it (0600)
        port                    where it listened last
        announced               the terminals that know of it
        secret                  signs tokens and presigned URLs (0600)
        service.db service.log
        attempts/               one directory per job attempt, kept by the engine
        objects/                what was uploaded
        snapshots/              the latest snapshot of each job that has one
        images/                 what an engine keeps of container images
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, BinaryIO, Final

from prominence.exceptions import LocalServiceError
from prominence.local.trees import remove_tree
from prominence.replacing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LEAST_FREE_BYTES: Final = 256 * 1024  # a database needs as much to be opened
_SECRET_BYTES: Final = 32
_LEADING_ID: Final = re.compile(r"[0-9]{1,18}(?=[-.])")
_LOOKERS_S: Final = 2.0  # others hold the service's lock for moments only, to see whether it is free
_LOCK_RETRY_S: Final = 0.01


class AlreadyServed(LocalServiceError):
    """Another service runs in the directory, or has not quite ended."""


class EndpointUnreadable(LocalServiceError):
    """A service runs, and its process is all that is known of it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running embedded service: where it listens, and what it was started with."""

    url: str
    token: str
    pid: int
    version: str
    cpus: int
    memory: float
    runtime: str = "host"
    files_key: str = ""
    """Proves to the service that a client has the same files; it tells none of them where it is empty."""

    @classmethod
    def read(cls, text: bytes) -> Endpoint:
        """An endpoint as this or another release wrote it, which may tell more or less of itself.

        Raises ValueError where it is none.
        """
        found = json.loads(text)
        try:
            return cls(**{each.name: found[each.name] for each in fields(cls) if each.name in found})
        except TypeError as error:
            raise ValueError(error) from error

    def __repr__(self) -> str:
        return f"Endpoint(url={self.url!r}, pid={self.pid}, version={self.version!r})"


class StateDirectory:
    """The service's directory; :meth:`open` makes it, or refuses one that is not safe to use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "service.db"
        self.log = path / "service.log"
        self.attempts = path / "attempts"
        self.objects = path / "objects"
        self.snapshots = path / "snapshots"
        self.images = path / "images"
        self._endpoint = path / "endpoint.json"
        self._server = path / "service.lock"
        self._port = path / "port"
        self._secret = path / "secret"
        self._published: int | None = None
        self._place: tuple[int, int] | None = None

    def open(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = stat.S_IMODE(self._owned().st_mode)
            if mode & 0o077:
                self.path.chmod(0o700)
        except OSError as error:
            raise self._unusable(error) from error

    def secret(self) -> str:
        """The signing key, made at first use; it outlives the service, so old tokens stay good.

        For the one service alone, which holds the directory's lock.
        """
        try:
            found = self._secret.read_text()
        except FileNotFoundError:
            found = ""
        if len(found) == 2 * _SECRET_BYTES:
            return found
        made = secrets.token_hex(_SECRET_BYTES)
        with replacing(self._secret, mode=0o600) as file:
            file.write(made.encode())
        return made

    def publish(self, endpoint: Endpoint) -> None:
        """Say where the service is. The file is locked for as long as this process lives."""
        with replacing(self._endpoint, mode=0o600) as file:
            file.write(json.dumps(asdict(endpoint)).encode())
            fcntl.flock(file, fcntl.LOCK_EX)
            locked = os.dup(file.fileno())
        before, self._published = self._published, locked
        if before is not None:
            os.close(before)

    def withdraw(self) -> None:
        if not self.is_lost():
            self._endpoint.unlink(missing_ok=True)

    def endpoint(self) -> Endpoint | None:
        """The service that runs now; None when none does, whatever an older file says.

        Raises LocalServiceError where the directory belongs to another user: a service found there
        would be that user's; and EndpointUnreadable where a service runs, but not where is on record.
        """
        try:
            self._owned()
            descriptor = os.open(self._endpoint, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        with os.fdopen(descriptor, "rb") as file:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return self._read(file)
        return None

    def _read(self, file: BinaryIO) -> Endpoint:
        try:
            return Endpoint.read(file.read())
        except ValueError as error:
            text = f"a service runs in {self.path}, but {self._endpoint.name} cannot be read: end it with"
            raise EndpointUnreadable(f"{text} `prominence local stop` and start another") from error

    def server(self) -> int | None:
        """The process of the service that runs; None when none does."""
        text = self._server.read_text() if self.is_served() else ""
        return int(text) if text.strip().isdecimal() else None

    def last_port(self) -> int:
        """The port of the latest service here, which jobs that still run know; 0 if there was none."""
        try:
            return int(self._port.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def keep_port(self, port: int) -> None:
        with replacing(self._port) as file:
            file.write(str(port).encode())

    def last_job(self) -> int:
        """The highest id of a job that has left something here, perhaps one of an earlier database."""
        kept = (*_names_in(self.attempts), *_names_in(self.snapshots))
        ids = (_LEADING_ID.match(name) for name in kept)
        return max((int(found[0]) for found in ids if found), default=0)

    def refuse_emptied_database(self) -> None:
        """Raise LocalServiceError for a database file that has lost all it had: jobs have left files here.

        A file that is not there is another matter: somebody moved it away.
        """
        wal = self.database.with_name(f"{self.database.name}-wal")
        is_empty = self.database.exists() and not self.database.stat().st_size and not wal.exists()
        if is_empty and self.last_job():
            raise LocalServiceError(
                f"the database {self.database} is empty, and jobs have left files in {self.attempts}: "
                "restore it from a copy, or move it away to start with an empty one"
            )

    def refuse_full_disk(self, cause: Exception) -> None:
        """Raise LocalServiceError where there is no room, which is then why something failed."""
        free = shutil.disk_usage(self.path).free if self.path.is_dir() else _LEAST_FREE_BYTES
        if free < _LEAST_FREE_BYTES:
            raise LocalServiceError(
                f"the disk of the state directory {self.path} is full ({cause}): make room there, or name "
                "a directory on another disk with PROMINENCE_LOCAL_DIR"
            ) from cause

    def erase(self) -> None:
        """Remove everything but the locks, one of which the caller holds."""
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                remove_tree(entry)
            elif entry.suffix != ".lock":
                entry.unlink()

    def is_served(self) -> bool:
        """True until the last moment of a service, when it answers no more."""
        with self._locked(self._server.name, fcntl.LOCK_SH, patience_s=0) as is_free:
            return not is_free

    @contextmanager
    def serving(self) -> Iterator[bool]:
        """Be the one service; False when another is."""
        with self._locked(self._server.name, fcntl.LOCK_EX, patience_s=_LOOKERS_S) as mine:
            if mine:
                self._server.write_text(str(os.getpid()))
                self._place = _place(self._server)
            yield mine

    def is_lost(self) -> bool:
        """True where what this service holds is not the directory at its path any more.

        Somebody has removed it, or put another in its place, where another service may run.
        """
        return self._place is not None and self._place != _place(self._server)

    @contextmanager
    def vacant(self) -> Iterator[bool]:
        """Keep services away; False when one runs."""
        with self._locked(self._server.name, fcntl.LOCK_EX, patience_s=_LOOKERS_S) as is_free:
            if is_free:
                self._server.write_text("")
            yield is_free

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Let one client at a time look for the service and start it."""
        with self._locked("start.lock", fcntl.LOCK_EX, patience_s=None):
            yield

    def _owned(self) -> os.stat_result:
        found = self.path.stat()
        if found.st_uid != os.getuid():
            raise LocalServiceError(f"the state directory {self.path} belongs to another user")
        return found

    def _unusable(self, error: OSError) -> LocalServiceError:
        return LocalServiceError(f"cannot use the state directory {self.path}: {error.strerror}")

    @contextmanager
    def _locked(self, name: str, how: int, patience_s: float | None) -> Iterator[bool]:
        """Hold a lock, if it is to be had within some seconds (None: at any time)."""
        try:
            descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            yield _lock(descriptor, how, patience_s)
        finally:
            os.close(descriptor)


def _place(file: Path) -> tuple[int, int] | None:
    """What a file is, whatever its path; None where there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _names_in(directory: Path) -> list[str]:
    return os.listdir(directory) if directory.is_dir() else []  # noqa: PTH208 - there may be many


def _lock(descriptor: int, how: int, patience_s: float | None) -> bool:
    if patience_s is None:
        fcntl.flock(descriptor, how)
        return True
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_LOCK_RETRY_S)
        else:
            return True
