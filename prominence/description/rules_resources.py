"""Rules for what a job asks for: CPUs, memory and disk in GB, nodes, walltime in minutes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from prominence.description.checks import (
    LARGEST,
    Checker,
    Field,
    Violation,
    first_of,
    is_whole,
    join,
    mapping,
    require,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU_CHOICES: Final = ("cpus", "cpusRange", "cpusOptions")
MEMORY_CHOICES: Final = ("memory", "memoryPerCpu")


def _is_amount(value: Any) -> bool:
    return (is_whole(value) and value <= LARGEST) or (isinstance(value, float) and math.isfinite(value))


def _gigabytes(name: str) -> Checker:
    """More than 0 GB; newer clients send fractions, which today's servers refuse."""
    rule = "GB, a whole number of at least 1"
    not_whole = f"{name} must be an integer"
    return first_of(
        require(_is_amount, rule, not_whole),
        require(lambda value: value > 0, rule, f"{name} must be at least 1"),
        require(is_whole, rule, not_whole, kind="server-bug"),
    )


def _pair(wrong_form: str) -> Checker:
    """Two numbers of CPUs."""
    return require(
        lambda value: (
            isinstance(value, list)
            and len(value) == 2  # noqa: PLR2004 - a pair
            and all(is_whole(number) and 1 <= number <= LARGEST for number in value)
        ),
        "a list of two whole numbers of at least 1",
        wrong_form,
    )


def _range(wrong_form: str) -> Checker:
    # Nothing refuses a range upside down, and no machine lies in it.
    ordered = require(
        lambda value: value[0] <= value[1],
        "the minimum, then the maximum",
        wrong_form,
        kind="server-bug",
    )
    return first_of(_pair(wrong_form), ordered)


def _count(of_what: str, least: str) -> Checker:
    too_large = f"{of_what} must be at most {LARGEST}"
    return whole(f"{of_what} must be an integer", least=1, too_small=least, most=LARGEST, too_large=too_large)


RESOURCE_FIELDS: Final = {
    "nodes": Field(_count("number of nodes", "number of nodes must be at least 1")),
    "totalCpusRange": Field(
        _range("totalCpusRange must be a list containing the min and max allowed total number of CPUs")
    ),
    "cpus": Field(_count("number of cpus", "number of cpus must be at least 1")),
    "cpusRange": Field(_range("cpusRange must be a list containing the min and max allowed number of CPUs")),
    "cpusOptions": Field(_pair("cpusOptions must be a list containing the two possible number of CPUs")),
    "memory": Field(_gigabytes("memory")),
    "memoryPerCpu": Field(_gigabytes("memoryPerCpu")),
    # Several servers answer 500 without it.
    "disk": Field(_count("required disk", "disk must be at least 1"), missing="disk must be defined"),
    "walltime": Field(_count("required walltime", "walltime must be at least 1 minute")),
}


def _one_of(choices: tuple[str, ...], none: str) -> Checker:
    rule = f"exactly one of {', '.join(choices)}"

    def check(path: str, value: dict[str, Any]) -> Iterator[Violation]:
        given = [name for name in choices if name in value]
        if not given:
            yield Violation(join(path, choices[0]), None, rule, none, "invalid")
        for name in given[1:]:
            message = f"{given[0]} and {name} cannot both be defined"
            yield Violation(join(path, name), value[name], rule, message, "invalid")

    return check


resources: Final[Checker] = mapping(
    RESOURCE_FIELDS,
    'invalid item "{}" in resources',
    "resources must be an object",
    _one_of(CPU_CHOICES, "one of cpus, cpusRange, cpusOptions must be defined"),
    _one_of(MEMORY_CHOICES, "memory or memoryPerCpu (in GB) must be defined"),
)
