"""How long a wait bears with a service that gives no usable answer, and with a token that it refuses."""

from __future__ import annotations

from typing import Final

from prominence.exceptions import AuthenticationError, ProminenceError, ServiceUnavailable

_TRUSTED_AFTER_ANSWER_S: Final = 60.0  # a token that was good so lately was good when the job was submitted


class Outage:
    """Usable answers of a service, and the times without any; all times are monotonic."""

    def __init__(self, tolerance_s: float) -> None:
        self._tolerance_s = tolerance_s
        self._since: float | None = None
        self._was_refused = False  # in this outage
        self._last_answer: float | None = None

    @property
    def lasts(self) -> bool:
        return self._since is not None

    def note_answer(self, now: float) -> bool:
        """True where the token is good again that was refused before."""
        was_refused = self._was_refused
        self._since, self._was_refused, self._last_answer = None, False, now
        return was_refused

    def note_trouble(self, error: ProminenceError, now: float) -> bool:
        """True where the token is refused for the first time in this outage."""
        was_refused = isinstance(error, AuthenticationError)
        is_news = was_refused and not self._was_refused
        self._was_refused = self._was_refused or was_refused
        self._since = now if self._since is None else self._since
        return is_news

    def end_of_patience(self, error: ProminenceError, now: float, what: str) -> ProminenceError | None:
        """What ends the waits for jobs (``what="job"``), once the outage has lasted for too long."""
        if self._since is None or now - self._since < self._tolerance_s:
            return None
        kind = AuthenticationError if isinstance(error, AuthenticationError) else ServiceUnavailable
        end = kind(
            f"no usable answer for {(now - self._since) / 60:.0f} minutes ({error}); the {what}s "
            f"may still run: attach to them later with {what.capitalize()}(id=...)"
        )
        end.__cause__ = error
        return end

    def token_was_good_at(self, since: float) -> bool:
        """True where a wait that began then began with a token that the service took."""
        return self._last_answer is not None and since <= self._last_answer + _TRUSTED_AFTER_ANSWER_S
