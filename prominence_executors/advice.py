"""What somebody can do about an error that a future raised."""

from __future__ import annotations

import re
import shlex
from typing import Final

from prominence import exceptions

_NEXT_STEPS: Final[tuple[tuple[type[BaseException], str], ...]] = (  # the first that fits
    (exceptions.CallLost, "look at its standard error, and whether it needs more memory"),
    (exceptions.TaskExitError, "look at its standard error"),
    (exceptions.WalltimeExceeded, "ask for a longer resources.walltime (minutes)"),
    (exceptions.MemoryExceeded, "ask for more resources.memory (GB)"),
    (exceptions.ImagePullFailed, "check the image's name, and that the service may fetch it"),
    (exceptions.StageInFailed, "check the names of artifacts and inputs, and that they are still stored"),
    (exceptions.StageOutFailed, "check that output files are written where they are declared"),
    (exceptions.NoMatchingResources, "ask for fewer cpus or less memory, or for a longer time in the queue"),
    (exceptions.JobEvicted, "submit it again"),
    (exceptions.JobDeleted, "submit it again if nobody meant to end it"),
    (exceptions.JobHeld, "ask the service's administrators why, or delete it and submit it again"),
    (exceptions.JobLost, "look whether it has had effects, then submit it again"),
    (exceptions.OutcomeUnknown, "look whether its effects are there, and submit it again if not"),
    (exceptions.InterruptedAfterStart, "look what it has done, and submit it again if that does no harm"),
    (exceptions.StoreUnreachable, "see that jobs reach the service, or use guarantee='settle'"),
    (exceptions.PythonMismatch, "choose an image with the caller's minor version of Python"),
    (exceptions.MissingDependency, "choose an image that has the module, or send it along with ship=[...]"),
    (exceptions.CallUnreadable, "see the remote traceback; define what it names where the job can import it"),
    (exceptions.ResultNotPicklable, "return something that can be pickled, or write an output file"),
    (exceptions.ResultUnreadable, "make what the value needs importable here"),
    (exceptions.SubmissionUncertain, "call future.job.create(), which looks for it before it submits"),
    (exceptions.DuplicateRun, "keep one of the jobs, and delete the others"),
    (exceptions.AuthenticationError, "log in again: prominence login"),
    (exceptions.ServiceUnavailable, "try again when the service answers; the job may still run"),
    (exceptions.FeatureDisabled, "ask the service's administrators for it, or do without"),
    (exceptions.ServiceError, "correct what the service's answer names"),
    (exceptions.ConfigurationError, "correct the settings"),
    (exceptions.SessionInUse, "go on where the session is driven from, or end that process"),
    (exceptions.SessionNotFound, "check the session's name, and whose service it is at"),
    (exceptions.SessionMismatch, "attach with the release that wrote it"),
    (exceptions.InvalidDescription, "correct the field"),
    (exceptions.ContentMismatch, "transfer it again"),
    (exceptions.WaitTimeout, "wait again, for longer"),
    (exceptions.LocalServiceError, "look at prominence local status"),
    (exceptions.ResultError, "see the remote traceback"),
    (exceptions.JobFailedError, "look at its standard error, and submit it again if that tells nothing"),
    (FileNotFoundError, "send the file as one of input_files, or name it by a path that the job can see"),
    (ModuleNotFoundError, "choose an image that has the module, or send it along with ship=[...]"),
)

_FOR_A_SHELL: Final = re.compile(r"[|&;]+|\d*[<>].*|[^'\"\\]*(;|\*|\$\()[^'\"\\]*")
_LONGEST_COMMAND: Final = 4096  # characters, for which shlex takes no time to speak of


def next_step(error: BaseException | type[BaseException]) -> str:
    """What to do next, as part of a sentence; empty where that depends on the caller's own code."""
    kind = error if isinstance(error, type) else type(error)
    return next((text for known, text in _NEXT_STEPS if issubclass(kind, known)), "")


def word_for_a_shell(command: str) -> str:
    """The first word that is not quoted and that a shell would not pass on, as ``|``; empty without one."""
    try:
        words = shlex.split(command, posix=False) if len(command) <= _LONGEST_COMMAND else []
    except ValueError:
        return ""
    return next((word for word in words if _FOR_A_SHELL.fullmatch(word)), "")
