"""From the result file of a call to its value or exception."""

from __future__ import annotations

import hashlib
import json
import linecache
import pickle
import re
import sys
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

from prominence.exceptions import (
    CallUnreadable,
    MissingDependency,
    ResultError,
    ResultNotPicklable,
    ResultUnreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_PLACE_WITHOUT_CODE: Final = re.compile(r'^( +)File "(.+)", line (\d+), in .+$(?!\n\1  )', re.MULTILINE)


class RemoteTraceback(Exception):
    """Where in the job an exception was raised; the cause of exceptions that calls bring back.

    Lines of the caller's own script or notebook, whose files are not in the job, are read here.
    """

    def __init__(self, text: str) -> None:
        text = _PLACE_WITHOUT_CODE.sub(_with_code, text)
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n\n{self.text}"


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """The value of one item of a map, or the exception that stands in its place."""

    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    """What the call took; calls that were quick after one another share their time."""


class ChunkOutcomes(list[ItemOutcome]):
    """What came of the items of a chunk, until it is taken out."""

    def __init__(self, outcomes: Iterable[ItemOutcome]) -> None:
        super().__init__(outcomes)
        self.failures = sum(each.error is not None for each in self)


@dataclass(frozen=True, slots=True)
class Record:
    """What the runner wrote at once: its header, and a pickle with its buffers where there is one."""

    header: dict[str, Any]
    pieces: list[memoryview | bytearray]

    @classmethod
    def parse(cls, content: bytes) -> Record:
        """The record that is all of the content; raises ResultError where that is not what was written."""
        record, end = cls._parse_at(0, content)
        if end != len(content):
            raise ResultError(f"the result file is damaged: {len(content)} of {end} bytes")
        return record

    @classmethod
    def parse_all(cls, content: bytes) -> Iterator[Record]:
        """The records of a content, up to its end or to the first that is damaged or was cut off."""
        at = 0
        while at < len(content):
            try:
                record, at = cls._parse_at(at, content)
            except ResultError:
                return
            yield record

    @classmethod
    def _parse_at(cls, start: int, content: bytes) -> tuple[Record, int]:
        at = content.find(b"\n", start) + 1
        try:
            line, sha256 = content[start : at - 1].rsplit(b" ", 1)
            header = json.loads(line)
            sizes = header["sizes"]
            end = at + sum(sizes)
        except (ValueError, TypeError, KeyError):
            raise ResultError("the result file is damaged, or not the runner's") from None
        view = memoryview(content)
        hashed = hashlib.sha256(line)
        hashed.update(view[at:end])
        if not at or end > len(content) or hashed.hexdigest().encode() != sha256:
            raise ResultError("the result file is damaged: it is cut off, or has another checksum")
        ends = list(accumulate(sizes, initial=at))
        pieces = [view[begin:end] for begin, end in pairwise(ends)]
        # What arrays lie in can be written to, as it could in the job.
        return cls(header, [*pieces[:1], *map(bytearray, pieces[1:])]), end

    @property
    def kind(self) -> str:
        return str(self.header["kind"])

    @property
    def is_beginning(self) -> bool:
        """True of what is written before user code runs."""
        return self.kind == "started"

    @property
    def tells_the_outcome(self) -> bool:
        return self.kind in {"value", "exception", "unpicklable", "unreadable"}

    def value(self, image: str) -> Any:
        """The call's value; raises the call's exception, or ResultError where it cannot be read.

        ``image`` is the job's, for the text of errors.
        """
        if self.kind == "value":
            return self._load()
        raise self._exception(image)

    def item_outcomes(self, image: str) -> list[ItemOutcome]:
        """Of the items that this record is about, in their order."""
        seconds = self.header.get("seconds", 0.0) / self.header.get("count", 1)
        if self.kind != "values":
            return [ItemOutcome(error=self._exception(image), seconds=seconds)]
        try:
            return [ItemOutcome(value, seconds=seconds) for value in self._load()]
        except ResultError as error:
            return [ItemOutcome(error=error)] * int(self.header["count"])

    def _load(self) -> Any:
        try:
            return pickle.loads(self.pieces[0], buffers=self.pieces[1:])  # noqa: S301 - the job is the caller's own
        except BaseException as error:  # a result must never end the thread that reads it
            text = f"the call succeeded, but its value cannot be read here: {type(error).__name__}: {error}"
            raise ResultUnreadable(text) from error

    def _unreadable(self, image: str) -> ResultError:
        module = self.header.get("module")
        if not module:
            return CallUnreadable(f"the call cannot be read in the job: {self._said}")
        return MissingDependency(
            f"the job's image {image} has no module {module!r}, which the call needs: choose or make an image"
            f" that has it, or send your own module along with ship=[{module.partition('.')[0]!r}]",
            module=module,
            image=image,
        )

    def _exception(self, image: str) -> BaseException:
        text = self.header.get("text", "")
        cause = RemoteTraceback(text)
        if self.kind == "unreadable":
            return _with_cause(self._unreadable(image), cause)
        if self.kind == "unpicklable":
            text = f"the call succeeded, but its value cannot be pickled: {self._said}"
            return _with_cause(ResultNotPicklable(text), cause)
        if not self.pieces:
            return _with_cause(ResultError(f"the call raised what cannot be pickled: {self._said}"), cause)
        try:
            return _with_cause(self._load(), cause)
        except ResultError as error:
            text = f"the call raised what cannot be read here ({error.__cause__!r}): {self._said}"
            return _with_cause(ResultError(text), cause)

    @property
    def _said(self) -> str:
        """Type and text of the exception that this record is about."""
        return str(self.header.get("said", ""))


def _with_code(place: re.Match[str]) -> str:
    indent, file, number = place.groups()
    is_the_programs = file in linecache.cache or file == getattr(sys.modules["__main__"], "__file__", None)
    code = linecache.getline(file, int(number)).strip() if is_the_programs else ""
    return f"{place[0]}\n{indent}  {code}" if code else place[0]


def _with_cause(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error
