"""Large data of calls as stored objects: named by content, sent once, shared by a session's calls."""

from __future__ import annotations

import hashlib
import re
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prominence import ProminenceClient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredObject(Generic[T]):
    """A Python object that was stored with the service; as an argument it stands for the object itself.

    It may lie inside of other arguments, too. ``size`` is that of its pickle in bytes, without large parts.
    """

    name: str
    size: int
    parts: tuple[str, ...] = ()
    """Names of the objects that it refers to in turn."""


class ObjectStore:
    """Stores contents of one session, each of them once whatever the number of threads that ask for it."""

    def __init__(self, client: ProminenceClient, session: str) -> None:
        self._client = client
        self._prefix = f"prominence-{session}-"
        self._lock = threading.Lock()
        self._stored: dict[str, Future[None]] = {}

    def name_of(self, content: bytes | memoryview) -> str:
        """The name that a content has here: no slash, and no suffix that a service would unpack."""
        return f"{self._prefix}{hashlib.sha256(content).hexdigest()}.bin"

    def ensure(self, contents: Mapping[str, bytes]) -> None:
        """Return when all of these are stored; raises what :meth:`ProminenceClient.upload_object` raises."""
        for name, content in contents.items():
            self._ensure(name, content)

    def delete_all(self) -> None:
        """Delete every object of the session, also those that other processes stored."""
        with self._lock:
            self._stored.clear()
        ours = re.compile(
            re.escape(self._prefix) + r"[0-9a-f]{64}\.bin"
        )  # other sessions' names may begin so
        for entry in self._client.list_objects():
            if ours.fullmatch(entry["name"]):
                self._client.delete_object(entry["name"])

    def _ensure(self, name: str, content: bytes) -> None:
        with self._lock:
            known = self._stored.get(name)
            stored = self._stored.setdefault(name, Future())
        if known is not None:
            known.result()
            return
        try:
            self._client.upload_object(name, content)
        except BaseException as error:
            with self._lock:
                self._stored.pop(name, None)  # the next call tries again
            stored.set_exception(error)
            raise
        stored.set_result(None)


def referred_to(value: StoredObject[Any]) -> tuple[str, ...]:
    """All objects that a job needs for this one."""
    return value.name, *value.parts
