"""Exceptions that are hard to pickle or to show, for calls; every job of theirs imports this module."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self


class NeedsBoth(Exception):
    def __init__(self, name: str, *, code: int) -> None:
        super().__init__(f"{name} has {code}")
        self.code = code


class OfAFile(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(errno.ENOENT, "it is not there", path)


class WithALock(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text, threading.Lock())
        self.lock = threading.Lock()
        self.text = text


class Unpicklable(Exception):
    def __reduce__(self) -> Any:
        raise TypeError("never")


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("nothing to say")


class Surly(Exception):
    def __new__(cls, *args: object) -> Self:
        if not args:
            raise ValueError("nothing to make it of")
        return super().__new__(cls)

    def __init__(self, number: int) -> None:
        self.number = number
        self.lock = threading.Lock()
        self.args = ()


class Quitting(Exception):
    def __str__(self) -> str:
        raise SystemExit


def fail_with(make: Callable[[], BaseException]) -> None:
    raise make()


def noted() -> ValueError:
    error = ValueError("with notes")
    error.add_note("of the job")
    return error
