"""What a broken rule looks like, and the small pieces the rule tables are made of.

A checker gets the path of a value in the JSON and the value, and yields a `Violation` for each rule
that the value breaks. The tables in `rules_task`, `rules_job` and `rules_workflow` combine them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from prominence.exceptions import InvalidDescription

Kind = Literal["invalid", "server-bug"]

ROOT: Final = "description"
"""Path of the whole description; paths of its fields do not begin with it."""

HIDDEN: Final = "***"
"""Stands for a secret wherever values are shown."""


def shown(value: object) -> object:
    """What is shown of a misplaced value: an object, a list or a URL may have a secret in it."""
    if isinstance(value, str):
        address, mark, _ = value.partition("?")
        return f"{address}?{HIDDEN}" if mark and "://" in address else value
    return HIDDEN if isinstance(value, Mapping | list | tuple) and value else value


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule.

    ``field`` is the path in the JSON (``tasks[0].cmd``), ``value`` what was found there (``***`` for
    a secret, ``None`` for a missing field), ``rule`` says what is allowed and ``message`` is the
    service's own error text (or ours, where it has none). ``invalid`` is refused by the service, or
    could come to nothing on any; ``server-bug`` is accepted or documented, yet some servers choke on it;
    with ``hangs`` the job or workflow would never end there.
    """

    field: str
    value: object
    rule: str
    message: str
    kind: Kind
    hangs: bool = False


Checker = Callable[[str, Any], Iterator[Violation]]


@dataclass(frozen=True, slots=True)
class Field:
    """How one field of an object is checked, and what is said when a needed one is missing."""

    check: Checker
    missing: str = ""


def join(path: str, field: str) -> str:
    """The path of a field of the object at ``path``."""
    if path == ROOT:
        return field
    if field == ROOT:
        return path
    return f"{path}{field}" if field.startswith("[") else f"{path}.{field}"


def is_whole(value: object) -> bool:
    """Whether JSON knows the value as a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_text(value: object) -> bool:
    return isinstance(value, str)


LARGEST: Final = 2**31 - 1
"""Of all counts and amounts: no machine has more, and every service can compute with it."""

_SPLITTABLE: Final = re.compile(r"""(?:[^\\'"]++|\\.|'[^']*+'|"(?:[^"\\]++|\\.)*+")*+""", re.DOTALL)
_NAME_BYTES: Final = 255  # of one part of a path, on all common file systems


def is_plain_text(value: object) -> bool:
    """Whether a string can be given to a program: no NUL, and nothing that UTF-8 cannot say."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_file_name(value: object) -> bool:
    """Whether the last part of a path can be the name of a file."""
    if not is_plain_text(value):
        return False
    base = str(value).rstrip("/").rpartition("/")[2]
    return base not in {"", ".", ".."} and len(base.encode()) <= _NAME_BYTES


def is_path(value: object) -> bool:
    """Whether every part of a path fits a file system."""
    return is_plain_text(value) and all(len(part.encode()) <= _NAME_BYTES for part in str(value).split("/"))


def is_splittable(value: str) -> bool:
    """Whether ``shlex.split`` takes the text; that itself needs minutes for the longest words."""
    return _SPLITTABLE.fullmatch(value) is not None


def is_named(value: object) -> bool:
    """Whether the value is a string with something in it."""
    return isinstance(value, str) and bool(value)


def anything(_path: str, _value: object) -> Iterator[Violation]:
    """Accepts every value: the service passes it on."""
    return iter(())


def require(test: Callable[[Any], bool], rule: str, message: str, *, kind: Kind = "invalid") -> Checker:
    """A checker of one rule; ``{}`` in the message is the value."""

    def check(path: str, value: object) -> Iterator[Violation]:
        if not test(value):
            yield Violation(path, value, rule, message.format(value), kind)

    return check


def first_of(*checks: Checker) -> Checker:
    """The checks in turn until one finds something invalid, so that later ones may rely on it."""

    def check(path: str, value: object) -> Iterator[Violation]:
        for one in checks:
            if found := list(one(path, value)):
                yield from found
                if any(violation.kind == "invalid" for violation in found):
                    return

    return check


def all_of(*checks: Checker) -> Checker:
    def check(path: str, value: object) -> Iterator[Violation]:
        for one in checks:
            yield from one(path, value)

    return check


def each(item: Checker) -> Checker:
    """The same check for every entry of a list."""

    def check(path: str, value: list[Any]) -> Iterator[Violation]:
        for index, entry in enumerate(value):
            yield from item(f"{path}[{index}]", entry)

    return check


def _structure(kind: type, rule: str, message: str) -> Checker:
    check = require(lambda value: isinstance(value, kind), rule, message)

    def quiet(path: str, value: object) -> Iterator[Violation]:
        for violation in check(path, value):
            yield replace(violation, value=shown(value))

    return quiet


def list_of(item: Checker, not_a_list: str) -> Checker:
    is_list = _structure(list, "a list, also where there is only one", not_a_list)
    return first_of(is_list, each(item))


def hidden(check: Checker) -> Checker:
    """The same check for a secret: what it finds does not show the value."""

    def quiet(path: str, value: object) -> Iterator[Violation]:
        for violation in check(path, value):
            yield replace(violation, value=HIDDEN)

    return quiet


def whole(
    not_whole: str, *, least: int, too_small: str, most: int | None = None, too_large: str = ""
) -> Checker:
    """A whole number from ``least`` to ``most``, both included."""
    upper = "" if most is None else f" and at most {most}"
    rule = f"a whole number of at least {least}{upper}"
    checks = [
        require(is_whole, rule, not_whole),
        require(lambda value: value >= least, rule, too_small),
    ]
    if most is not None:
        checks.append(require(lambda value: value <= most, rule, too_large))
    return first_of(*checks)


def boolean(name: str) -> Checker:
    return require(
        lambda value: isinstance(value, bool),
        "true or false",
        f"{name} must be either true or false",
    )


def mapping(table: Mapping[str, Field], unknown: str, not_an_object: str, *others: Checker) -> Checker:
    """An object with the fields of the table and no others.

    ``unknown`` is the service's text for a field it does not know (``{}``). ``others`` look at
    several fields at once; they must expect any JSON in each of them.
    """
    allowed = f"not one of {', '.join(table)}"

    def check_fields(path: str, value: Mapping[Any, Any]) -> Iterator[Violation]:
        for name in value:
            if name not in table:
                message = unknown.format(name)
                yield Violation(join(path, str(name)), shown(value[name]), allowed, message, "invalid")
        for name, field in table.items():
            if name in value:
                yield from field.check(join(path, name), value[name])
            elif field.missing:
                yield Violation(join(path, name), None, "needed", field.missing, "invalid")

    is_object = _structure(dict, "a JSON object", not_an_object)
    return first_of(is_object, all_of(check_fields, *others))


def raise_invalid(violations: Iterable[Violation]) -> list[Violation]:
    """Raise `InvalidDescription` for the first that the service refuses; return the others."""
    rest = []
    for violation in violations:
        if violation.kind == "invalid":
            raise InvalidDescription(
                violation.field, violation.value, f"{violation.rule} ({violation.message})"
            )
        rest.append(violation)
    return rest
