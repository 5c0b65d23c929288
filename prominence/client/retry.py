"""When a failed request is sent again: one table, and the pauses in between.

A request fails in one of the ways of :class:`Happened`; together with what it does (:class:`Kind`) that
decides what is done next. Only what certainly had no effect, or what may be done twice, is repeated blindly.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import tenacity

from prominence.client.budget import RetryBudget

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from prominence.clock import Clock
    from prominence.exceptions import ProminenceError


class Happened(Enum):
    """What became of a request that brought no usable answer, in the words of docs/reliability.md."""

    NOT_SENT = "no connection"
    NOBODY_THERE = (
        "no connection at first contact: no such host, a certificate that is not accepted, "
        "or a port of this machine without a service"
    )
    STALE = "a kept connection turns out to be closed"
    LOST = "sent, then a reset, a time-out or an incomplete answer"
    SERVER_ERROR = "408, 425 or 5xx"
    THROTTLED = "429"
    IDENTITY_AWAY = "401: the identity provider is away"
    REFUSED = "any other answer that says no"


class Action(Enum):
    RETRY = "again"
    AT_ONCE = "again at once"
    LOOK_FIRST = "look first"  # it may have had its effect: find out before it is sent again
    GIVE_UP = "error"


class Kind(Enum):
    """What a request does, as far as repeating it is concerned, in the words of docs/reliability.md."""

    READ = "GET"
    REMOVE = "DELETE, remove, setting a key"  # doing it twice is doing it once
    SUBMIT = "POST of a job or workflow"  # carries a submission label
    ONCE = "clone, rerun, exec, swap of a key"  # an effect every time, and nothing to recognise it by


TABLE: Final[dict[tuple[Kind, Happened], Action]] = {
    (kind, happened): action
    for kind, stale, in_doubt in (
        (Kind.READ, Action.AT_ONCE, Action.RETRY),
        (Kind.REMOVE, Action.AT_ONCE, Action.RETRY),
        (Kind.SUBMIT, Action.LOOK_FIRST, Action.LOOK_FIRST),
        (Kind.ONCE, Action.GIVE_UP, Action.GIVE_UP),
    )
    for happened, action in (
        (Happened.NOT_SENT, Action.RETRY),
        (Happened.NOBODY_THERE, Action.GIVE_UP),
        (Happened.STALE, stale),
        (Happened.LOST, in_doubt),
        (Happened.SERVER_ERROR, in_doubt),
        (Happened.THROTTLED, Action.RETRY),
        (Happened.IDENTITY_AWAY, Action.RETRY),
        (Happened.REFUSED, Action.GIVE_UP),
    )
}
MAY_HAVE_ARRIVED: Final = frozenset({Happened.STALE, Happened.LOST, Happened.SERVER_ERROR})

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 15.0


class RequestFailed(Exception):
    """One attempt failed; ``error`` is what the caller gets if it was the last."""

    def __init__(self, happened: Happened, error: ProminenceError, retry_after: float | None = None) -> None:
        super().__init__(happened.name)
        self.happened = happened
        self.error = error
        self.retry_after = retry_after
        self.retry_within: float | None = None
        """Seconds after which one more attempt is to decide."""

    @property
    def is_ambiguous(self) -> bool:
        """True when the request may have had its effect all the same."""
        return self.happened in MAY_HAVE_ARRIVED


def retrying(
    kind: Kind,
    deadline: float,
    clock: Clock,
    random: Random,
    before_pause: Callable[[tenacity.RetryCallState], None],
) -> tenacity.Retrying:
    """Attempts as the table allows, until the next pause would pass ``deadline`` (monotonic)."""

    def action(error: BaseException) -> Action:
        return TABLE[kind, error.happened] if isinstance(error, RequestFailed) else Action.GIVE_UP

    def pause(state: tenacity.RetryCallState) -> float:
        """Full jitter, at least what the server asks for (``Retry-After``) and the budget demands."""
        failure = _failure(state)
        least = failure.retry_after or 0.0
        if action(failure) is Action.RETRY:
            least = max(least, jittered(state.attempt_number, random, _FIRST_PAUSE_S))
        if failure.retry_within is not None:
            least = min(least, failure.retry_within)
        now = clock.monotonic()
        return RetryBudget.of(clock).pause(now, least, deadline - now)

    def is_too_late(state: tenacity.RetryCallState) -> bool:
        return clock.monotonic() + state.upcoming_sleep >= deadline

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: action(error) in {Action.RETRY, Action.AT_ONCE}),
        wait=pause,
        stop=is_too_late,
        sleep=clock.sleep,
        before_sleep=before_pause,
        reraise=True,
    )


def jittered(attempt: int, random: Random, first_s: float) -> float:
    """A pause after the n-th attempt, counted from 1: anything up to a bound that doubles, at most 15 s."""
    return random.uniform(0, min(_LONGEST_PAUSE_S, first_s * 2.0 ** min(attempt - 1, 16)))


def _failure(state: tenacity.RetryCallState) -> RequestFailed:
    outcome: Any = state.outcome
    error = outcome.exception()
    assert isinstance(error, RequestFailed)  # noqa: S101 - nothing else is worth a retry
    return error
