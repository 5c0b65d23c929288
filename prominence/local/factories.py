"""What a workflow's factories make of a template: how many instances, and which values each of them has."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_FILLED_TASK_FIELD: Final = "cmd"
_FILLED_NAMES: Final = ("outputFiles", "outputDirs")


class Expansion(Protocol):
    """The instances of a template, numbered from 0; nothing is made before it is asked for."""

    @property
    def count(self) -> int: ...

    def values(self, instance: int) -> dict[str, Any]:
        """The value of each parameter by its name."""


def expansion(factory: Mapping[str, Any]) -> Expansion:
    """The expansion of a validated factory in the API's JSON."""
    parameters = factory.get("parameters", [])
    if factory["type"] == "parameterSweep":
        return _Sweep([_Range(each) for each in parameters])
    if factory["type"] == "zip":
        return _Zip(parameters)
    return _Copies(factory["number"])


class _Range:
    """From start to end, both included, in exact steps: the third step of 0.1 is 0.3."""

    def __init__(self, parameter: Mapping[str, Any]) -> None:
        self.name: str = parameter["name"]
        self._start, self._step = (Fraction(str(parameter[key])) for key in ("start", "step"))
        length = Fraction(str(parameter["end"])) - self._start
        self.count = max(0, math.floor(length / self._step) + 1)

    def value(self, index: int) -> float:
        exact = self._start + index * self._step
        return exact.numerator if exact.denominator == 1 else float(exact)


class _Sweep:
    """Every combination of the ranges' values; the last one varies fastest."""

    def __init__(self, ranges: Sequence[_Range]) -> None:
        self._ranges = ranges
        self.count = math.prod(each.count for each in ranges) if ranges else 0

    def values(self, instance: int) -> dict[str, Any]:
        found = {}
        for each in reversed(self._ranges):
            instance, index = divmod(instance, each.count)
            found[each.name] = each.value(index)
        return dict(reversed(found.items()))


class _Zip:
    """The i-th value of each parameter."""

    def __init__(self, parameters: Sequence[Mapping[str, Any]]) -> None:
        self._lists: dict[str, Sequence[Any]] = {each["name"]: each["values"] for each in parameters}
        self.count = min(map(len, self._lists.values()), default=0)

    def values(self, instance: int) -> dict[str, Any]:
        return {name: _whole_where_possible(values[instance]) for name, values in self._lists.items()}


class _Copies:
    """Instances that nothing but their job's id tells apart, as on a real service."""

    def __init__(self, number: int) -> None:
        self.count = number

    def values(self, _instance: int) -> dict[str, Any]:
        return {}


def fill(text: str, values: Mapping[str, Any]) -> str:
    """``$name`` and ``${name}`` replaced by the values of the parameters, all of them in one pass."""
    return _fill(text, values, escaped=False) if values else text


def fill_job(template: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The job of one instance. A dollar sign in a value means itself, also when the command is run."""
    filled = dict(template)
    if not values:
        return filled
    filled["tasks"] = [
        {**task, _FILLED_TASK_FIELD: _fill(task[_FILLED_TASK_FIELD], values, escaped=True)}
        if task.get(_FILLED_TASK_FIELD)
        else task
        for task in template["tasks"]
    ]
    for field in _FILLED_NAMES:
        if field in template:
            filled[field] = [fill(name, values) for name in template[field]]
    if "artifacts" in template:
        filled["artifacts"] = [{**each, "url": fill(each["url"], values)} for each in template["artifacts"]]
    return filled


def parameter_environment(values: Mapping[str, Any]) -> dict[str, str]:
    return {f"PROMINENCE_PARAMETER_{name}": as_text(value) for name, value in values.items()}


def as_text(value: object) -> str:
    """A value as it stands in commands: whole numbers without a decimal point."""
    return str(_whole_where_possible(value))


def _whole_where_possible(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fill(text: str, values: Mapping[str, Any], *, escaped: bool) -> str:
    def replacement(found: re.Match[str]) -> str:
        name = found["plain"] or found["braced"]
        if name is None:  # "$$" stands for a dollar sign, which what follows does not belong to
            return found[0]
        value = as_text(values[name])
        return value.replace("$", "$$") if escaped else value

    return _references(values).sub(replacement, text)


def _references(names: Iterable[str]) -> re.Pattern[str]:
    any_name = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"\$(?:\$|(?P<plain>{any_name})(?!\w)|\{{(?P<braced>{any_name})\}})")
