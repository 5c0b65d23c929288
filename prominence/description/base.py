"""What all descriptions have in common: the way to JSON and back, comparison, and a safe repr."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Self, TypeVar

from prominence.description.checks import ROOT, join, shown
from prominence.exceptions import InvalidDescription

D = TypeVar("D", bound="Description")

_STEP: Final = re.compile(r"([^.\[]+)(\[\d+\])?\.?")
_PLAIN: Final = (str, int, float, type(None))
_WITH_LENGTH: Final = (str, bytes, list, tuple, dict)


def as_json(value: Any) -> Any:
    """A copy of the value in which descriptions have become their JSON and tuples lists."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Description):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_entry_as_json(index, entry) for index, entry in enumerate(value)]
    return value


def _entry_as_json(index: int, entry: Any) -> Any:
    if not isinstance(entry, Description):
        return as_json(entry)
    with inside(f"[{index}]"):
        return entry.to_dict()


def as_list(value: Any) -> Any:
    """A list of its own for anything with entries, an empty one for None.

    A string, a mapping and whatever has no entries stay what they are, for the rules to report.
    """
    if value is None:
        return []
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return value
    return list(value)


def as_object(value: Any) -> Any:
    """A dict of its own for a mapping, an empty one for None; anything else stays what it is."""
    if value is None:
        return {}
    return dict(value) if isinstance(value, Mapping) else value


def is_empty(value: object) -> bool:
    """Whether the value says nothing; of a description, whether its JSON does."""
    if isinstance(value, Description):
        return not value.to_dict()
    return value is None or (isinstance(value, _WITH_LENGTH) and not value)


@contextmanager
def inside(path: str) -> Iterator[None]:
    """Make errors about a part name the field by its path in the whole."""
    try:
        yield
    except InvalidDescription as error:
        raise _within(path, error) from error.__cause__


def _within(path: str, error: InvalidDescription) -> InvalidDescription:
    """The error about a part as one about the whole, in its place: no chain of one for each level."""
    return InvalidDescription(join(path, error.field), error.value, error.rule)


def parse_list(kind: type[D], data: object, path: str) -> list[D]:
    """The descriptions in a list of JSON objects."""
    if not isinstance(data, list | tuple):
        raise InvalidDescription(path, shown(data), "must be a list")
    found = []
    for index, entry in enumerate(data):
        with inside(f"{path}[{index}]"):
            found.append(kind.from_dict(entry))
    return found


class Description:
    """Base of all descriptions.

    Two descriptions are equal if they are of one type and say the same to the service. Secrets are
    not shown in the repr.
    """

    _wire: ClassVar[Mapping[str, str]] = {}
    """Properties and the names of their fields in the API's JSON."""

    _single: ClassVar[Collection[str]] = ("resources", "policies")
    """Properties that hold one description; others with descriptions hold lists."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a property; a name that is none is refused, for a slip there would cost a run."""
        if name not in self._wire and not name.startswith("_") and not hasattr(type(self), name):
            known = ", ".join(self._wire)
            raise AttributeError(f"{type(self).__name__} has no property {name!r}; it has {known}")
        super().__setattr__(name, value)

    def to_dict(self) -> dict[str, Any]:
        """The API's JSON as a new dict, without what is not set."""
        found = {}
        for attribute, name in self._wire.items():
            try:
                value = as_json(getattr(self, attribute))
            except InvalidDescription as error:
                raise _within(name, error) from error.__cause__
            if not self._left_out(attribute, value):
                found[name] = value
        return found

    def json(self) -> dict[str, Any]:
        """The same as `to_dict`."""
        return self.to_dict()

    @classmethod
    def attribute_path(cls, field: str) -> str:
        """Where in Python the value is that the JSON has at ``field``: ``tasks[0].command``."""
        step = _STEP.match(field)
        if step is None:
            return field
        attribute = cls._attribute_of(step[1])
        part = cls._parts().get(attribute)
        rest = field[step.end() :]
        if rest:
            rest = "." + (rest if part is None else part.attribute_path(rest))
        return f"{attribute}{step[2] or ''}{rest}"

    @classmethod
    def _attribute_of(cls, field: str) -> str:
        return next((attribute for attribute, name in cls._wire.items() if name == field), field)

    @contextmanager
    def _naming_attributes(self) -> Iterator[None]:
        """Make errors about fields name the attributes too."""
        try:
            yield
        except InvalidDescription as error:
            attribute = self.attribute_path(error.field)
            raise InvalidDescription(error.field, error.value, error.rule, attribute) from error.__cause__

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The description that has this JSON.

        Raises `InvalidDescription` if the JSON has unknown fields or another structure; values are
        only looked at when the whole is validated.
        """
        return cls._from_fields(data)

    @classmethod
    def _from_fields(cls, data: object) -> Self:
        return cls(**cls._arguments(known_fields(data, cls._fields(), cls.__name__)))

    @classmethod
    def _fields(cls) -> Collection[str]:
        """The names of all fields that the JSON may have."""
        return cls._wire.values()

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """The constructor's keywords for the fields of the JSON."""
        present = {attribute: name for attribute, name in cls._wire.items() if name in data}
        return {attribute: cls._parsed(attribute, name, data[name]) for attribute, name in present.items()}

    @classmethod
    def _parts(cls) -> Mapping[str, type[Description]]:
        """The descriptions that a property holds, one or a list of them."""
        return {}

    @classmethod
    def _parsed(cls, attribute: str, name: str, value: Any) -> Any:
        """What a property becomes for the JSON of its field."""
        kind = cls._parts().get(attribute)
        if kind is None:
            return as_json(value)
        if attribute in cls._single:
            with inside(name):
                return kind.from_dict(value)
        return parse_list(kind, value, name)

    def _left_out(self, _attribute: str, value: object) -> bool:
        """Whether this value, already as JSON, says no more than leaving the field out."""
        return is_empty(value)

    def _state(self) -> object:
        """What makes two descriptions of one type equal."""
        return {
            attribute: value
            for attribute in self._wire
            if not self._left_out(attribute, value := getattr(self, attribute))
        }

    def _shown(self, _attribute: str, value: object) -> str:
        """A property in the repr."""
        return repr(value)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other) or not isinstance(other, Description):
            return NotImplemented
        return bool(self._state() == other._state())

    __hash__ = None  # type: ignore[assignment]  # descriptions change

    def __repr__(self) -> str:
        shown = [
            f"{attribute}={self._shown(attribute, value)}"
            for attribute in self._wire
            if not self._left_out(attribute, value := getattr(self, attribute))
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def known_fields(data: object, allowed: Collection[str], what: str) -> Mapping[str, Any]:
    """The JSON object, once it is known to have no other fields than the allowed ones."""
    if not isinstance(data, Mapping):
        raise InvalidDescription(ROOT, shown(data), f"a {what} must be a JSON object")
    unknown = [name for name in data if name not in allowed]
    if unknown:
        values = {name: shown(data[name]) for name in unknown}
        value = values[unknown[0]] if len(unknown) == 1 else values
        rule = f"no such field in a {what}; its fields are {', '.join(allowed)}"
        raise InvalidDescription(", ".join(map(str, unknown)), value, rule)
    return data
