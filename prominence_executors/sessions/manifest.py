"""What a session's calls are, kept in the key-value store for a process that makes their futures again.

A call is written before it is sent; calls that come while a request is under way are written together by the
next one. Each request makes a key of its own: one whose answer was lost may arrive late, and must not replace
what was written after it.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from prominence.client.store_calls import MAX_VALUE
from prominence.exceptions import ProminenceError
from prominence.logs import logger
from prominence.threads import InterruptibleCondition
from prominence_executors.sessions import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prominence import ProminenceClient

log = logger(__name__)

CallKind = Literal["function", "command", "unchecked"]

_NAME_CHARACTERS: Final = 100
_PAGE_BYTES: Final = MAX_VALUE - 100  # with room for what is around the records


class CallId(NamedTuple):
    """A call of a session: by which of its drivers it was submitted, and as the how-manieth, from 0."""

    driver: str
    ordinal: int

    def __str__(self) -> str:
        return f"{self.driver}.{self.ordinal}"

    @classmethod
    def parse(cls, label: str) -> CallId:
        driver, _, ordinal = label.rpartition(".")
        return cls(driver, int(ordinal))


@dataclass(frozen=True, slots=True)
class CallRecord:
    """How a call's outcome is read (a command that is ``unchecked`` may fail), and what it is called."""

    kind: CallKind
    name: str
    infrastructure_retries: int = 0
    user_retries: int = 0
    index: int | None = None
    """Its place in an array, whose calls are noted one after the other; None for one that is sent alone."""

    @property
    def most_retries(self) -> int:
        return self.infrastructure_retries + self.user_retries


class Manifest:
    """The calls of one driver of a session; ``in_background`` runs a callable elsewhere."""

    def __init__(
        self,
        client: ProminenceClient,
        session: str,
        driver: str,
        in_background: Callable[[Callable[[], None]], None],
    ) -> None:
        self._client = client
        self._session = session
        self._driver = driver
        self._in_background = in_background
        self._condition = InterruptibleCondition()
        self._unwritten: list[CallRecord] = []
        self._written = 0
        self._pages = 0
        self._is_writing = False
        self._will_write = False

    def add(self, calls: Iterable[CallRecord]) -> list[CallId]:
        """Take calls down; they are written soon, and :meth:`ensure` tells when."""
        with self._condition:
            first = self._written + len(self._unwritten)
            self._unwritten += [replace(call, name=call.name[:_NAME_CHARACTERS]) for call in calls]
            end = self._written + len(self._unwritten)
            will_write, self._will_write = self._will_write, True
        if not will_write:
            self._in_background(self._write_soon)
        return [CallId(self._driver, ordinal) for ordinal in range(first, end)]

    def ensure(self, call: CallId) -> None:
        """Return when the call is in the store; raises what :meth:`ProminenceClient.kv_set` raises."""
        while True:
            with self._condition:
                while self._is_writing and self._written <= call.ordinal:
                    self._condition.wait()
                if self._written > call.ordinal:
                    return
                self._is_writing = True
                first, records = self._written, list(self._unwritten)
            self._write(first, records)

    def _write_soon(self) -> None:
        with self._condition:
            self._will_write = False
            last = CallId(self._driver, self._written + len(self._unwritten) - 1)
        try:
            self.ensure(last)
        except ProminenceError as error:  # each of the calls tries again before it is sent
            self._client.trouble.tell(log, "session %s: calls are not noted yet: %s", self._session, error)

    def _write(self, first: int, records: Sequence[CallRecord]) -> None:
        written = 0
        try:
            for texts in _parts(records):
                self._pages += 1
                page = names.key(self._session, "calls", f"{self._driver}.{self._pages}")
                self._client.kv_set(page, _page(first + written, texts))
                written += len(texts)
        finally:
            with self._condition:
                self._written += written
                del self._unwritten[:written]
                self._is_writing = False
                self._condition.notify_all()


def read_manifest(client: ProminenceClient, session: str) -> dict[CallId, CallRecord]:
    """All calls of a session that were written, by any driver."""
    found: dict[CallId, CallRecord] = {}
    for key, value in client.kv_values(names.key(session, "calls")).items():
        driver = key.rpartition("/")[2].rpartition(".")[0]
        page = json.loads(value)
        for ordinal, fields in enumerate(page["calls"], start=page["first"]):
            found[CallId(driver, ordinal)] = CallRecord(*fields)
    return found


def _page(first: int, texts: Sequence[str]) -> str:
    return f'{{"first": {first}, "calls": [{", ".join(texts)}]}}'


def _parts(records: Sequence[CallRecord]) -> Iterator[list[str]]:
    """The records as JSON, in parts of which each fits a value of the store."""
    part: list[str] = []
    size = 0
    for record in records:
        text = json.dumps(astuple(record))
        size += len(text) + len(", ")
        if part and size > _PAGE_BYTES:
            yield part
            part, size = [], len(text)
        part.append(text)
    if part:
        yield part
