"""Rules for a workflow's factories: parameter sweeps, zips and repeats."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from prominence.description.checks import (
    Checker,
    Field,
    Violation,
    each,
    first_of,
    is_named,
    is_whole,
    join,
    list_of,
    require,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SWEEP_PARAMETERS: Final = 4

_is_object = require(lambda value: isinstance(value, dict), "a JSON object", "a factory must be an object")


def _is_number(value: object) -> bool:
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _present(table: dict[str, Field]) -> Checker:
    """The fields of the table; the service ignores others in factories."""

    def check(path: str, value: dict[str, Any]) -> Iterator[Violation]:
        for name, field in table.items():
            where = join(path, name)
            if name in value:
                yield from field.check(where, value[name])
            elif field.missing:
                yield Violation(where, None, "needed", field.missing, "invalid")

    return check


_NAME: Final = Field(
    require(is_named, "a name", "a parameter must contain a name"),
    missing="a parameter must contain a name",
)


def _number(text: str) -> Field:
    return Field(require(_is_number, "a number", text), missing=text)


_STEP: Final = "a parameter must contain a step size or number of steps"


def _runs_to_its_end(path: str, parameter: dict[str, Any]) -> Iterator[Violation]:
    """Else the service would accept it, and make no job."""
    if parameter["end"] < parameter["start"]:
        rule, message = f"at least the start, {parameter['start']}", "the sweep has no values"
        yield Violation(join(path, "end"), parameter["end"], rule, message, "invalid")


# `number` in place of `step` passes the service's own check and then ends in a 500; a step that is
# not above 0 never gets to the end.
_sweep_parameter = first_of(
    _is_object,
    _present(
        {
            "name": _NAME,
            "start": _number("a parameter must contain a start value"),
            "end": _number("a parameter must contain an end value"),
            "step": Field(
                require(lambda v: _is_number(v) and v > 0, "a number above 0", _STEP), missing=_STEP
            ),
        }
    ),
    _runs_to_its_end,
)


def _blanks(path: str, values: list[Any]) -> Iterator[Violation]:
    """An instance whose value has a blank is held for ever, and its workflow with it."""
    for index, value in enumerate(values):
        if isinstance(value, str) and re.search(r"\s", value):
            message = f'value "{value}" contains a blank'
            yield Violation(f"{path}[{index}]", value, "without blanks", message, "server-bug", hangs=True)


def _is_plain(value: object) -> bool:
    return isinstance(value, str) or _is_number(value)


_values = first_of(
    require(lambda value: isinstance(value, list), "a list", "values must be a list"),
    each(
        require(
            _is_plain, "strings or numbers", 'value "{}" is neither a string nor a number', kind="server-bug"
        )
    ),
    _blanks,
)
_zip_parameter = first_of(
    _is_object,
    _present({"name": _NAME, "values": Field(_values, "a parameter must contain a list of values")}),
)


def _entries(parameters: list[Any]) -> list[dict[str, Any]]:
    return [entry for entry in parameters if isinstance(entry, dict)]


def _unique_names(path: str, parameters: list[Any]) -> Iterator[Violation]:
    names = [str(entry.get("name")) for entry in _entries(parameters)]
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    for name in twice:
        message = "each parameter must have a unique name"
        yield Violation(path, name, "parameters of different names", message, "invalid")


def _same_length(path: str, parameters: list[Any]) -> Iterator[Violation]:
    values = [entry.get("values") for entry in _entries(parameters)]
    lengths = [len(entry) for entry in values if isinstance(entry, list)]
    if len(set(lengths)) > 1:
        message = "all parameters must lists of values the same length"
        yield Violation(path, lengths, "lists of one length", message, "invalid")


def _parameters(kind: str, entry: Checker, *others: Checker) -> Field:
    check = first_of(list_of(entry, "parameters must be a list"), _unique_names, *others)
    return Field(check, f"a factory of type {kind} must have parameters specified")


_not_too_many = require(
    lambda value: len(value) <= MAX_SWEEP_PARAMETERS,
    f"at most {MAX_SWEEP_PARAMETERS} parameters",
    f"Currently only parameter sweeps up to {MAX_SWEEP_PARAMETERS}D are supported",
)

FACTORY_TYPES: Final = {
    "parameterSweep": _present(
        {"parameters": _parameters("parameterSweep", _sweep_parameter, _not_too_many)}
    ),
    "zip": _present({"parameters": _parameters("zip", _zip_parameter, _same_length)}),
    "repeat": _present(
        {
            "number": Field(
                whole(
                    "number of repeats must be an integer",
                    least=1,
                    too_small="number of repeats must be at least 1",
                ),
                "a factory of type repeat must have number specified",
            )
        }
    ),
}


def _by_type(path: str, factory: dict[str, Any]) -> Iterator[Violation]:
    yield from FACTORY_TYPES[factory["type"]](path, factory)


_type = require(
    lambda value: isinstance(value, str) and value in FACTORY_TYPES,
    f"one of {', '.join(FACTORY_TYPES)}",
    "invalid factory type",
)

_factory = first_of(
    _is_object,
    _present(
        {
            "type": Field(_type, "a factory type must be specified"),
            "name": Field(
                require(is_named, "a name", "a factory name must be specified"),
                "a factory name must be specified",
            ),
            "jobs": Field(
                require(lambda v: isinstance(v, list), "a list of names", "jobs must be a list"),
                "a list of jobs must be specified",
            ),
        }
    ),
    _by_type,
)

factories: Final[Checker] = list_of(_factory, "factories must be a list")


def _usable(workflow: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    found = workflow.get("factories")
    for index, factory in enumerate(found if isinstance(found, list) else ()):
        if isinstance(factory, dict) and isinstance(factory.get("jobs"), list):
            yield index, factory


def template_jobs(path: str, workflow: dict[str, Any]) -> Iterator[Violation]:
    """Factories may only name jobs that the workflow has."""
    jobs = workflow.get("jobs")
    entries = _entries(jobs) if isinstance(jobs, list) else []
    names = {entry["name"] for entry in entries if isinstance(entry.get("name"), str)}
    for index, factory in _usable(workflow):
        where = join(path, f"factories[{index}].jobs")
        for job in factory["jobs"]:
            if not isinstance(job, str) or job not in names:
                rule = "names of the workflow's jobs"
                message = f"factory {factory.get('name')} references a job {job} which is not defined"
                yield Violation(where, job, rule, message, "invalid")


def _uses(name: str, output: object) -> bool:
    if not isinstance(output, str):
        return False
    return f"${{{name}}}" in output or bool(re.search(rf"\${re.escape(name)}(?!\w)", output))


def _not_replaced(job: dict[str, Any], names: list[str]) -> Iterator[tuple[str, str]]:
    """Path and name of a job's outputs in which one of these parameters would stay as it is."""
    for field in ("outputFiles", "outputDirs"):
        outputs = job.get(field)
        for index, output in enumerate(outputs if isinstance(outputs, list) else ()):
            if any(_uses(name, output) for name in names):
                yield f"{field}[{index}]", output


def output_names(path: str, workflow: dict[str, Any]) -> Iterator[Violation]:
    """With two or more parameters, servers replace only the last one in the names of outputs."""
    jobs = workflow.get("jobs")
    for _, factory in _usable(workflow):
        parameters = factory.get("parameters")
        entries = _entries(parameters) if isinstance(parameters, list) else []
        lost = [str(entry.get("name")) for entry in entries[:-1]]
        for index, job in enumerate(jobs if isinstance(jobs, list) else ()):
            if not isinstance(job, dict) or job.get("name") not in factory["jobs"]:
                continue
            for field, output in _not_replaced(job, lost):
                yield Violation(
                    join(path, f"jobs[{index}].{field}"),
                    output,
                    "no parameter but the factory's last one in the name of an output",
                    f'only the last parameter is replaced in output name "{output}"',
                    "server-bug",
                )
