"""Every error of this project, as one tree drawn by what the caller can do about it.

::

    ProminenceError
    ├── ConfigurationError          correct the settings named in the text
    ├── InvalidDescription          correct the field named in the text (also a ValueError)
    ├── RequestFailure              (base of the next two: method, URL, status, attempts, seconds)
    ├── ServiceError                the service answered, and the answer was no
    │   ├── AuthenticationError     log in again, or set another token
    │   ├── PermissionDenied        it belongs to somebody else
    │   ├── FeatureDisabled         this service has the feature switched off
    │   ├── NotFound                there is no such thing
    │   └── WrongService            the URL does not lead to a PROMINENCE API
    ├── ServiceUnavailable          try again later: no usable answer (also a ConnectionError)
    │   └── DeadlineExceeded        the same, and the time allowed is used up (also a TimeoutError)
    ├── SubmissionUncertain         the job may or may not have been accepted: do not submit it blindly
    ├── DuplicateRun                it was accepted more than once: keep one, delete the others
    ├── ContentMismatch             what arrived is not what was sent: transfer it again
    ├── WaitTimeout                 the job goes on; wait again (also a TimeoutError)
    ├── JobFailedError              the job ended without success
    │   ├── TaskExitError           a task's exit code was not zero
    │   │   ├── TaskKilled          a signal ended it
    │   │   └── CallLost            a call's process ended before it could tell (also a BrokenExecutor)
    │   ├── WalltimeExceeded        ask for more time
    │   ├── MemoryExceeded          ask for more memory
    │   ├── ImagePullFailed         correct the image's name
    │   ├── StageInFailed           an input or artifact could not be fetched
    │   ├── StageOutFailed          an output was not there, or could not be stored
    │   ├── NoMatchingResources     ask for less
    │   ├── JobEvicted              the machine that ran it was lost: submit it again
    │   ├── JobDeleted              somebody deleted it
    │   ├── JobHeld                 the service does not go on with it: have it released, or delete it
    │   ├── JobLost                 the service knows nothing of it any more (also a BrokenExecutor)
    │   ├── InterruptedAfterStart   look what it has done before you submit it again
    │   ├── StoreUnreachable        the job had no way to the service: another image, or guarantee="settle"
    │   ├── PythonMismatch          choose an image with the caller's Python
    │   └── OutcomeUnknown          it ended, and nothing tells how
    ├── SessionError                (base of the next three)
    │   ├── SessionInUse            another process drives it: end that one first
    │   ├── SessionNotFound         there is no session of that name at this service
    │   └── SessionMismatch         another release has written it: attach with that one
    ├── ResultError                 a call's result could not be brought back or read
    │   ├── MissingDependency       choose an image with the module that the call needs, or send it along
    │   ├── CallUnreadable          it cannot be unpickled in the job (also a BrokenExecutor)
    │   ├── ResultNotPicklable      return something that can be pickled (also a PicklingError)
    │   └── ResultUnreadable        it cannot be unpickled here (also a BrokenExecutor)
    └── LocalServiceError           the embedded service could not be started or used
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from functools import partial
from pickle import PicklingError
from typing import TYPE_CHECKING, Any


class ProminenceError(Exception):
    """Root of all errors raised on purpose by this project."""


class ConfigurationError(ProminenceError):
    """Settings are missing or contradict each other; the text names them."""


class _BrokenRule(Exception):
    """Both say the same of a rule; one is an error, the other a warning."""

    def __init__(self, field: str, value: object, rule: str, attribute: str = "") -> None:
        shown = repr(value)
        if len(shown) > 200:  # noqa: PLR2004 - enough to recognise a value by
            shown = shown[:197] + "..."
        in_python = f" ({attribute} in Python)" if attribute not in {"", field} else ""
        super().__init__(f"{field}{in_python} = {shown}: {rule}")
        self.field = field
        self.value = value
        self.rule = rule
        self.attribute = attribute or field

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.field, self.value, self.rule, self.attribute)


class InvalidDescription(_BrokenRule, ProminenceError, ValueError):
    """A description breaks a rule, found before anything was sent.

    ``field`` is the path in the API's JSON (``tasks[0].cmd``), ``attribute`` the same in Python
    (``tasks[0].command``), ``value`` what was found there and ``rule`` what is allowed.
    """


class ServerBugWarning(_BrokenRule, UserWarning):
    """A valid description was submitted that some servers choke on.

    Attributes as those of InvalidDescription. The service on this machine has none of these faults.
    """


class RequestFailure(ProminenceError):
    """What is known of a request that failed; never holds a token or a signature."""

    def __init__(
        self,
        message: str,
        *,
        method: str = "",
        url: str = "",
        status: int | None = None,
        body: str = "",
        attempts: int = 1,
        elapsed: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.method = method
        self.url = url
        self.status = status
        self.body = body
        self.attempts = attempts
        self.elapsed = elapsed

    def __str__(self) -> str:
        text = super().__str__()
        if not self.method:
            return text
        tries = f", {self.attempts} attempts" if self.attempts > 1 else ""
        took = f", {self.elapsed:.1f} s" if self.elapsed >= 0.05 else ""  # noqa: PLR2004 - else it shows 0.0
        return f"{text} [{self.method} {self.url}{tries}{took}]"


class ServiceError(RequestFailure):
    """The service refused a request; ``status`` and ``body`` hold its answer."""


class AuthenticationError(ServiceError):
    """The token was not accepted; ``expired_at`` (Unix epoch) is set where it says that its time is over."""

    expired_at: float | None = None

    def __str__(self) -> str:
        text = super().__str__()
        if self.expired_at is None:
            return text
        from datetime import UTC, datetime

        when = datetime.fromtimestamp(self.expired_at, UTC)
        return (
            f"{text}; the token expired on {when:%Y-%m-%d at %H:%M} UTC: log in again (prominence login), "
            "or set another one"
        )


class PermissionDenied(ServiceError):
    """The token is good, but the thing belongs to somebody else."""


class FeatureDisabled(ServiceError):
    """The service says that this functionality is switched off."""


class NotFound(ServiceError):
    """The service does not know the job, object or key (or it is not the caller's)."""


class WrongService(ServiceError):
    """The answer does not come from a PROMINENCE API; most often the URL is wrong."""


class ServiceUnavailable(RequestFailure, ConnectionError):
    """No usable answer after all retries that were allowed."""


class DeadlineExceeded(ServiceUnavailable, TimeoutError):
    """The request's time was used up before a usable answer came."""


class SubmissionUncertain(ProminenceError):
    """Whether the service accepted a submission is not known.

    ``tag`` is the value of the submission's reserved label: a job that carries it is this one. It is None
    for clones and reruns, which carry none of their own. ``sends`` tells how many requests may have arrived.
    """

    def __init__(self, message: str, tag: str | None, sends: int = 1) -> None:
        super().__init__(message)
        self.tag = tag
        self.sends = sends

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.tag, self.sends)


class DuplicateRun(ProminenceError):
    """The service accepted one submission more than once, and more than one of them runs, or may have run.

    ``ids`` are all of them, the oldest first; ``tag`` is the value of the reserved label that they share.
    """

    def __init__(self, message: str, ids: tuple[int, ...], tag: str) -> None:
        super().__init__(message)
        self.ids = ids
        self.tag = tag

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.ids, self.tag)


class ContentMismatch(ProminenceError):
    """Stored content and what arrived of it differ in size or checksum.

    ``expected`` and ``found`` say which: ``12 bytes``, or an algorithm and a digest in hex.
    """

    def __init__(self, what: str, expected: str, found: str) -> None:
        super().__init__(f"{what} has {found}, and should have {expected}")
        self.what = what
        self.expected = expected
        self.found = found

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.what, self.expected, self.found)


class WaitTimeout(ProminenceError, TimeoutError):
    """The time given to a wait has passed; the job is not affected."""


class JobFailedError(ProminenceError):
    """A job ended without success.

    ``job_id``, ``status`` and ``reason`` are the service's; ``exit_codes`` has one entry per task that
    ran; ``stderr`` holds the last lines of the job's standard error, if they could be read.
    """

    def __init__(
        self,
        message: str,
        *,
        job_id: int | None = None,
        status: str = "",
        reason: str = "",
        exit_codes: tuple[int | None, ...] = (),
        stderr: str = "",
    ) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.status = status
        self.reason = reason
        self.exit_codes = exit_codes
        self.stderr = stderr

    def __str__(self) -> str:
        text = super().__str__()
        if not self.stderr:
            return text
        return f"{text}\nlast lines of stderr:\n{self.stderr}"


class TaskExitError(JobFailedError):
    """A task ended with an exit code other than zero."""


class TaskKilled(TaskExitError):
    """A signal ended a task; its exit code is the signal's number, negative or, from a shell, above 128."""


class CallLost(TaskExitError, BrokenExecutor):
    """The process of a function call ended before it could tell its value or exception.

    Pools of the standard library raise a BrokenExecutor then, too; here only this call is concerned.
    """


class WalltimeExceeded(JobFailedError):
    """The job ran longer than its walltime and was killed."""


class MemoryExceeded(JobFailedError):
    """The job used more memory than it asked for and was killed."""


class ImagePullFailed(JobFailedError):
    """A task's container image could not be fetched."""


class StageInFailed(JobFailedError):
    """An input or artifact could not be fetched or unpacked."""


class StageOutFailed(JobFailedError):
    """An output did not exist or could not be stored."""


class NoMatchingResources(JobFailedError):
    """No machine of the service is large enough, or none was free in the time allowed."""


class JobEvicted(JobFailedError):
    """The machine or process that ran the job was lost."""


class JobDeleted(JobFailedError):
    """The job was deleted before it ended."""


class JobHeld(JobFailedError):
    """The service has put the job on hold, and it has stayed there."""


class JobLost(JobFailedError, BrokenExecutor):
    """The service knows nothing of the job any more; whether it ran to its end cannot be told."""


class InterruptedAfterStart(JobFailedError):
    """A function call that must not run again had been begun when the service started its job once more."""


class StoreUnreachable(JobFailedError):
    """A function call was not begun, because its job could not claim it in the service's key-value store."""


class PythonMismatch(JobFailedError):
    """The job's image has no Python, or one of another minor version than the caller's."""


class OutcomeUnknown(JobFailedError):
    """The service says that the job ended but nothing tells whether it succeeded."""


class ResultError(ProminenceError):
    """The result of a call could not be fetched or read, though its job ended."""


class MissingDependency(ResultError):
    """The job's image lacks a module that a call needs; ``module`` and ``image`` are their names."""

    def __init__(self, message: str, *, module: str, image: str) -> None:
        super().__init__(message)
        self.module = module
        self.image = image

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), module=self.module, image=self.image), self.args


class CallUnreadable(ResultError, BrokenExecutor):
    """A function or its arguments cannot be unpickled in the job; the remote traceback is the cause."""


class ResultNotPicklable(ResultError, PicklingError):
    """A call succeeded, but its value cannot be pickled; the remote traceback is the cause."""


class ResultUnreadable(ResultError, BrokenExecutor):
    """A call succeeded, but its value cannot be unpickled here; the error that was raised is the cause."""


class SessionError(ProminenceError):
    """A session of an executor cannot be used."""


class SessionInUse(SessionError):
    """Another process drives the session: one at a time may send its calls."""


class SessionNotFound(SessionError):
    """The service has no session of this name; it was deleted, or belongs to another user."""


class SessionMismatch(SessionError):
    """Another release keeps the session in a form that this one does not know."""


class LocalServiceError(ProminenceError):
    """The embedded service could not be started, or its state cannot be used."""


if not TYPE_CHECKING:  # for scripts of the public client 0.21, not for new ones

    def __getattr__(name: str) -> type[ProminenceError]:
        if not name.startswith("_"):  # importing from here asks for a few of those
            from prominence._compat.exceptions import ERRORS

            if name in ERRORS:
                return ERRORS[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
