"""When a failed request is sent again: one table, and the pauses in between.

A request fails in one of the ways of :class:`Happened`; together with its method that decides what is
done next. Only what certainly had no effect, or what may be done twice, is repeated blindly.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

import tenacity

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from prominence.clock import Clock
    from prominence.exceptions import ProminenceError


class Happened(Enum):
    """What became of a request that brought no usable answer."""

    NOT_SENT = auto()  # refused, unknown host, no connection in time
    LOST = auto()  # sent, then a reset, a time-out or an answer cut short
    SERVER_ERROR = auto()  # 5xx, mostly from the proxy in front
    THROTTLED = auto()  # 429
    IDENTITY_AWAY = auto()  # the service cannot reach its identity provider (a 401)
    REFUSED = auto()  # any other answer that says no


class Action(Enum):
    RETRY = auto()
    LOOK_FIRST = auto()  # it may have had its effect: find out before it is sent again
    GIVE_UP = auto()


class Kind(Enum):
    """What a request does, as far as repeating it is concerned."""

    READ = auto()
    REMOVE = auto()  # doing it twice is doing it once
    SUBMIT = auto()  # carries a submission label
    ONCE = auto()  # has an effect every time, and nothing to recognise it by


TABLE: Final[dict[tuple[Kind, Happened], Action]] = {
    (kind, happened): action
    for kind, in_doubt in (
        (Kind.READ, Action.RETRY),
        (Kind.REMOVE, Action.RETRY),
        (Kind.SUBMIT, Action.LOOK_FIRST),
        (Kind.ONCE, Action.GIVE_UP),
    )
    for happened, action in (
        (Happened.NOT_SENT, Action.RETRY),
        (Happened.LOST, in_doubt),
        (Happened.SERVER_ERROR, in_doubt),
        (Happened.THROTTLED, Action.RETRY),
        (Happened.IDENTITY_AWAY, Action.RETRY),
        (Happened.REFUSED, Action.GIVE_UP),
    )
}

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 15.0


class RequestFailed(Exception):
    """One attempt failed; ``error`` is what the caller gets if it was the last."""

    def __init__(self, happened: Happened, error: ProminenceError, retry_after: float | None = None) -> None:
        super().__init__(happened.name)
        self.happened = happened
        self.error = error
        self.retry_after = retry_after


def retrying(
    kind: Kind,
    deadline: float,
    clock: Clock,
    random: Random,
    before_pause: Callable[[tenacity.RetryCallState], None],
) -> tenacity.Retrying:
    """Attempts as the table allows, until the next pause would pass ``deadline`` (monotonic)."""

    def is_worth_it(error: BaseException) -> bool:
        return isinstance(error, RequestFailed) and TABLE[kind, error.happened] is Action.RETRY

    def pause(state: tenacity.RetryCallState) -> float:
        """Full jitter; what the server asks for (``Retry-After``) is the least."""
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (state.attempt_number - 1))
        return max(random.uniform(0, longest), _failure(state).retry_after or 0.0)

    def is_too_late(state: tenacity.RetryCallState) -> bool:
        return clock.monotonic() + (state.upcoming_sleep or 0.0) >= deadline

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_worth_it),
        wait=pause,
        stop=is_too_late,
        sleep=clock.sleep,
        before_sleep=before_pause,
        reraise=True,
    )


def _failure(state: tenacity.RetryCallState) -> RequestFailed:
    outcome: Any = state.outcome
    error = outcome.exception()
    assert isinstance(error, RequestFailed)  # noqa: S101 - nothing else is worth a retry
    return error
