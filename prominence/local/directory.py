"""Where the embedded service keeps its things, and who may look at them.

::

    <state directory>/          0700, owned by the user, on a disk of this host
        start.lock              held by a client while it starts the service
        service.lock            held by the service for its whole life
        endpoint.json           URL and token of the running service (0600)
        port                    where it listened last
        secret                  signs tokens and presigned URLs (0600)
        service.db service.log
        attempts/               one directory per job attempt, kept by the engine
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from prominence.exceptions import LocalServiceError
from prominence.local.machine.files import read_json, write_json
from prominence.local.machine.hardware import boot_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running embedded service: where it listens, and what it was started with."""

    url: str
    token: str
    pid: int
    boot_id: str
    version: str
    cpus: int
    memory: float

    def __repr__(self) -> str:
        return f"Endpoint(url={self.url!r}, pid={self.pid}, version={self.version!r})"


class StateDirectory:
    """The service's directory; :meth:`open` makes it, or refuses one that is not safe to use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = path / "service.db"
        self.log = path / "service.log"
        self.attempts = path / "attempts"
        self._endpoint = path / "endpoint.json"
        self._port = path / "port"
        self._secret = path / "secret"

    def open(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.path.stat()
        except OSError as error:
            raise LocalServiceError(
                f"cannot use the state directory {self.path}: {error.strerror}"
            ) from error
        if found.st_uid != os.getuid():
            raise LocalServiceError(f"the state directory {self.path} belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            self.path.chmod(0o700)

    def secret(self) -> str:
        """The signing key, made at first use; it outlives the service, so old tokens stay good."""
        try:
            return self._secret.read_text()
        except FileNotFoundError:
            descriptor = os.open(self._secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(_SECRET_BYTES))
            return self._secret.read_text()

    def publish(self, endpoint: Endpoint) -> None:
        write_json(self._endpoint, asdict(endpoint))

    def withdraw(self) -> None:
        self._endpoint.unlink(missing_ok=True)

    def endpoint(self) -> Endpoint | None:
        """The service that runs now; None when none does, whatever an older file says."""
        found = read_json(self._endpoint)
        if found is None or found.get("boot_id") != boot_id() or not self.is_served():
            return None
        return Endpoint(**found)

    def last_port(self) -> int:
        """The port of the latest service here, which jobs that still run know; 0 if there was none."""
        try:
            return int(self._port.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def keep_port(self, port: int) -> None:
        self._port.write_text(str(port))

    def is_served(self) -> bool:
        with self._locked("service.lock", fcntl.LOCK_SH | fcntl.LOCK_NB) as is_free:
            return not is_free

    @contextmanager
    def serving(self) -> Iterator[bool]:
        """Hold the place of the one service; False when another has it."""
        with self._locked("service.lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as mine:
            yield mine

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Let one client at a time look for the service and start it."""
        with self._locked("start.lock", fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, name: str, how: int) -> Iterator[bool]:
        descriptor = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)
