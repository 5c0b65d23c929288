"""From the result file of a call to its value or exception."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import dataclass
from typing import Any

from prominence.exceptions import ResultError


class RemoteTraceback(Exception):
    """Where in the job an exception was raised; the cause of exceptions that calls bring back."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n\n{self.text}"


@dataclass(frozen=True, slots=True)
class Record:
    """What the runner wrote last: its header, and a pickle where there is one."""

    header: dict[str, Any]
    payload: bytes

    @classmethod
    def parse(cls, content: bytes) -> Record:
        """Raises ResultError where the content is not what the runner wrote."""
        line, separator, payload = content.partition(b"\n")
        try:
            header = json.loads(line)
            size, sha256 = header["size"], header["sha256"]
        except (ValueError, TypeError, KeyError):
            raise ResultError("the result file is not the runner's") from None
        if not separator or len(payload) != size or hashlib.sha256(payload).hexdigest() != sha256:
            raise ResultError(
                f"the result file is damaged: {len(payload)} of {size} bytes, or another checksum"
            )
        return cls(header, payload)

    @property
    def kind(self) -> str:
        return str(self.header["kind"])

    @property
    def tells_the_outcome(self) -> bool:
        return self.kind in {"value", "exception", "unpicklable", "unreadable", "python"}

    def value(self) -> Any:
        """The call's value; raises the call's exception, or ResultError where it cannot be read."""
        if self.kind == "value":
            return self._load()
        raise self._exception()

    def _load(self) -> Any:
        try:
            return pickle.loads(self.payload)  # noqa: S301 - the job is the caller's own
        except BaseException as error:  # a result must never end the thread that reads it
            text = f"the call succeeded, but its value cannot be read here: {type(error).__name__}: {error}"
            raise ResultError(text) from error

    def _exception(self) -> BaseException:
        text = self.header.get("text", "")
        cause = RemoteTraceback(text)
        if self.kind == "python":
            here = ".".join(str(part) for part in self.header["here"])
            return ResultError(
                f"the job's image has Python {here}, the caller another minor version: "
                "choose an image with the same one"
            )
        if self.kind == "unreadable":
            module = self.header.get("module")
            missing = f"there is no module {module!r}" if module else "see the remote traceback"
            return _with_cause(ResultError(f"the call cannot be read in the job: {missing}"), cause)
        if self.kind == "unpicklable":
            return _with_cause(ResultError("the call succeeded, but its value cannot be pickled"), cause)
        if self.payload:
            try:
                found = self._load()
            except ResultError:
                found = None
            if isinstance(found, BaseException):
                return _with_cause(found, cause)
        return _with_cause(
            ResultError(f"the call raised {self.header['type']}, which cannot be pickled"), cause
        )


def _with_cause(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error
