"""What sessions have left with the service, and when each was last of use.

A session leaves objects (``prominence-<session>-<sha256>.bin``) and keys (``prominence/<session>/...``), and
its jobs carry its label. Keys have no times: the age is that of the newest object, driver or job.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from prominence.description.rules import SESSION_LABEL
from prominence.exceptions import NotFound
from prominence.snapshot import TERMINAL
from prominence_executors.sessions import names
from prominence_executors.sessions.lease import FREE, RENEWED_EVERY_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prominence import ProminenceClient

_OBJECT: Final = re.compile(r"prominence-(.+)-[0-9a-f]{64}\.bin")
_KEY: Final = re.compile(r"/?prominence/([^/]+)/.+")
_TAKEN_TO_DELETE: Final = "gc:0"
_LATE_S: Final = 5.0  # by which a lease may be renewed later than it should be


@dataclass(slots=True)
class Leftovers:
    """What is left of a session; ``size`` is that of its objects in bytes, ``last_used`` a Unix epoch.

    ``last_used`` is None where nothing tells it: the service has forgotten its jobs. ``is_active`` tells that
    it has jobs that are queued or run, or that a process drives it.
    """

    session: str
    objects: list[str] = field(default_factory=list)
    size: int = 0
    keys: int = 0
    last_used: float | None = None
    is_active: bool = False
    lease: str | None = None
    """Whose it was when it was looked at first; None where it has no lease."""

    def was_used(self, epoch: float) -> None:
        self.last_used = max(epoch, self.last_used or epoch)

    def delete(self, client: ProminenceClient) -> bool:
        """False, with nothing deleted, where a process has begun to drive it meanwhile."""
        key = names.key(self.session, "lease")
        if self.lease is not None and not client.kv_swap(key, _TAKEN_TO_DELETE, self.lease):
            return False
        for name in self.objects:
            client.delete_object(name)
        names.delete_keys(client, self.session)
        return True


def leftovers(client: ProminenceClient) -> list[Leftovers]:
    """What is left of each session, in the order of their names."""
    found = _stored(client)
    for each in found.values():
        _look_for_drivers(client, each)
        _look_for_jobs(client, each)
    return [found[name] for name in sorted(found)]


def look_again(client: ProminenceClient, found: Iterable[Leftovers]) -> None:
    """Find out which of these only seem to be left.

    A session that begins has a key before its first job, and the process that drives one renews its lease: so
    jobs and leases are looked at once more after both must have been seen.
    """
    found = list(found)
    for one in found:
        one.lease = _lease(client, one)
    is_held = any(one.lease not in {None, FREE} for one in found)
    is_unknown = any(one.last_used is None for one in found)
    pause = max(RENEWED_EVERY_S + _LATE_S if is_held else 0.0, client.settle_window if is_unknown else 0.0)
    if not pause:
        return
    client.clock.sleep(pause)
    for one in found:
        _look_for_jobs(client, one)
        one.is_active = one.is_active or _lease(client, one) != one.lease


def active_jobs(client: ProminenceClient, session: str) -> list[int]:
    """The jobs of a session that queue or run."""
    entries = client.list_jobs(label=(SESSION_LABEL, session)).entries
    return [int(entry["id"]) for entry in entries if entry["status"] not in TERMINAL]


def _stored(client: ProminenceClient) -> dict[str, Leftovers]:
    found: dict[str, Leftovers] = {}
    for entry in client.list_objects():
        if match := _OBJECT.fullmatch(str(entry["name"])):
            one = found.setdefault(match[1], Leftovers(match[1]))
            one.objects.append(match[0])
            one.size += int(entry["size"])
            one.was_used(parsedate_to_datetime(entry["lastModified"]).timestamp())
    for key in client.kv_list("prominence"):
        if match := _KEY.fullmatch(key):
            found.setdefault(match[1], Leftovers(match[1])).keys += 1
    return found


def _lease(client: ProminenceClient, one: Leftovers) -> str | None:
    try:
        return client.kv_get(names.key(one.session, "lease"))
    except NotFound:
        return None


def _look_for_drivers(client: ProminenceClient, one: Leftovers) -> None:
    for value in client.kv_values(names.key(one.session, "drivers")).values():
        one.was_used(float(json.loads(value)["began"]))


def _look_for_jobs(client: ProminenceClient, one: Leftovers) -> None:
    label = (SESSION_LABEL, one.session)
    listings = (client.list_jobs, client.list_workflows)
    active = [entry for listing in listings for entry in listing(label=label).entries]
    last = [entry for listing in listings for entry in listing(label=label, completed=True, num=1).entries]
    one.is_active = any(entry["status"] not in TERMINAL for entry in active)
    for epoch in _times([*active, *last]):
        one.was_used(epoch)


def _times(entries: Iterable[dict[str, Any]]) -> list[float]:
    return [epoch for entry in entries for epoch in (entry.get("events") or {}).values()]
