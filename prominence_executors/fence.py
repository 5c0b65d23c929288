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

from prominence.exceptions import (
    FeatureDisabled,
    InvalidDescription,
    ProminenceError,
    ServiceUnavailable,
    SubmissionUncertain,
)
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
    from collections.abc import Callable

    from prominence import ProminenceClient
    from prominence.description import JobDescription
    from prominence.logs import About

log = logger(__name__)

Guarantee = Literal["fence", "settle", "idempotent"]

CREATION_S: Final = 60.0
PAUSE_S: Final = 1.0
_NAME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Claim:
    """What a key's value says: whose the call is, and what came of it where that was committed."""

    value: str

    @property
    def job_id(self) -> int | None:
        """The job that was the last to enter; None where nobody has."""
        return None if self.value in {FREE, CLOSED} else int(self._owner.rpartition(".")[2])

    @property
    def workflow_id(self) -> int | None:
        """Its workflow; None where it has none, or nobody has entered."""
        return int(self._owner.partition(".")[0]) if "." in self._owner else None

    @property
    def _owner(self) -> str:
        return self.value.partition(":")[0]

    @property
    def nonce(self) -> str | None:
        """Marks the run whose outcome counts."""
        return None if self.job_id is None else self.value.split(":")[1]

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
        self.prefix = prefix
        self._lock = threading.Lock()
        self._page = ""
        self._left = 0

    def new_key(self) -> str:
        with self._lock:
            if not self._left:
                self._page = f"{self.prefix}/{secrets.token_hex(_NAME_BYTES)}"
                self._left = KEYS_PER_PAGE
            self._left -= 1
            return f"{self._page}/{secrets.token_hex(_NAME_BYTES)}"


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
    def create(cls, client: ProminenceClient, new_key: Callable[[], str]) -> Self:
        """Make a key, by another name where it is not known whether it was; it is there when this returns.

        Raises FeatureDisabled where the service has no key-value store, ServiceUnavailable where none could
        be made in a minute.
        """
        ends = client.clock.monotonic() + CREATION_S
        while True:
            fence = cls(client, new_key())
            try:
                fence.make()
            except ServiceUnavailable as error:
                if client.clock.monotonic() + PAUSE_S >= ends:
                    raise
                client.trouble.tell(fence.log, "it is given up for another one: %s", error)
                client.clock.sleep(PAUSE_S)
            else:
                return fence

    @property
    def log(self) -> About:
        return about(log, "job", None, f"fence {self.key}")

    def make(self) -> None:
        """Make the key; raises ServiceUnavailable where that was not done, or may be done later."""
        try:
            self._client.kv_set(self.key, FREE, once=True)
        except FeatureDisabled as error:
            raise _no_store(error) from error

    def guard(self, job: JobDescription, *, may_rerun: bool) -> None:
        """Have a job that is not sent yet claim the call first."""
        guard(job, self.key, may_rerun=may_rerun)

    def claim(self) -> Claim:
        """What the key says now; raises NotFound, ServiceUnavailable."""
        value = self._client.kv_get(self.key)
        if not is_whole(value):
            raise ServiceUnavailable(f"key {self.key} has no value of a fence: {value[:50]!r}")
        return Claim(value)

    def settle(self, job_id: int | None, tolerance_s: float, seen: Claim | None = None) -> Claim:
        """The claim to the call, now that a job has ended (or is lost); final, unless it is that of another.

        ``seen`` is what the key had after that end, where it was read already. Raises NotFound where the key
        was deleted, ServiceUnavailable when the store is away for so long.
        """
        return self._final({None, job_id}, tolerance_s, seen)

    def close_unclaimed(self, tolerance_s: float = CREATION_S) -> Claim:
        """The claim to what nothing is to begin any more; final, unless a job has entered.

        Raises NotFound where the key was deleted, ServiceUnavailable when the store is away for so long.
        """
        return self._final({None}, tolerance_s)

    def claim_after(self, error: ProminenceError) -> Claim:
        """The claim of a job that has arrived although its submission failed with this error.

        Raises the error, or what follows from it, where nothing has claimed the fence: nothing ever will.
        """
        try:
            claim = self.close_unclaimed()
        except ProminenceError:
            self.log.warning("what it is for may have been submitted, and it stays open")
            raise error from None
        if claim.job_id is not None:
            return claim
        if isinstance(error, SubmissionUncertain):
            text = f"the call was not made, and never will be: its fence is closed ({error})"
            raise ServiceUnavailable(text) from error
        raise error

    def _final(self, closed_for: set[int | None], tolerance_s: float, seen: Claim | None = None) -> Claim:
        client = self._client
        ends = client.clock.monotonic() + tolerance_s
        while True:
            try:
                claim, seen = seen or self.claim(), None
                if claim.is_final or claim.job_id not in closed_for:
                    return claim
                if client.kv_swap(self.key, claim.closed, claim.value):
                    return claim
            except ServiceUnavailable as error:
                if client.clock.monotonic() >= ends:
                    raise
                client.trouble.tell(self.log, "it cannot be closed at the moment: %s", error)
                client.clock.sleep(PAUSE_S)


def guard(job: JobDescription, key: str, *rules: str, may_rerun: bool) -> None:
    """Have a job that is not sent yet claim its call first, by a key or the key of an array."""
    words = [key, *rules]
    if not may_rerun:
        words.append(NO_RERUN)
    if len(job.output_files) == 1 and not job.output_directories:
        words.append(COMMIT)  # others would be missing where the job is not run again after an eviction
    task = job.tasks[0]
    task.env = {**task.env, VARIABLE: " ".join(words)}


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
