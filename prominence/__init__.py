"""Jobs and workflows for the PROMINENCE batch service, and the service itself for one machine."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prominence import exceptions as exceptions
from prominence.version import __version__

if TYPE_CHECKING:
    from prominence.artifact import Artifact
    from prominence.client.api import ProminenceClient
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

_MODULES = {
    "Artifact": "artifact",
    "Job": "job",
    "ProminenceClient": "client.api",
    "Session": "session",
    "Settings": "settings",
    "Workflow": "workflow",
    "login": "client.auth",
    "register": "client.auth",
}


def __getattr__(name: str) -> Any:
    """Import what is used: the command need not know how to describe jobs to list them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'description')}")
    found = globals()[name] = getattr(module, name)
    return found


__path__.append(
    f"{__path__[0]}/_compat/modules"
)  # modules of the public client 0.21, such as prominence.auth
