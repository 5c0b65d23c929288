"""Requests of a driver that is gone: what arrives of calls that were said to be unsent makes none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prominence.exceptions import NotFound
from prominence_executors.fence import Fence
from prominence_executors.runner.fence import gate_of
from prominence_executors.sessions import names
from prominence_executors.sessions.sent import fence_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prominence import ProminenceClient
    from prominence_executors.sessions.sent import Entry


def late_ones_are_kept_out(client: ProminenceClient, session: str, jobs: Iterable[Entry]) -> bool:
    """Close the fences that none of these jobs has; False where one of them was claimed already."""
    in_use = {words[0] for job in jobs if (words := fence_words(job))}
    keys = {key.lstrip("/") for key in client.kv_list(names.key(session, "fences"))}
    for key in keys:
        above = list(_above(key))
        is_known = not in_use.isdisjoint([key, *above])
        is_behind_gate = any(
            gate_of(each) in keys for each in above if gate_of(each) != key
        )  # closed for all
        if is_known or is_behind_gate:
            continue
        try:
            claim = Fence(client, key).close_unclaimed()
        except NotFound:  # it was deleted meanwhile
            continue
        if claim.job_id is not None and not claim.is_final:
            return False
    return True


def _above(key: str) -> Iterator[str]:
    """The fences of an array lie below the key that its jobs are told."""
    while key := key.rpartition("/")[0]:
        yield key
