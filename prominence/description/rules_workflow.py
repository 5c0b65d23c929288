"""Rules for a workflow description: its jobs and their names, dependencies, policies."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

from prominence.description import rules_common as common
from prominence.description.checks import (
    ROOT,
    Checker,
    Field,
    Violation,
    all_of,
    anything,
    boolean,
    each,
    first_of,
    join,
    list_of,
    mapping,
    require,
)
from prominence.description.rules_factory import factories, output_names, template_jobs
from prominence.description.rules_job import job

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

POLICY_FIELDS: Final = {
    "maximumRetries": Field(common.retries(10)),
    "maximumReruns": Field(common.retries(10, "reruns")),
    "leaveInQueue": Field(boolean("leaveInQueue")),
    "placement": Field(common.placement),
}


def job_names(workflow: Mapping[str, Any]) -> list[str]:
    """The names of a workflow's jobs, as far as they have any."""
    jobs = workflow.get("jobs")
    entries = [entry for entry in jobs if isinstance(entry, dict)] if isinstance(jobs, list) else []
    return [entry["name"] for entry in entries if isinstance(entry.get("name"), str)]


def _not_empty(path: str, jobs: list[Any]) -> Iterator[Violation]:
    # Accepted by the service, which then has nothing to run.
    if not jobs:
        rule, message = "at least one job", "a workflow must contain jobs"
        yield Violation(path, jobs, rule, message, "server-bug")


def _names(path: str, jobs: list[Any]) -> Iterator[Violation]:
    seen = set()
    for index, entry in enumerate(jobs):
        name = entry.get("name") if isinstance(entry, dict) else None
        message = ""
        if name is None:
            message = "all jobs must have names"
        elif name == "":
            message = "names of jobs in workflows cannot be empty"
        elif isinstance(name, str) and name in seen:
            message = f'all jobs must have unique names: "{name}" is used more than once'
        if message:
            rule = "a name that no other job of the workflow has"
            yield Violation(f"{path}[{index}].name", name, rule, message, "invalid")
        if isinstance(name, str):
            seen.add(name)


_children = require(
    lambda value: isinstance(value, list),
    "a list of names of jobs",
    "children of parent job must be in the form of a list",
)


def unknown_parents(workflow: Mapping[str, Any]) -> list[str]:
    """Names in the dependencies that no job has; real services ignore them."""
    names = set(job_names(workflow))
    found = workflow.get("dependencies")
    return [parent for parent in found if parent not in names] if isinstance(found, dict) else []


def dependency_cycle(workflow: Mapping[str, Any]) -> list[str]:
    """The names of jobs that wait for each other, the first one repeated at the end; mostly empty."""
    return _cycle(set(_edges(workflow)))


def _dependencies(path: str, workflow: dict[str, Any]) -> Iterator[Violation]:
    """Children must exist; an unknown parent is ignored by the service."""
    names = set(job_names(workflow))
    found = workflow.get("dependencies")
    for parent, children in found.items() if isinstance(found, dict) else ():
        where = join(path, f"dependencies.{parent}")
        yield from _children(where, children)
        for child in children if isinstance(children, list) else ():
            if not isinstance(child, str) or child not in names:
                message = f'child job "{child}" is not actually defined'
                yield Violation(where, child, "names of the workflow's jobs", message, "invalid")
    for parent in unknown_parents(workflow):
        where = join(path, f"dependencies.{parent}")
        rule = "the name of one of the workflow's jobs: others are ignored"
        message = f'parent job "{parent}" is not actually defined'
        yield Violation(where, parent, rule, message, "server-bug")


def _edges(workflow: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    found = workflow.get("dependencies")
    for parent, children in found.items() if isinstance(found, dict) else ():
        for child in children if isinstance(children, list) else ():
            if isinstance(parent, str) and isinstance(child, str):
                yield parent, child


def _cycle(edges: set[tuple[str, str]]) -> list[str]:
    """The names along a cycle, its first one repeated at the end; empty without a cycle."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for parent, child in edges:
        if parent == child:
            return [parent, child]
        sorter.add(child, parent)
    try:
        sorter.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _containing(workflow: dict[str, Any]) -> dict[str, list[str]]:
    """For each name in the dependencies, the names of jobs that contain it."""
    names = job_names(workflow)
    known, text = set(names), "\n".join(names)
    return {
        short: [short]
        if short in known and text.count(short) == 1  # of thousands of names, most are part of no other
        else [name for name in names if short in name]
        for short in dict.fromkeys(name for edge in _edges(workflow) for name in edge)
    }


def _as_matched(workflow: dict[str, Any]) -> set[tuple[str, str]]:
    """The dependencies that servers make of them: a name stands for all names that contain it."""
    containing = _containing(workflow)
    return {
        (parent, child)
        for short_parent, short_child in set(_edges(workflow))
        for parent in containing[short_parent]
        for child in containing[short_child]
    }


def _cycles(path: str, workflow: dict[str, Any]) -> Iterator[Violation]:
    """A cycle never runs, and reads `completed`; substring matching makes more of them."""
    where = join(path, "dependencies")
    cycle = dependency_cycle(workflow)
    if cycle:
        rule, message = "without a cycle", "dependencies form a cycle: " + " -> ".join(cycle)
        yield Violation(where, cycle, rule, message, "server-bug", hangs=True)
        return
    cycle = _cycle(_as_matched(workflow))
    if cycle:
        rule = "without a cycle, also when a name stands for all names that contain it"
        message = "dependencies form a cycle, as a server matches them: " + " -> ".join(cycle)
        yield Violation(where, cycle, rule, message, "server-bug", hangs=True)


def _substrings(path: str, workflow: dict[str, Any]) -> Iterator[Violation]:
    """Servers take a name in the dependencies for all names that contain it."""
    for short, containing in _containing(workflow).items():
        longer = [name for name in containing if name != short]
        if short and longer:
            rule = "names that are not part of another job's name"
            message = f'job name "{short}" also matches "{longer[0]}" in dependencies'
            where = join(path, "dependencies")
            yield Violation(where, short, rule, message, "server-bug")


def _submittable_name(path: str, workflow: dict[str, Any]) -> Iterator[Violation]:
    # The service's validator allows them; submitting such a workflow fails.
    name = workflow.get("name")
    if not name or (isinstance(name, str) and " " in name):
        message = "Workflow submission failed"
        where = join(path, "name")
        yield Violation(where, name, "a name without blanks", message, "server-bug")


WORKFLOW_FIELDS: Final = {
    "name": Field(common.name("workflow")),
    "jobs": Field(
        first_of(
            list_of(anything, "jobs must be a list"),
            all_of(each(job), _not_empty, _names),
        ),
        missing="a workflow must contain jobs",
    ),
    "dependencies": Field(
        require(
            lambda value: isinstance(value, dict),
            "an object of parents and lists of children",
            "dependencies must be a dict",
        )
    ),
    "factories": Field(factories),
    "policies": Field(mapping(POLICY_FIELDS, 'invalid item "{}" in policies', "policies must be an object")),
    "labels": Field(common.labels),
    "notifications": Field(common.notifications("workflowFinished")),
}

workflow: Final[Checker] = mapping(
    WORKFLOW_FIELDS,
    'invalid item "{}" in workflow description',
    "a workflow description must be a JSON object",
    _dependencies,
    _substrings,
    _cycles,
    template_jobs,
    _submittable_name,
    output_names,
)


def _reserved_labels(path: str, value: object) -> Iterator[Violation]:
    yield from common.reserved_labels(path, value)
    jobs = value.get("jobs") if isinstance(value, dict) else None
    for index, entry in enumerate(jobs if isinstance(jobs, list) else ()):
        yield from common.reserved_labels(join(path, f"jobs[{index}]"), entry)


def check_workflow(description: object, *, reserved_label_allowed: bool = False) -> list[Violation]:
    """Everything that is wrong with a workflow's JSON, its jobs included.

    The submission tag among the labels is a violation unless ``reserved_label_allowed``.
    """
    check = workflow if reserved_label_allowed else all_of(workflow, _reserved_labels)
    return list(check(ROOT, description))
