"""Factories: many jobs from one template, by a parameter sweep, by lists of values, or as copies.

A value replaces ``$name`` and ``${name}`` in a template's commands, artifact names and output names,
and is in the environment as ``PROMINENCE_PARAMETER_<name>``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, TypeAlias, cast

from prominence.description.base import Description, as_list
from prominence.exceptions import InvalidDescription


class Named(Protocol):
    """Anything that has a name, such as a job."""

    name: str | None


Reference: TypeAlias = str | Named
"""A job, or its name."""


def name_of(reference: Any) -> Any:
    """The name that stands for a job in the JSON, as it is now; what has none, as it is."""
    return reference if isinstance(reference, str) else getattr(reference, "name", reference)


def names_of(references: Any) -> Any:
    if isinstance(references, list | tuple):
        return [name_of(reference) for reference in references]
    return references


class ParameterSet(Description):
    """The values of one parameter: a range, or a list.

    A sweep takes ``start``, ``end`` (included) and ``step`` (above 0); a zip takes ``values``,
    strings or numbers. A value with a blank holds its job for ever on today's servers.
    """

    _wire: ClassVar[Mapping[str, str]] = {
        "name": "name",
        "start": "start",
        "end": "end",
        "step": "step",
        "values": "values",
    }

    def __init__(
        self,
        name: str,
        start: float | None = None,
        end: float | None = None,
        step: float | None = None,
        values: Iterable[str | float] | None = None,
    ) -> None:
        self.name = name
        self.start = start
        self.end = end
        self.step = step
        if isinstance(values, Iterable) and not isinstance(values, str | bytes):
            values = list(values)
        self.values: Sequence[str | float] | None = cast("Sequence[str | float] | None", values)

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        return {"name": "", **super()._arguments(data)}

    def _left_out(self, _attribute: str, value: object) -> bool:
        return value is None


class Factory(Description):
    """Base of the factories; `from_dict` makes the one that the JSON's ``type`` names.

    ``jobs`` are the templates, or their names.
    """

    type: ClassVar[str] = ""

    _wire: ClassVar[Mapping[str, str]] = {"name": "name", "jobs": "jobs"}

    name: str | None
    jobs: list[Reference]

    def to_dict(self) -> dict[str, Any]:
        """The API's JSON as a new dict; templates are named by the names they have now."""
        found = super().to_dict()
        if self.jobs:
            found["jobs"] = names_of(self.jobs)
        return {**found, "type": self.type}

    @classmethod
    def _from_fields(cls, data: object) -> Self:
        kind = data.get("type") if isinstance(data, Mapping) else None
        if not isinstance(data, Mapping) or (cls.type and kind == cls.type):
            return super()._from_fields(data)
        chosen = _KINDS.get(str(kind))
        if chosen is None or not issubclass(chosen, cls):
            allowed = [cls.type] if cls.type else list(_KINDS)
            raise InvalidDescription("type", kind, f"must be one of {', '.join(allowed)}")
        return chosen.from_dict(data)

    @classmethod
    def _fields(cls) -> Collection[str]:
        return ("type", *cls._wire.values())

    def _state(self) -> object:
        return self.to_dict()

    def _shown(self, attribute: str, value: object) -> str:
        return super()._shown(attribute, names_of(value) if attribute == "jobs" else value)


class _WithParameters(Factory):
    _wire: ClassVar[Mapping[str, str]] = {
        "name": "name",
        "jobs": "jobs",
        "parameters": "parameters",
    }

    def __init__(
        self,
        *,
        name: str | None = None,
        jobs: Iterable[Reference] | None = None,
        parameters: Iterable[ParameterSet] | None = None,
    ) -> None:
        self.name = name
        self.jobs: list[Reference] = as_list(jobs)
        self.parameters: list[ParameterSet] = as_list(parameters)

    @classmethod
    def _parts(cls) -> Mapping[str, type[Description]]:
        return {"parameters": ParameterSet}


class ParameterSweep(_WithParameters):
    """One job for each combination of up to four ranges; the last one varies fastest."""

    type: ClassVar[str] = "parameterSweep"


class Zip(_WithParameters):
    """The i-th job takes the i-th value of each parameter; all have equally many."""

    type: ClassVar[str] = "zip"


class Repeat(Factory):
    """``number`` copies, which are not told apart by any parameter. ``num`` is the same."""

    type: ClassVar[str] = "repeat"

    _wire: ClassVar[Mapping[str, str]] = {"name": "name", "jobs": "jobs", "number": "number"}

    def __init__(
        self,
        number: int | None = None,
        *,
        num: int | None = None,
        name: str | None = None,
        jobs: Iterable[Reference] | None = None,
    ) -> None:
        self.name = name
        self.jobs: list[Reference] = as_list(jobs)
        self.number = num if number is None else number

    @property
    def num(self) -> int | None:
        """Another name of ``number``, which the service's own client uses."""
        return self.number

    @num.setter
    def num(self, value: int | None) -> None:
        self.number = value


_KINDS: dict[str, type[Factory]] = {kind.type: kind for kind in (ParameterSweep, Zip, Repeat)}
