"""Values of environment variables, checked; each error names the variable, its value and the rule."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prominence.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

FALSE: Final = frozenset({"false", "0", "no", "off"})
USER_IN_URL: Final = re.compile(r"(?<=://)[^/@]*@")


def home_directory() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigurationError("there is no home directory: set HOME") from error


def whole(name: str, environ: Mapping[str, str]) -> int | None:
    number = positive(name, environ)
    if number is not None and not number.is_integer():
        raise ConfigurationError(f"{name} is {environ[name]!r}: it must be a whole number of at least 1")
    return None if number is None else int(number)


def positive(name: str, environ: Mapping[str, str]) -> float | None:
    text = environ.get(name)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigurationError(f"{name} is {text!r}: it must be a number above 0")
    return number


def command_line(name: str, environ: Mapping[str, str]) -> str:
    text = environ.get(name, "")
    try:
        shlex.split(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} cannot be split into words: {error}") from error
    return text
