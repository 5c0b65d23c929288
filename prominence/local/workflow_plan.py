"""What a workflow's description comes to: its templates, how many jobs each makes, and who waits for whom."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from prominence.description.rules import dependency_cycle, unknown_parents
from prominence.local.errors import Refusal
from prominence.local.factories import expansion

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_JOBS: Final = 100_000
"""Jobs of one workflow."""
_TOO_LONG_TO_SHOW: Final = 10**18


@dataclass(slots=True)
class Template:
    """A job of the description; ``count`` jobs are made from it, one where ``factory`` is None."""

    job: dict[str, Any]
    factory: dict[str, Any] | None
    count: int
    children: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.job["name"])


def templates_of(description: Mapping[str, Any]) -> dict[str, Template]:
    """The templates of a validated description by their names; raises Refusal where it can never end well."""
    _refuse_the_name(description.get("name"))
    _refuse_what_never_ends(description)
    factories = _factories_by_job(description)
    found = {job["name"]: _template(job, factories.get(job["name"])) for job in description["jobs"]}
    total = sum(template.count for template in found.values())
    if total > MOST_JOBS:
        number = total if total < _TOO_LONG_TO_SHOW else "far too many"
        raise Refusal(400, f"the workflow would have {number} jobs, at most {MOST_JOBS} are possible")
    for factory in description.get("factories") or ():
        _refuse_values_out_of_range(factory)
    for parent, children in (description.get("dependencies") or {}).items():
        for child in dict.fromkeys(children):
            found[parent].children.append(child)
            found[child].parents.append(parent)
    return found


def _template(job: dict[str, Any], factory: dict[str, Any] | None) -> Template:
    return Template(job, factory, 1 if factory is None else expansion(factory).count)


def _refuse_values_out_of_range(factory: dict[str, Any]) -> None:
    """The first and the last values of a sweep are its largest."""
    found = expansion(factory)
    try:
        for instance in {0, found.count - 1} if found.count else ():
            json.dumps(found.values(instance))
    except (OverflowError, ValueError) as error:
        raise Refusal(400, f"factory {factory['name']} has values that are too large: {error}") from error


def _refuse_the_name(name: str | None) -> None:
    """The rules allow what a real service then cannot submit."""
    if not name or " " in name:
        raise Refusal(400, "Workflow submission failed: a workflow needs a name, without blanks")


def _refuse_what_never_ends(description: Mapping[str, Any]) -> None:
    """A real service ignores the one and never starts the other."""
    if unknown := unknown_parents(description):
        raise Refusal(400, f'parent job "{unknown[0]}" is not actually defined')
    if cycle := dependency_cycle(description):
        raise Refusal(400, "dependencies form a cycle: " + " -> ".join(cycle))


def _factories_by_job(description: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for factory in description.get("factories") or ():
        for job in dict.fromkeys(factory["jobs"]):
            if job in found:
                both = f"{found[job]['name']} and {factory['name']}"
                raise Refusal(
                    400, f'job "{job}" is in two factories ({both}): its jobs would have equal names'
                )
            found[job] = factory
    return found
