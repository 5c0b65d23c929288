"""One owner for a function call, whatever networks and services repeat: the caller's side.

The module of the same name in ``runner`` tells what a call's key in the store goes through. Here the key is
made before the job is sent, and never set to ``free`` again: a request whose answer was lost may arrive when
a job has claimed the key already, so such a key is left alone and another one is made. At the end the value
is made final, so that nothing enters after the outcome was told, or after another attempt was begun.
"""

from __future__ import annotations

import binascii
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

from prominence.exceptions import FeatureDisabled, InvalidDescription, ServiceUnavailable
from prominence.logs import about, logger
from prominence_executors.runner.fence import (
    CLOSED,
    COMMIT,
    END,
    FREE,
    KEYS_PER_PAGE,
    NO_RERUN,
    VARIABLE,
    is_whole,
)

if TYPE_CHECKING:
    from prominence import Job, ProminenceClient
    from prominence.logs import About

log = logger(__name__)

Guarantee = Literal["fence", "settle", "idempotent"]

CREATION_S: Final = 60.0
_PAUSE_S: Final = 1.0
_PAGE_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Claim:
    """What a key's value says: whose the call is, and what came of it where that was committed."""

    value: str

    @property
    def owner(self) -> int | None:
        """The id of a job, or of its workflow; None where nobody has entered."""
        owner = self.value.partition(":")[0]
        return int(owner) if owner.isdecimal() else None

    @property
    def nonce(self) -> str | None:
        """Marks the run whose outcome counts."""
        return self.value.split(":")[1] if self.owner is not None else None

    @property
    def is_final(self) -> bool:
        return self.value == CLOSED or self.value.count(":") > 1

    @property
    def outcome(self) -> bytes | None:
        """What the runner committed; None where it is in the job's result file."""
        encoded = self.value.removesuffix(END).split(":")[2:]
        return binascii.a2b_base64(encoded[0]) if any(encoded) else None

    @property
    def closed(self) -> str:
        """The value after which nobody enters."""
        return CLOSED if self.value == FREE else f"{self.value}:{END}"


class Pages:
    """Where the keys of calls are made, in their order: so many below one page that a listing of it is quick.

    The names of pages are of one length, as a listing has all keys that begin with what it is asked for.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()
        self._page = ""
        self._left = 0

    def for_next_call(self) -> str:
        with self._lock:
            if not self._left:
                self._page = f"{self._prefix}/{secrets.token_hex(_PAGE_BYTES)}"
                self._left = KEYS_PER_PAGE
            self._left -= 1
            return self._page


class Fence:
    """A call's key in the store."""

    def __init__(self, client: ProminenceClient, key: str) -> None:
        self._client = client
        self.key = key

    @property
    def page(self) -> str:
        """What its key has in common with those that are read along with it."""
        return self.key.rpartition("/")[0]

    @classmethod
    def create(cls, client: ProminenceClient, page: str) -> Self:
        """Make a key below ``page``; it is there when this returns.

        Raises FeatureDisabled where the service has no key-value store, ServiceUnavailable where none could
        be made in a minute.
        """
        ends = client.clock.monotonic() + CREATION_S
        while True:
            fence = cls(client, f"{page}/{secrets.token_hex(8)}")
            try:
                client.kv_set(fence.key, FREE, once=True)
            except FeatureDisabled as error:
                raise _no_store(error) from error
            except ServiceUnavailable as error:
                if client.clock.monotonic() + _PAUSE_S >= ends:
                    raise
                client.trouble.tell(fence.log, "it is given up for another one: %s", error)
                client.clock.sleep(_PAUSE_S)
            else:
                return fence

    @property
    def log(self) -> About:
        return about(log, "job", None, f"fence {self.key}")

    def guard(self, job: Job, *, may_rerun: bool) -> None:
        """Have a job that is not sent yet claim the call first."""
        words = [self.key]
        if not may_rerun:
            words.append(NO_RERUN)
        if len(job.output_files) == 1 and not job.output_directories:
            words.append(COMMIT)  # others would be missing where the job is not run again after an eviction
        task = job.tasks[0]
        task.env = {**task.env, VARIABLE: " ".join(words)}

    def settle(self, job_id: int, tolerance_s: float, seen: Claim | None = None) -> Claim:
        """The claim to the call, now that a job has ended; final, unless the owner is another job.

        ``seen`` is what the key had after that end, where it was read already. Raises NotFound where the key
        was deleted, ServiceUnavailable when the store is away for so long.
        """
        return self._final({None, job_id}, tolerance_s, seen)

    def close_unclaimed(self) -> Claim:
        """The claim to a call whose submission failed; final, unless a job has entered.

        Raises NotFound where the key was deleted, ServiceUnavailable when the store is away for a minute.
        """
        return self._final({None}, CREATION_S)

    def _value(self) -> str:
        value = self._client.kv_get(self.key)
        if not is_whole(value):
            raise ServiceUnavailable(f"key {self.key} has no value of a fence: {value[:50]!r}")
        return value

    def _final(self, closed_for: set[int | None], tolerance_s: float, seen: Claim | None = None) -> Claim:
        client = self._client
        ends = client.clock.monotonic() + tolerance_s
        while True:
            try:
                claim, seen = seen or Claim(self._value()), None
                if claim.is_final or claim.owner not in closed_for:
                    return claim
                if client.kv_swap(self.key, claim.closed, claim.value):
                    return claim
            except ServiceUnavailable as error:
                if client.clock.monotonic() >= ends:
                    raise
                client.trouble.tell(self.log, "it cannot be closed at the moment: %s", error)
                client.clock.sleep(_PAUSE_S)


def guarantee_in_force(client: ProminenceClient, chosen: Guarantee, *, may_rerun: bool) -> Guarantee:
    """``idempotent`` where the service knows a repeated submission, and so no fence is needed."""
    if chosen == "fence" and may_rerun and client.recognises_submissions:
        return "idempotent"
    return chosen


def check_guarantee(guarantee: str, *, may_rerun: bool) -> None:
    """Raises InvalidDescription."""
    if guarantee not in {"fence", "settle"}:
        raise InvalidDescription("guarantee", guarantee, "'fence' or 'settle'")
    if guarantee == "settle" and not may_rerun:
        raise InvalidDescription("rerun", "never", "possible only with guarantee='fence'")


def _no_store(error: FeatureDisabled) -> FeatureDisabled:
    return FeatureDisabled(
        "this service has its key-value store switched off, in which jobs claim function calls so that each "
        "is made by one job only; ProminenceExecutor(guarantee='settle') does without",
        method=error.method,
        url=error.url,
        status=error.status,
    )
