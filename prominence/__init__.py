"""Jobs and workflows for the PROMINENCE batch service, and the service itself for one machine."""

from prominence.artifact import Artifact
from prominence.client import ProminenceClient
from prominence.client.auth import login, register
from prominence.description import (
    Dependency,
    InputFile,
    JobPolicies,
    Notification,
    ParameterSet,
    ParameterSweep,
    Repeat,
    Resources,
    Task,
    WorkflowPolicies,
    Zip,
)
from prominence.job import Job
from prominence.session import Session
from prominence.settings import Settings
from prominence.version import __version__
from prominence.workflow import Workflow

__all__ = [
    "Artifact",
    "Dependency",
    "InputFile",
    "Job",
    "JobPolicies",
    "Notification",
    "ParameterSet",
    "ParameterSweep",
    "ProminenceClient",
    "Repeat",
    "Resources",
    "Session",
    "Settings",
    "Task",
    "Workflow",
    "WorkflowPolicies",
    "Zip",
    "__version__",
    "login",
    "register",
]

__path__.append(
    f"{__path__[0]}/_compat/modules"
)  # modules of the public client 0.21, such as prominence.auth
