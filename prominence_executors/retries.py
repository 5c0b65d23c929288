"""How often calls are tried again, by whose failure it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from prominence.exceptions import (
    ImagePullFailed,
    InvalidDescription,
    JobEvicted,
    JobFailedError,
    MissingDependency,
    NoMatchingResources,
    OutcomeUnknown,
    ResultNotPicklable,
    StageInFailed,
    StoreUnreachable,
    TaskExitError,
)
from prominence_executors.calls.results import RemoteTraceback

Side = Literal["infrastructure", "user"]

_INFRASTRUCTURE: Final = (
    ImagePullFailed,
    JobEvicted,
    NoMatchingResources,
    OutcomeUnknown,
    StageInFailed,
    StoreUnreachable,
)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call is submitted again after it has failed, each time as a new job.

    ``infrastructure`` counts failures of the service and its machines (evicted, an image or artifact not
    fetched, failed without a reason), ``user`` exceptions of functions and exit codes of commands. Walltime,
    memory, deletions and what cannot be pickled are never tried again: they would only happen again.
    """

    infrastructure: int = 0
    user: int = 0

    def check(self) -> None:
        """Raises InvalidDescription for what is not a number of retries."""
        for side in ("infrastructure", "user"):
            number = getattr(self, side)
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise InvalidDescription(f"retries.{side}", number, "must be a whole number, 0 or more")


def side_of(error: BaseException | None) -> Side | None:
    """Whose failure it was; None for none, and for what would only happen again."""
    if error is None or isinstance(error, ResultNotPicklable | MissingDependency):
        return None
    if isinstance(error, TaskExitError) or isinstance(error.__cause__, RemoteTraceback):
        return "user"
    is_unexplained = type(error) is JobFailedError
    return "infrastructure" if is_unexplained or isinstance(error, _INFRASTRUCTURE) else None
