"""A workflow: jobs that depend on one another, and factories that multiply them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from prominence.description.base import Description, as_list, as_object
from prominence.description.factories import Factory, Reference, name_of, names_of
from prominence.description.job import JobDescription, users_labels
from prominence.description.policies import Notification, WorkflowPolicies
from prominence.description.rules import check_workflow, raise_invalid
from prominence.exceptions import InvalidDescription

if TYPE_CHECKING:
    from prominence.description.checks import Violation


class Dependency(Description):
    """Jobs that start only after another one has succeeded.

    ``parent`` and ``children`` are jobs or their names; one child need not be put in a list. The
    JSON is ``{parent: [child, ...]}``.
    """

    _wire: ClassVar[Mapping[str, str]] = {"parent": "parent", "children": "children"}

    def __init__(self, parent: Reference, children: Reference | Iterable[Reference]) -> None:
        self.parent = parent
        single = isinstance(children, str) or hasattr(children, "name")
        self.children: list[Reference] = [children] if single else as_list(children)  # type: ignore[list-item]

    def to_dict(self) -> dict[str, Any]:
        """The API's JSON as a new dict; jobs are named by the names they have now."""
        return {name_of(self.parent): names_of(self.children)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Dependency:
        """The dependencies of one parent; `parse_dependencies` takes those of many."""
        found = parse_dependencies(data)
        if len(found) != 1:
            raise InvalidDescription("dependencies", data, "must be the children of one parent")
        return found[0]

    def _left_out(self, _attribute: str, _value: object) -> bool:
        return False

    def _state(self) -> object:
        return self.to_dict()

    def _shown(self, attribute: str, value: object) -> str:
        return repr(name_of(value) if attribute == "parent" else names_of(value))


def parse_dependencies(data: object) -> list[Dependency]:
    """A list of dependencies from ``{parent: [child, ...], ...}``."""
    if not isinstance(data, Mapping):
        raise InvalidDescription("dependencies", data, "must be an object of parents and children")
    for parent, children in data.items():
        if not isinstance(children, list | tuple):
            where = f"dependencies.{name_of(parent)}"
            raise InvalidDescription(where, children, "must be a list of children")
    return [Dependency(parent, children) for parent, children in data.items()]


class WorkflowDescription(Description):
    """What a workflow is, without a life of its own.

    - ``name``: as for jobs; today's servers need one, without blanks
    - ``labels``: values by name; they are not given to the workflow's jobs
    - ``jobs``: each with a name of its own, best not part of another one's
    - ``dependencies``: list of `Dependency`; ``{"parent": ["child"]}`` can be assigned too
    - ``factories``: `ParameterSweep`, `Zip` or `Repeat`
    - ``policies``, ``notifications``: see `WorkflowPolicies` and `Notification`
    """

    job_type: ClassVar[type[JobDescription]] = JobDescription
    """What `from_dict` makes of a job."""

    _wire: ClassVar[Mapping[str, str]] = {
        "name": "name",
        "labels": "labels",
        "jobs": "jobs",
        "dependencies": "dependencies",
        "factories": "factories",
        "policies": "policies",
        "notifications": "notifications",
    }

    def __init__(
        self,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        jobs: Iterable[JobDescription] | None = None,
        dependencies: Iterable[Dependency] | Mapping[Any, Any] | None = None,
        factories: Iterable[Factory] | None = None,
        policies: WorkflowPolicies | None = None,
        notifications: Iterable[Notification] | None = None,
    ) -> None:
        self.name = name
        self.labels: dict[str, str] = as_object(labels)
        self.jobs: list[JobDescription] = as_list(jobs)
        self.dependencies = dependencies
        self.factories: list[Factory] = as_list(factories)
        self.policies = WorkflowPolicies() if policies is None else policies
        self.notifications: list[Notification] = as_list(notifications)

    @property
    def dependencies(self) -> list[Dependency]:
        """Who waits for whom; what is assigned may also be ``{"parent": ["child"]}``."""
        return self._dependencies

    @dependencies.setter
    def dependencies(self, value: Iterable[Dependency] | Mapping[Any, Any] | None) -> None:
        found = parse_dependencies(value) if isinstance(value, Mapping) else as_list(value)
        for index, each in enumerate(found if isinstance(found, list) else [found]):
            if not isinstance(each, Dependency):
                where = f"dependencies[{index}]" if isinstance(found, list) else "dependencies"
                raise InvalidDescription(where, each, "must be a Dependency(parent, children)")
        self._dependencies: list[Dependency] = found

    def _merged_dependencies(self) -> dict[Any, list[Any]]:
        merged: dict[Any, list[Any]] = {}
        for dependency in self.dependencies:
            children = merged.setdefault(name_of(dependency.parent), [])
            children += [c for c in names_of(dependency.children) if c not in children]
        return merged

    def to_dict(self) -> dict[str, Any]:
        """The API's JSON as a new dict; dependencies are merged by parent.

        Raises `InvalidDescription` if an input file cannot be read.
        """
        found = super().to_dict()
        if self.dependencies:
            found["dependencies"] = self._merged_dependencies()
        return found

    def validate(self) -> list[Violation]:
        """What some servers choke on, after everything that all of them refuse.

        Raises `InvalidDescription` with field, value and rule for the first thing that the service
        would refuse.
        """
        return self._validated()[1]

    def _validated(self) -> tuple[dict[str, Any], list[Violation]]:
        """The API's JSON that was looked at, and what some servers choke on."""
        with self._naming_attributes():
            description = self.to_dict()
            return description, raise_invalid(check_workflow(description))

    @classmethod
    def _parts(cls) -> Mapping[str, type[Description]]:
        return {
            "jobs": cls.job_type,
            "factories": Factory,
            "policies": WorkflowPolicies,
            "notifications": Notification,
        }

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        found = super()._arguments(data)
        if "dependencies" in data:
            found["dependencies"] = parse_dependencies(data["dependencies"])
        return {**found, "labels": users_labels(found.get("labels"))}

    def _state(self) -> object:
        properties = {name: getattr(self, name) for name in self._wire}
        said = {n: v for n, v in properties.items() if not self._left_out(n, v)}
        return {**said, "dependencies": self._merged_dependencies()}
