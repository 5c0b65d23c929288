"""A job: tasks that run one after the other, what they need, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from prominence.description.base import Description, as_list, as_object
from prominence.description.checks import HIDDEN, Violation
from prominence.description.files import ArtifactDescription, InputFile
from prominence.description.policies import JobPolicies, Notification
from prominence.description.resources import Resources
from prominence.description.rules import check_job, is_reserved, raise_invalid
from prominence.description.task import Task


def users_labels(labels: Any) -> Any:
    """The labels in some JSON without the submission tag."""
    if not isinstance(labels, Mapping):
        return labels
    return {name: value for name, value in labels.items() if not is_reserved(name)}


class JobDescription(Description):
    """What a job is, without a life of its own.

    - ``name``: at most 512 letters, digits and ``-``, ``_``, blank, ``.``, ``/``
    - ``labels``: values by name, to find the job by; names are letters and digits
    - ``resources``: what the job asks for; always sent
    - ``tasks``: run in turn; sidecars run beside the others
    - ``input_files``: small files in the description itself
    - ``artifacts``: files and archives fetched before the tasks start
    - ``output_files``, ``output_directories``: kept after the tasks, by base name; a file's name may
      be a glob that matches one file
    - ``policies``, ``notifications``: see `JobPolicies` and `Notification`
    - ``storage``: external storage to mount; passed on as it is, and never shown
    """

    artifact_type: ClassVar[type[ArtifactDescription]] = ArtifactDescription
    """What `from_dict` makes of an artifact."""

    _wire: ClassVar[Mapping[str, str]] = {
        "name": "name",
        "labels": "labels",
        "resources": "resources",
        "tasks": "tasks",
        "input_files": "inputs",
        "artifacts": "artifacts",
        "output_files": "outputFiles",
        "output_directories": "outputDirs",
        "policies": "policies",
        "notifications": "notifications",
        "storage": "storage",
    }

    def __init__(
        self,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        resources: Resources | None = None,
        tasks: Iterable[Task] | None = None,
        input_files: Iterable[InputFile] | None = None,
        artifacts: Iterable[ArtifactDescription] | None = None,
        output_files: Iterable[str] | None = None,
        output_directories: Iterable[str] | None = None,
        policies: JobPolicies | None = None,
        notifications: Iterable[Notification] | None = None,
        storage: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.labels: dict[str, str] = as_object(labels)
        self.resources = Resources() if resources is None else resources
        self.tasks: list[Task] = as_list(tasks)
        self.input_files: list[InputFile] = as_list(input_files)
        self.artifacts: list[ArtifactDescription] = as_list(artifacts)
        self.output_files: list[str] = as_list(output_files)
        self.output_directories: list[str] = as_list(output_directories)
        self.policies = JobPolicies() if policies is None else policies
        self.notifications: list[Notification] = as_list(notifications)
        self.storage = storage

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
            return description, raise_invalid(check_job(description))

    @classmethod
    def _parts(cls) -> Mapping[str, type[Description]]:
        return {
            "resources": Resources,
            "tasks": Task,
            "input_files": InputFile,
            "artifacts": cls.artifact_type,
            "policies": JobPolicies,
            "notifications": Notification,
        }

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        found = super()._arguments(data)
        return {**found, "labels": users_labels(found.get("labels"))}

    def _left_out(self, attribute: str, value: object) -> bool:
        if attribute == "resources":
            return value is None
        return super()._left_out(attribute, value)

    def _shown(self, attribute: str, value: object) -> str:
        return HIDDEN if attribute == "storage" else super()._shown(attribute, value)
