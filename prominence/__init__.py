"""Jobs and workflows for the PROMINENCE batch service, and the service itself for one machine."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prominence.artifact import Artifact
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
from prominence.version import __version__
from prominence.workflow import Workflow

if TYPE_CHECKING:
    from prominence.client.api import ProminenceClient
    from prominence.client.auth import login, register
    from prominence.session import Session
    from prominence.settings import Settings

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

_IMPORTED_WHEN_USED = {
    "ProminenceClient": "prominence.client.api",
    "Session": "prominence.session",
    "Settings": "prominence.settings",
    "login": "prominence.client.auth",
    "register": "prominence.client.auth",
}


def __getattr__(name: str) -> Any:
    """What talks to a service, which those who only describe jobs do not pay for."""
    if name not in _IMPORTED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_IMPORTED_WHEN_USED[name]), name)
    return found


__path__.append(
    f"{__path__[0]}/_compat/modules"
)  # modules of the public client 0.21, such as prominence.auth
