"""One owner for a function call, seen from inside of its job.

A call's key in the store goes from ``free`` to ``<owner>:<nonce>`` by compare-and-swap, before user code
runs; the nonce is that of one run. The owner is the job, or ``<workflow>.<job>``. The same job may enter
again, when the service starts it once more, and so may another job of its workflow, which is another try
then; each run has a nonce of its own. A third part makes the value final: nobody enters after that. It is the
outcome in base64, or empty where the outcome is elsewhere, and ends with a dot, so that a value which was cut
off on its way is not taken for another one (nonces are shortened here)::

    free --> 17:4d1c --> 17:90ab --> 17:90ab:eyJraW5k....
      |         +-----------+------> 17:90ab:.
      +----------------------------> closed

The calls of an array have a key each, in pages, and one in common, the gate. The first of its jobs claims
that for its workflow; the jobs of another one, where a submission was repeated, do nothing then::

    <array>/gate    <array>/00/0 ... <array>/00/99    <array>/01/100 ...
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
ARRAY = "array"  # the key is what those of all its calls begin with

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
    return (
        owner.replace(".", "", 1).isdecimal()
        and len(nonce) == NONCE_LENGTH
        and (not is_final or outcome.endswith(END))
    )


def gate_of(array: str) -> str:
    return f"{array}/gate"


def key_in(array: str, index: int) -> str:
    return f"{array}/{index // KEYS_PER_PAGE:02d}/{index}"


class Fence:
    """A job's claim to a call; ``nonce`` marks what this run writes."""

    def __init__(
        self,
        store: Store,
        key: str,
        owner: str,
        *rules: str,
        gate: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.nonce = os.urandom(NONCE_LENGTH // 2).hex()
        self._store = store
        self._key = key
        self._owner = owner
        self._gate = gate
        self._rules = rules
        self._monotonic = monotonic
        self._sleep = sleep

    @classmethod
    def of_job(cls, environment: Mapping[str, str], index: int | None = None) -> Fence:
        """Raises Unusable in a job that does not say where the service is, or which job it is.

        ``index`` is that of a call in its array.
        """
        owner = environment.get("PROMINENCE_JOB_ID")
        if not owner:
            raise Unusable("PROMINENCE_JOB_ID is not set in this job")
        if workflow := environment.get("PROMINENCE_WORKFLOW_ID"):
            owner = f"{workflow}.{owner}"
        store = Store(environment.get("PROMINENCE_URL", ""), environment.get("PROMINENCE_TOKEN", ""))
        key, *rules = environment[VARIABLE].split()
        if ARRAY not in rules or index is None:
            return cls(store, key, owner, *rules)
        return cls(store, key_in(key, index), owner, *rules, gate=gate_of(key))

    def claim(self) -> str:
        """OURS when user code may run; else OTHERS, INTERRUPTED (it has begun before) or COMMITTED.

        Raises Unusable where the store cannot be reached for PATIENCE_S seconds.
        """
        ends = self._monotonic() + PATIENCE_S
        if self._gate is not None and not self._may_pass(self._gate, ends):
            return OTHERS
        held, verdict = FREE, None
        while verdict is None:
            if self._patiently(partial(self._store.swap, self._key, self._mine, held), ends):
                return OURS
            held = self._patiently(partial(self._value, self._key), ends)
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
            return was_set or self._patiently(partial(self._value, self._key), ends) == value
        except Unusable:
            return False

    def _may_pass(self, gate: str, ends: float) -> bool:
        """Whether the gate is that of this job's workflow, for which it is claimed if it is free."""
        while True:
            found = self._patiently(partial(self._value, gate), ends)
            if found != FREE:
                return self._is_ours(found)
            self._patiently(partial(self._store.swap, gate, self._mine, FREE), ends)

    def _value(self, key: str) -> str:
        """What a key has; CLOSED where there is none any more."""
        found = self._store.get(key)
        if found is not None and not is_whole(found):
            raise Away(f"the key has no value of a fence: {found[:50]!r}")
        return CLOSED if found is None else found

    @property
    def _mine(self) -> str:
        return f"{self._owner}:{self.nonce}"

    def _verdict(self, found: str) -> str | None:
        """What the key's value means for this run; None where it may try to take it over."""
        if found in {FREE, self._mine}:
            return None if found == FREE else OURS  # ours, when an answer was lost
        if not self._is_ours(found):
            return OTHERS
        if found.count(":") > 1:
            return COMMITTED
        return INTERRUPTED if NO_RERUN in self._rules else None

    def _is_ours(self, found: str) -> bool:
        """Whether it is a claim of this job, or of a job of the same workflow."""
        owner = found.partition(":")[0]
        return owner.partition(".")[0] == self._owner.partition(".")[0]

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
