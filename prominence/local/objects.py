"""Objects that clients and jobs upload: contents on disk under their SHA-256, names in the database.

::

    <state directory>/objects/
        contents/<first two digits>/<sha256>    read-only; several names may mean the same content
        incoming/                               what is being received; place-... is filled by a client
        nameless/<sha256>                       contents for which the database has no name

A name belongs to the user (``data.bin``) or to a group (``group/data.bin``). What a job uploads for
itself has a key of its own kind.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from prominence.clock import MACHINE_CLOCK, Clock
from prominence.local.errors import Refusal
from prominence.local.nameless import Nameless
from prominence.local.store import BELOW, bounds
from prominence.local.trees import remove_tree

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from prominence.local.store import Store

LARGEST_OBJECT: Final = 64 * 1024**3
_LONGEST_NAME: Final = 1024  # bytes; what object stores allow for a key
_PIECE_BYTES: Final = 1024 * 1024
_KEPT_MODE: Final = 0o400
_OPEN_FILLED: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PLACE: Final = re.compile(r"place-[0-9a-f]{32}")
_ABANDONED_S: Final = 86400.0  # a client may take hours to fill a place
_IMAGE_FILES: Final = (".sif", ".simg", ".tar", ".tgz", ".tar.gz")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """``modified`` is in seconds of the Unix epoch."""

    key: str
    path: Path
    size: int
    digest: str
    modified: int


class Objects:
    """The objects of the service's one user."""

    def __init__(self, store: Store, root: Path, user: str, clock: Clock = MACHINE_CLOCK) -> None:
        self._store = store
        self._clock = clock
        self._contents = root / "contents"
        self._incoming = root / "incoming"
        self.nameless = Nameless(self._contents, root / "nameless")
        self.user = user

    def open(self) -> None:
        """Make the directories; remove what was being received, set aside what has no name."""
        for directory in (self._contents, self._incoming):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._incoming.iterdir():
            if left.is_dir() and not left.is_symlink():
                remove_tree(left)
            else:
                left.unlink()
        named = {row["digest"] for row in self._store.read("select digest from objects")}
        self.nameless.sort(named)

    def key_of(self, name: str) -> str:
        """The key of an uploaded object's name; raises Refusal for a name that none can have."""
        parts = name.split("/")
        if not name.isprintable() or len(name.encode()) > _LONGEST_NAME or {"", ".", ".."} & set(parts):
            raise Refusal(400, f"an object cannot be named {name!r}")
        return f"groups/{name}" if len(parts) > 1 else f"uploads/{self.user}/{name}"

    def path_of(self, name: str) -> Path | None:
        """The file behind an uploaded object's name, for reading only; None where there is no such object."""
        found = self.find(self.key_of(name))
        return None if found is None else found.path

    def refuse_missing(self, description: dict[str, Any]) -> None:
        """Raise Refusal when a job needs an artifact or an image that nobody has uploaded."""
        for kind, name in _object_names(description):
            if self.path_of(name) is None:
                raise Refusal(400, f"{kind} {name} does not exist")

    def named_in(self, description: dict[str, Any]) -> dict[str, str]:
        """Where the artifacts and images of a job lie; those that were deleted meanwhile are left out."""
        paths = {name: self.path_of(name) for _, name in _object_names(description)}
        return {name: str(path) for name, path in paths.items() if path is not None}

    def find(self, key: str) -> StoredObject | None:
        rows = self._store.read("select * from objects where key = ?", (key,))
        return self._stored(rows[0]) if rows else None

    def below(self, prefix: str) -> list[StoredObject]:
        """Objects whose key begins with ``prefix``, in order of their keys."""
        rows = self._store.read(f"select * from objects where {BELOW} order by key", bounds(prefix))
        return [self._stored(row) for row in rows]

    def receive(self) -> Incoming:
        return Incoming(self._incoming)

    def make_place(self) -> Path:
        """A new file for a client of the same user to fill, and then to have taken over."""
        place = self._incoming / f"place-{secrets.token_hex(16)}"
        place.touch(mode=0o600, exist_ok=False)
        return place

    def take_over(self, place: Path) -> Filled:
        """What a client has filled; raises Refusal where there is no such place, or something else in it."""
        if place.parent != self._incoming or not _PLACE.fullmatch(place.name):
            raise Refusal(400, "the path is none of a place that was made for an upload")
        return Filled(place)

    def remove_abandoned_places(self) -> None:
        """Remove what clients that are gone have begun to fill."""
        for place in self._incoming.glob("place-*"):
            with suppress(FileNotFoundError):
                if self._clock.time() - place.lstat().st_mtime > _ABANDONED_S:
                    place.unlink()

    async def keep(self, key: str, incoming: Content, checksum: str | None = None) -> StoredObject:
        """Give what was received a key; whatever had that key before is replaced.

        Raises Refusal where it does not have the SHA-256 that was announced for it.
        """
        digest, now = await incoming.finish(), int(self._clock.time())
        if checksum is not None and digest != checksum.lower():
            raise Refusal(400, "the content does not have the checksum that was announced for it")
        before = self.find(key)
        path = self._path(digest)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        incoming.path.replace(path)  # from here to the commit no other request comes between
        self._store.write(
            "insert or replace into objects (key, digest, size, modified) values (?, ?, ?, ?)",
            (key, digest, incoming.size, now),
            survive_power_loss=True,
        )
        await self._store.committed()
        if before is not None:
            self._remove_unused(before.digest)
        return StoredObject(key, path, incoming.size, digest, now)

    async def delete(self, key: str) -> None:
        """Forget a key; it is not an error when there is none."""
        found = self.find(key)
        if found is None:
            return
        self._store.write("delete from objects where key = ?", (key,), survive_power_loss=True)
        await self._store.committed()
        self._remove_unused(found.digest)

    def _remove_unused(self, digest: str) -> None:
        if not self._store.read("select 1 from objects where digest = ? limit 1", (digest,)):
            self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self._contents / digest[:2] / digest

    def _stored(self, row: sqlite3.Row) -> StoredObject:
        return StoredObject(
            row["key"], self._path(row["digest"]), row["size"], row["digest"], row["modified"]
        )


def _object_names(description: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a job's description calls by an uploaded object's name, each with its kind.

    Not a name with ``$``, in which a factory has values to fill in.
    """
    for artifact in description.get("artifacts") or ():
        if not artifact["url"].startswith("http") and "$" not in artifact["url"]:
            yield "Artifact", artifact["url"]
    for task in description["tasks"]:
        image = task["image"]
        if image.endswith(_IMAGE_FILES) and not image.startswith("/") and "://" not in image:
            yield "Image", image


class Content(Protocol):
    """A file in ``incoming/`` that is to be kept."""

    path: Path
    size: int

    async def finish(self) -> str:
        """The SHA-256 of the whole, once it is on disk."""


class Incoming:
    """A file that is being received; without :meth:`Objects.keep` nothing is left of it."""

    def __init__(self, directory: Path) -> None:
        descriptor, name = tempfile.mkstemp(dir=directory)
        self.path = Path(name)
        self.size = 0
        self._file = os.fdopen(descriptor, "wb")
        self._hash = hashlib.sha256()
        self._gathered = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    async def write(self, piece: bytes) -> None:
        """Add a piece; raises Refusal when the object becomes too large."""
        self.size += len(piece)
        if self.size > LARGEST_OBJECT:
            raise _too_large()
        self._gathered += piece
        if len(self._gathered) >= _PIECE_BYTES:
            await self._flush()

    async def finish(self) -> str:
        await self._flush()
        await asyncio.to_thread(self._sync)
        return self._hash.hexdigest()

    async def _flush(self) -> None:
        gathered, self._gathered = self._gathered, bytearray()
        await asyncio.to_thread(self._append, gathered)

    def _append(self, piece: bytearray) -> None:
        self._file.write(piece)
        self._hash.update(piece)

    def _sync(self) -> None:
        self._file.flush()
        os.fchmod(self._file.fileno(), _KEPT_MODE)
        os.fsync(self._file.fileno())


class Filled:
    """A file that a client has filled, under a name that it was not told; without keeping nothing is left.

    Anything may have been put in its place meanwhile, so only what is true of the open file counts.
    """

    def __init__(self, place: Path) -> None:
        self.path = place.with_name(secrets.token_hex(16))
        if not place.is_file() or place.is_symlink():
            raise Refusal(400, "there is no such place for an upload, or not any more")
        place.rename(self.path)
        self._file = os.fdopen(os.open(self.path, _OPEN_FILLED), "rb")
        self.size = self._looked_at().st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    async def finish(self) -> str:
        before = self._looked_at()
        digest, _ = await asyncio.gather(asyncio.to_thread(self._digest), asyncio.to_thread(self._sync))
        if _version(self._looked_at()) != _version(before):
            raise Refusal(400, "what was placed changed while it was taken over")
        return digest

    def _looked_at(self) -> os.stat_result:
        found = os.fstat(self._file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
            raise Refusal(400, "what was placed is no file of this user's own")
        if found.st_size > LARGEST_OBJECT:
            raise _too_large()
        return found

    def _digest(self) -> str:
        return hashlib.file_digest(self._file, "sha256").hexdigest()

    def _sync(self) -> None:
        os.fchmod(self._file.fileno(), _KEPT_MODE)
        os.fsync(self._file.fileno())


def _version(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


def _too_large() -> Refusal:
    return Refusal(413, f"an object has at most {LARGEST_OBJECT} bytes")
