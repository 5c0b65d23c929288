"""What a job or a workflow *is*: typed plain objects, the API's JSON, and the rules between them.

Nothing here talks to a service. The one thing read from outside is the file of an `InputFile`
without content, when it is needed.
"""

from __future__ import annotations

from prominence.description.factories import Factory, ParameterSet, ParameterSweep, Repeat, Zip
from prominence.description.files import ArtifactDescription, InputFile
from prominence.description.job import JobDescription
from prominence.description.policies import JobPolicies, Notification, WorkflowPolicies
from prominence.description.resources import Resources
from prominence.description.rules import (
    SUBMISSION_LABEL,
    Violation,
    check_job,
    check_workflow,
)
from prominence.description.task import Task
from prominence.description.workflow import Dependency, WorkflowDescription

__all__ = [
    "SUBMISSION_LABEL",
    "ArtifactDescription",
    "Dependency",
    "Factory",
    "InputFile",
    "JobDescription",
    "JobPolicies",
    "Notification",
    "ParameterSet",
    "ParameterSweep",
    "Repeat",
    "Resources",
    "Task",
    "Violation",
    "WorkflowDescription",
    "WorkflowPolicies",
    "Zip",
    "check_job",
    "check_workflow",
]
