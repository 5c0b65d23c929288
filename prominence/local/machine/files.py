"""The directory of one job attempt, which the engine and the supervisor share.

::

    attempt.json   what is to be run, the database whose job it is, and the boot it was meant for;
                   written before a supervisor is asked for
    lock           locked by the supervisor for its whole life; names its process once claimed
    cancel         there when the attempt is to be ended
    tasks          process numbers of the tasks, each of them a session; one a line
    outcome.json   written last, by rename
    containers     names of containers that were started; one a line
    stdout.0 ...   output of the tasks, one file per node
    scratch/ tmp/  what the tasks see as their home and /tmp; removed at the end
    scratch.1 ...  the same of further nodes
    outputs/       files and archives that were staged out
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from prominence.local.trees import bytes_below, remove_tree
from prominence.logs import logger
from prominence.replacing import replacing

if TYPE_CHECKING:
    from pathlib import Path

log = logger(__name__)

_LOCK_RETRY_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Claim:
    """The supervisor that took an attempt: its process, and when it took it (Unix epoch)."""

    pid: int
    time: float


@dataclass(frozen=True, slots=True)
class Node:
    """One of the job's nodes, all of them on this machine: what its tasks see as their home and /tmp."""

    number: int
    scratch: Path
    tmp: Path


class AttemptFiles:
    """Paths and small files of one attempt; creating the object touches nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.description = root / "attempt.json"
        self.lock = root / "lock"
        self.cancel = root / "cancel"
        self.tasks = root / "tasks"
        self.containers = root / "containers"
        self.outcome = root / "outcome.json"
        self.log = root / "supervisor.log"
        self.scratch = root / "scratch"
        self.tmp = root / "tmp"
        self.outputs = root / "outputs"

    @classmethod
    def below(cls, root: Path) -> list[AttemptFiles]:
        """Those of all attempts in a directory, ended or not."""
        return [cls(each) for each in root.iterdir()] if root.is_dir() else []

    def stream(self, name: str, node: int) -> Path:
        return self.root / f"{name}.{node}"

    def node(self, number: int) -> Node:
        suffix = f".{number}" if number else ""
        return Node(number, self.root / f"scratch{suffix}", self.root / f"tmp{suffix}")

    def container_name(self, number: int) -> str:
        """A name for the attempt's n-th container, which no other attempt of any service has."""
        place = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return f"prominence-{place}-{self.root.name}-{number}"

    def remove_scratch(self) -> None:
        """Remove what only the tasks needed, of all nodes; what cannot be removed is left."""
        try:
            entries = list(self.root.iterdir())
        except FileNotFoundError:
            return  # the job has removed all of it
        for found in entries:
            if found.name.startswith(("scratch", "tmp")):
                _remove_if_possible(found)
            elif found.suffix == ".env":
                found.unlink(missing_ok=True)

    def remove_outputs(self) -> None:
        """Give up what was staged out."""
        _remove_if_possible(self.outputs)

    def create(self, description: dict[str, Any]) -> None:
        """Make the directory and say in it what is to be run; doing it again changes nothing.

        One that an attempt of another database has left under the same name is moved aside.
        """
        before = self.read_description()
        if before is not None and database_of(before) != database_of(description):
            self.root.rename(self.root.with_name(f"{self.root.name}.{secrets.token_hex(4)}"))
        for directory in (self.root, self.scratch, self.tmp, self.outputs):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lock.touch(mode=0o600)
        write_json(self.description, description)

    def remove(self) -> int:
        """Remove all that is left of an attempt that has ended; returns the bytes of its files."""
        size = bytes_below(self.root)
        _remove_if_possible(self.root)
        return size

    def read_description(self) -> dict[str, Any] | None:
        return read_json(self.description)

    def claim(self, claim: Claim) -> int | None:
        """Become the one supervisor of this attempt, ever.

        Returns the descriptor that holds the lock until the process ends, or None when another process
        has claimed the attempt before, whether it still lives or not.
        """
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        while os.fstat(descriptor).st_size == 0:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_RETRY_S)  # somebody is only looking, or about to write its claim
            else:
                break
        if os.fstat(descriptor).st_size:
            os.close(descriptor)
            return None
        os.write(descriptor, json.dumps(asdict(claim)).encode())
        return descriptor

    def claim_for_nobody(self) -> bool:
        """Make sure that an unclaimed attempt can never be started; False when it was claimed before."""
        try:
            descriptor = self.claim(Claim(pid=0, time=time.time()))
        except FileNotFoundError:
            return True  # without its directory it cannot be started either
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def claimed_by(self) -> Claim | None:
        """The supervisor that claimed the attempt, alive or not."""
        found = read_json(self.lock)
        return Claim(**found) if found else None

    def note_task(self, pid: int) -> None:
        """Put a task's process on record, for whoever has to end it if the supervisor is lost."""
        _append_line(self.tasks, str(pid))

    def noted_tasks(self) -> set[int]:
        return {int(line) for line in _lines(self.tasks)}

    def note_container(self, name: str) -> None:
        """The same for a container, before it is started."""
        _append_line(self.containers, name)

    def noted_containers(self) -> list[str]:
        return _lines(self.containers)

    def is_supervised(self) -> bool:
        """True while a supervisor holds the lock."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def _remove_if_possible(directory: Path) -> None:
    try:
        remove_tree(directory)
    except OSError as error:
        log.warning("%s cannot be removed: %s", directory, error)


def database_of(description: dict[str, Any]) -> str:
    """The database whose job an attempt is."""
    return str(description.get("database", ""))


def _append_line(path: Path, text: str) -> None:
    with path.open("a", encoding="ascii") as file:
        file.write(f"{text}\n")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []


def write_json(path: Path, value: object) -> None:
    with replacing(path, mode=0o600) as file:
        file.write(json.dumps(value).encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None where there is no file or only the beginning of one."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
