"""A submission as the caller holds it; how it is made is in :mod:`prominence.client.submitting`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Submitted(NamedTuple):
    """What was accepted; ``revision`` is the embedded service's, for following what comes after."""

    id: int
    revision: int | None


class Submission:
    """One job or workflow on its way to a service: its tag, and what is known of the requests with it.

    After SubmissionUncertain, or any other error, handing in the same object again finds out first what
    came of the earlier requests. In another process, ``Submission(error.tag, sends=error.sends)`` does.
    """

    def __init__(self, tag: str = "", *, sends: int = 0) -> None:
        self.tag = tag
        self.marks: Mapping[str, str] = {}
        """Labels that what is submitted carries beside those of its description."""
        self.before_sending: Callable[[], None] | None = None
        """Called before each request; what it raises keeps that from being sent."""
        self.has_fence = False
        """What is submitted sees to it itself that only one of several does the work: all may live."""
        self.sends = sends
        """How many requests were, or may have been, accepted."""
        self._window_ends: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: all but what is this process's own, its clock's window too."""
        return {**self.__dict__, "_window_ends": None, "before_sending": None}

    @property
    def may_have_twins(self) -> bool:
        """True when an earlier request may still arrive, though another one was accepted, and do harm."""
        return self.sends > 1 and not self.has_fence

    def begin_window(self, settle_s: float, now: float) -> None:
        """A request was sent and brought no answer: it may arrive from now on."""
        self._window_ends = now + settle_s

    def window_ends(self, settle_s: float, now: float) -> float:
        """When nothing more is expected to arrive; a window of another process begins anew."""
        if self._window_ends is None:
            self._window_ends = now + settle_s
        return self._window_ends
