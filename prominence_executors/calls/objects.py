"""Large data of calls as stored objects: named by content, sent once, shared by a session's calls."""

from __future__ import annotations

import hashlib
import re
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from weakref import WeakValueDictionary

from prominence.exceptions import ProminenceError
from prominence.logs import logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prominence import ProminenceClient

log = logger(__name__)

T = TypeVar("T")

_SUFFIX: Final = ".bin"  # none that a service would unpack


@dataclass(frozen=True, slots=True)
class StoredObject(Generic[T]):
    """A Python object that was stored with the service; as an argument it stands for the object itself.

    It may lie inside of other arguments, too. ``size`` is that of its pickle in bytes, without large parts.
    """

    name: str
    size: int
    parts: tuple[str, ...] = ()
    """Names of the objects that it refers to in turn."""


class Copy(bytearray):
    """A content that waits to be stored, for as long as a call holds it."""


class ObjectStore:
    """Stores contents of one session, each of them once whatever the number of threads that ask for it."""

    def __init__(self, client: ProminenceClient, session: str) -> None:
        self._client = client
        self._prefix = f"prominence-{session}-"
        self._lock = threading.Lock()
        self._stored: dict[str, Future[None]] = {}
        self._copies: WeakValueDictionary[str, Copy] = WeakValueDictionary()

    def name_of(self, content: bytes | memoryview) -> str:
        """The name that a content has here."""
        return f"{self._prefix}{hashlib.sha256(content).hexdigest()}{_SUFFIX}"

    def keep(self, name: str, content: bytes | memoryview) -> Copy | None:
        """The content as it is now, to be given to :meth:`ensure`; None where it is stored by now.

        It is stored at once where the service takes files: a copy in memory would take as long. Copies are
        shared by those who keep the same content.
        """
        if self._is_stored(name) or self._is_stored_as_file(name, content):
            return None
        with self._lock:
            kept = self._copies.get(name)
            if kept is None:
                kept = self._copies[name] = Copy(content)
            return kept

    def ensure(self, contents: Mapping[str, Copy]) -> None:
        """Return when all of these are stored; raises what :meth:`ProminenceClient.upload_object` raises."""
        for name, content in contents.items():
            self._ensure(name, memoryview(content))

    def doubt(self, names: Iterable[str]) -> None:
        """Somebody may have deleted these: who needs them next stores them again."""
        with self._lock:
            for name in names:
                if name in self._stored and self._stored[name].done():
                    del self._stored[name]

    def delete_all(self) -> None:
        """Delete every object of the session, also those that other processes stored."""
        with self._lock:
            self._stored.clear()
        ours = re.compile(  # other sessions' names may begin so
            re.escape(self._prefix) + "[0-9a-f]{64}" + re.escape(_SUFFIX)
        )
        for entry in self._client.list_objects():
            if ours.fullmatch(entry["name"]):
                self._client.delete_object(entry["name"])

    def _is_stored(self, name: str) -> bool:
        with self._lock:
            known = self._stored.get(name)
        return known is not None and known.done() and known.exception() is None

    def _is_stored_as_file(self, name: str, content: bytes | memoryview) -> bool:
        """False, too, where that fails: whoever sends the call tries again, and tells."""
        try:
            if not self._client.shares_files:
                return False
            self._ensure(name, content)
        except (ProminenceError, OSError) as error:
            log.debug("%s is not stored yet: %s", name, error)
            return False
        return True

    def _ensure(self, name: str, content: bytes | memoryview) -> None:
        with self._lock:
            known = self._stored.get(name)
            stored = self._stored.setdefault(name, Future())
        if known is not None:
            known.result()
            return
        try:
            sha256 = name.removeprefix(self._prefix).removesuffix(_SUFFIX)
            self._client.upload_object(name, content, checksum=sha256)
        except BaseException as error:
            with self._lock:
                self._stored.pop(name, None)  # the next call tries again
            stored.set_exception(error)
            raise
        stored.set_result(None)


def referred_to(value: StoredObject[Any]) -> tuple[str, ...]:
    """All objects that a job needs for this one."""
    return value.name, *value.parts
