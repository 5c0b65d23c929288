"""One owner for a function call, seen from inside of its job.

A call's key in the store goes from ``free`` to ``<owner>:<nonce>`` by compare-and-swap, before user code
runs; the owner is the job (or its workflow), the nonce one of its runs. The same owner may enter again, when
the service starts the job once more, and then has another nonce. A third part makes the value final: nobody
enters after that. It is the outcome in base64, or empty where the outcome is elsewhere, and ends with a dot,
so that a value which was cut off on its way is not taken for another one (nonces are shortened here)::

    free --> 17:4d1c --> 17:90ab --> 17:90ab:eyJraW5k....
      |         +-----------+------> 17:90ab:.
      +----------------------------> closed
"""

from __future__ import annotations

import binascii
import os
import time
from functools import partial

from .store import LONGEST_VALUE, Away, Store, Unusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeVar

    T = TypeVar("T")

VARIABLE = "PROMINENCE_FENCE"  # the key, then words for what is allowed
NO_RERUN = "no-rerun"
COMMIT = "commit"

FREE = "free"
CLOSED = "closed"
END = "."
NONCE_LENGTH = 16
KEYS_PER_PAGE = 100
OURS, OTHERS, INTERRUPTED, COMMITTED = "ours", "others", "interrupted", "committed"

PATIENCE_S = 300.0
_LONGEST_PAUSE_S = 15.0


def is_whole(value: str) -> bool:
    """False for what cannot be the value of a fence's key."""
    owner, _, rest = value.partition(":")
    nonce, is_final, outcome = rest.partition(":")
    if value in {FREE, CLOSED}:
        return True
    return owner.isdecimal() and len(nonce) == NONCE_LENGTH and (not is_final or outcome.endswith(END))


class Fence:
    """A job's claim to a call; ``nonce`` marks what this run writes."""

    def __init__(
        self,
        store: Store,
        key: str,
        owner: str,
        *rules: str,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.nonce = os.urandom(NONCE_LENGTH // 2).hex()
        self._store = store
        self._key = key
        self._owner = owner
        self._rules = rules
        self._monotonic = monotonic
        self._sleep = sleep

    @classmethod
    def of_job(cls, environment: Mapping[str, str]) -> Fence:
        """Raises Unusable in a job that does not say where the service is, or which job it is."""
        owner = environment.get("PROMINENCE_WORKFLOW_ID") or environment.get("PROMINENCE_JOB_ID")
        if not owner:
            raise Unusable("PROMINENCE_JOB_ID is not set in this job")
        store = Store(environment.get("PROMINENCE_URL", ""), environment.get("PROMINENCE_TOKEN", ""))
        key, *rules = environment[VARIABLE].split()
        return cls(store, key, owner, *rules)

    def claim(self) -> str:
        """OURS when user code may run; else OTHERS, INTERRUPTED (it has begun before) or COMMITTED.

        Raises Unusable where the store cannot be reached for PATIENCE_S seconds.
        """
        ends = self._monotonic() + PATIENCE_S
        held, verdict = FREE, None
        while verdict is None:
            if self._patiently(partial(self._store.swap, self._key, self._mine, held), ends):
                return OURS
            held = self._patiently(self._value, ends)
            verdict = self._verdict(held)
        return verdict

    def commit(self, outcome: Sequence[bytes | memoryview], *, is_success: bool) -> bool:
        """Make an outcome the call's, where that is allowed now; a failure may be tried again by the service.

        False where it is left to the file: it is too large for the store, or another run has entered.
        """
        is_allowed = COMMIT in self._rules and (is_success or NO_RERUN in self._rules)
        if not is_allowed or sum(map(len, outcome)) > LONGEST_VALUE:
            return False
        encoded = binascii.b2a_base64(b"".join(outcome), newline=False).decode()
        value = f"{self._mine}:{encoded}{END}"
        if len(value) > LONGEST_VALUE:
            return False
        ends = self._monotonic() + PATIENCE_S
        try:
            was_set = self._patiently(partial(self._store.swap, self._key, value, self._mine), ends)
            return was_set or self._patiently(self._value, ends) == value
        except Unusable:
            return False

    def _value(self) -> str:
        """What the key has; CLOSED where there is none any more."""
        found = self._store.get(self._key)
        if found is not None and not is_whole(found):
            raise Away(f"the key has no value of a fence: {found[:50]!r}")
        return CLOSED if found is None else found

    @property
    def _mine(self) -> str:
        return f"{self._owner}:{self.nonce}"

    def _verdict(self, found: str) -> str | None:
        """What the key's value means for this run; None where it may try to take it over."""
        owner, *rest = found.split(":")
        if found in {FREE, self._mine}:
            return None if found == FREE else OURS  # ours, when an answer was lost
        if owner != self._owner:
            return OTHERS
        if len(rest) > 1:
            return COMMITTED
        return INTERRUPTED if NO_RERUN in self._rules else None

    def _patiently(self, ask: Callable[[], T], ends: float) -> T:
        pause = 1.0
        while True:
            try:
                return ask()
            except Away as error:
                if self._monotonic() + pause >= ends:
                    raise Unusable(f"the service's store is away: {error}") from error
            self._sleep(pause * (0.5 + os.urandom(1)[0] / 510))  # half of it or more, at random
            pause = min(2 * pause, _LONGEST_PAUSE_S)
