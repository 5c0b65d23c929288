"""Submitting once, over an API that has no idempotency keys.

Every submission carries a fresh tag in a reserved label. When an answer is lost, the service is asked for
what has that tag, again and again until the settle window has passed since the last request that may have
arrived, and only then is it sent again, with the same tag::

    POST --accepted--> id                              +--found--> id, or DuplicateRun (module twins)
      |                                                |
      +--may have arrived--> look up by the tag -------+--nothing until the window has passed--> POST again
      |                                                |
      +--no, or never sent--> its error                +--the deadline comes first--> SubmissionUncertain

The embedded service takes the tag as an idempotency key, so there it is simply sent again.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, Final

from prominence.client.retry import Happened, Kind, RequestFailed, jittered
from prominence.client.submission import Submission, Submitted
from prominence.client.transport import DEADLINE_S, Request
from prominence.client.twins import Twins
from prominence.description.rules import SUBMISSION_LABEL, check_size
from prominence.exceptions import (
    AuthenticationError,
    FeatureDisabled,
    PermissionDenied,
    ProminenceError,
    ServiceUnavailable,
    SubmissionUncertain,
)
from prominence.logs import about, logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prominence.client.answers import Answer
    from prominence.client.transport import Transport
    from prominence.client.twins import Entry

log = logger(__name__)

IDEMPOTENT: Final = "idempotent-submission"
_SEND_AGAIN_S: Final = 0.2
_FIRST_LOOK_AGAIN_S: Final = 1.0
_LONGEST_LOOK_AGAIN_S: Final = 15.0
_ENDS_THE_LOOKING: Final = (AuthenticationError, PermissionDenied, FeatureDisabled)  # somebody must act first
_BELIEVED_ABSENCES: Final = 2
"""A job that moves to a real service's history is left out of one listing, not of two a second apart."""


def submit(transport: Transport, path: str, description: dict[str, Any], submission: Submission) -> Submitted:
    """Send a description to ``path`` (``/jobs`` or ``/workflows``); its id, also when answers are lost.

    Raises InvalidDescription before anything is sent, ServiceError where it is refused, ServiceUnavailable
    where it did not arrive within the settle window, SubmissionUncertain where that stays unknown, and
    DuplicateRun where it arrived more than once.
    """
    return _Call(transport, path, description, submission).submitted()


def check_single(transport: Transport, path: str, submission: Submission) -> None:
    """Raise DuplicateRun when requests of one submission that were sent long ago have arrived after all."""
    twins = Twins(transport, path, submission.tag, transport.clock.monotonic() + DEADLINE_S)
    try:
        entries = twins.listed()
    except RequestFailed as failed:
        raise failed.error from None
    if entries:
        twins.kept(entries, submission.sends, may_end_others=False)


def submit_unlabelled(transport: Transport, path: str, what: str) -> int:
    """Ask for a clone or a rerun, once; the new id.

    Raises SubmissionUncertain (without a tag) where it may have been made though the answer was lost.
    """
    try:
        return _accepted(transport.attempt(Request("PUT", path, Kind.ONCE))).id
    except RequestFailed as failed:
        if not failed.is_ambiguous:
            raise failed.error from None
        text = (
            f"whether {what} was made is not known ({failed.error}); nothing marks it, so it is not asked "
            "for again: look for it in a listing first"
        )
        raise SubmissionUncertain(text, None) from failed.error


class _Call:
    """One call of :func:`submit`: from the first request to an id, a definite no, or the deadline."""

    def __init__(
        self, transport: Transport, path: str, description: dict[str, Any], submission: Submission
    ) -> None:
        self._transport = transport
        self._clock = transport.clock
        self._tag = submission.tag
        self._submission = submission
        self._log = about(log, path.strip("/s"), None, f"submission {submission.tag}")
        self._all_sends_are_ours = submission.sends == 0
        self._doubt: ProminenceError = ProminenceError("an earlier request may have arrived")
        labels = {**description.get("labels", {}), **submission.marks, SUBMISSION_LABEL: self._tag}
        labelled = {**description, "labels": labels}
        self._post = Request("POST", path, Kind.SUBMIT, body=_body(labelled))
        self._deadline = self._clock.monotonic() + DEADLINE_S + 2 * transport.settle_s
        self._twins = Twins(transport, path, self._tag, self._deadline)

    def submitted(self) -> Submitted:
        for attempt in itertools.count(1):
            if self._submission.sends and (found := self._found(attempt)) is not None:
                return Submitted(found, None)  # it may have changed before any revision that is known
            try:
                return self._without_twins(self._sent())
            except RequestFailed as failed:
                if not failed.is_ambiguous:
                    raise self._definite(failed) from None
                self._note(failed)
        raise AssertionError("counting has no end")

    def _sent(self) -> Submitted:
        """What a request brings; counted as arrived, until it is known not to be."""
        deadline_s = self._time_left()
        if self._submission.before_sending is not None:
            self._submission.before_sending()
        self._submission.sends += 1
        try:
            return _accepted(self._transport.attempt(self._post, deadline_s))
        except RequestFailed as failed:
            if not failed.is_ambiguous:
                self._submission.sends -= 1
            raise
        except BaseException:  # the program is interrupted: the request may be under way
            self._begin_window()
            raise

    def _found(self, attempt: int) -> int | None:
        """The id of what was sent before; None where it is to be sent (again)."""
        if IDEMPOTENT not in self._transport.features:
            return self._looked_up()
        if attempt > 1:
            self._sleep(jittered(attempt - 1, self._transport.random, _SEND_AGAIN_S))
        return None

    def _looked_up(self) -> int | None:
        """What has the tag; None once the window has passed and listings still do not have it."""
        window_ends = self._submission.window_ends(self._transport.settle_s, self._clock.monotonic())
        absences = 0
        for look in itertools.count(1):
            asked = self._clock.monotonic()
            try:
                entries = self._twins.listed(self._time_left())
            except RequestFailed as failed:
                if isinstance(failed.error, _ENDS_THE_LOOKING):
                    raise self._uncertain(f"it cannot be looked up: {failed.error}") from failed.error
                self._doubt = failed.error
            else:
                if entries:
                    return self._kept(entries)
                absences += asked >= window_ends
                if absences == _BELIEVED_ABSENCES:
                    return None
            self._pause(1 if absences else look, window_ends)
        raise AssertionError("counting has no end")

    def _without_twins(self, accepted: Submitted) -> Submitted:
        """The one to go on with: an earlier request may have arrived after all, beyond the settle window."""
        if not self._submission.may_have_twins or IDEMPOTENT in self._transport.features:
            return accepted
        try:
            entries = self._twins.listed()
        except RequestFailed as failed:
            self._log.warning("whether it arrived twice cannot be seen now: %s", failed.error)
            return accepted
        if not entries:
            return accepted
        kept = self._kept(entries)
        return accepted if kept == accepted.id else Submitted(kept, None)

    def _kept(self, entries: Sequence[Entry]) -> int:
        if self._submission.has_fence:
            return min(int(entry["id"]) for entry in entries)
        return self._twins.kept(entries, self._submission.sends, may_end_others=self._all_sends_are_ours)

    def _note(self, failed: RequestFailed) -> None:
        self._begin_window()
        self._doubt = failed.error
        self._transport.trouble.tell(self._log, "submission in doubt (%s), looking for it", failed.error)
        if failed.retry_after:
            self._sleep(failed.retry_after)

    def _begin_window(self) -> None:
        self._submission.begin_window(self._transport.settle_s, self._clock.monotonic())

    def _definite(self, failed: RequestFailed) -> ProminenceError:
        """The error of a request that had no effect; what earlier ones had is known, except to a service
        that is simply asked again."""
        if self._submission.sends and IDEMPOTENT in self._transport.features:
            return self._uncertain(f"{self._doubt}; then {failed.error}")
        return failed.error

    def _pause(self, number: int, until: float) -> None:
        """Wait before the next look: longer and longer, but not past a moment that is still to come."""
        now = self._clock.monotonic()
        longest = min(_LONGEST_LOOK_AGAIN_S, _FIRST_LOOK_AGAIN_S * 2.0 ** min(number - 1, 8))
        seconds = self._transport.random.uniform(0.8, 1.0) * longest
        self._sleep(min(seconds, until - now) if now < until else seconds)

    def _sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the deadline."""
        self._clock.sleep(max(0.0, min(seconds, self._deadline - self._clock.monotonic())))

    def _time_left(self) -> float:
        """Seconds for one request; raises SubmissionUncertain when there are none."""
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise self._uncertain(str(self._doubt)) from self._doubt
        return min(DEADLINE_S, left)

    def _uncertain(self, why: str) -> SubmissionUncertain:
        return SubmissionUncertain(
            f"whether the service has this submission is not known ({why}); it would have the label "
            f"{SUBMISSION_LABEL}={self._tag}",
            self._tag,
            self._submission.sends,
        )


def _body(description: dict[str, Any]) -> bytes:
    body = json.dumps(description).encode()
    check_size(description, len(body))
    return body


def _accepted(answer: Answer) -> Submitted:
    found = answer.json()
    if not isinstance(found, dict) or not isinstance(found.get("id"), int):
        error = ServiceUnavailable("the service accepted it without naming its id", status=answer.status)
        raise RequestFailed(Happened.LOST, error)
    return Submitted(found["id"], answer.revision or None)  # 0: it was there before
