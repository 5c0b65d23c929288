"""The sessions of a user, for somebody who comes back and wants to know what there is."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from prominence.description.rules import CALL_LABEL, SESSION_LABEL
from prominence.exceptions import NotFound
from prominence.snapshot import TERMINAL
from prominence_executors.sessions import names
from prominence_executors.sessions.driving import FORMAT
from prominence_executors.sessions.lease import FREE, driver_of
from prominence_executors.sessions.leftovers import leftovers
from prominence_executors.sessions.manifest import CallId, read_manifest
from prominence_executors.sessions.process import host_of, is_alive
from prominence_executors.sessions.sent import described

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from prominence import ProminenceClient
    from prominence_executors.sessions.leftovers import Leftovers
    from prominence_executors.sessions.sent import Entry

DriverState = Literal["none", "runs here", "was killed", "elsewhere", "unknown"]


@dataclass(frozen=True, slots=True)
class Driver:
    """The process that drives a session or did last; one elsewhere is not known to run.

    ``host`` and ``pid`` are None where there is none, or it has not said so.
    """

    state: DriverState
    host: str | None = None
    pid: int | None = None

    def __str__(self) -> str:
        return self.state if self.pid is None else f"{self.state} ({self.host}, process {self.pid})"


@dataclass(frozen=True, slots=True)
class SessionOverview:
    """``calls`` is the number of those that were noted, None where another release has done that in its form.

    ``jobs`` counts jobs by status; ``stored_bytes`` is the size of all objects, ``last_used`` an epoch.
    """

    session: str
    driver: Driver
    calls: int | None
    jobs: Mapping[str, int]
    objects: int
    stored_bytes: int
    last_used: float | None

    @property
    def jobs_queued(self) -> int:
        return sum(self.jobs.values()) - self.jobs_running - self.jobs_ended

    @property
    def jobs_running(self) -> int:
        return self.jobs.get("running", 0)

    @property
    def jobs_ended(self) -> int:
        return sum(self.jobs.get(status, 0) for status in TERMINAL)


def overviews(client: ProminenceClient) -> tuple[list[SessionOverview], list[Leftovers]]:
    """The sessions with a name, and what those without one have left."""
    named: list[SessionOverview] = []
    unnamed: list[Leftovers] = []
    for left in leftovers(client):
        values = client.kv_values(names.key(left.session, "drivers"))
        drivers = {key.rpartition("/")[2]: json.loads(value) for key, value in values.items()}
        if drivers:
            named.append(_overview(client, left, drivers))
        else:
            unnamed.append(left)
    return named, unnamed


def _overview(client: ProminenceClient, left: Leftovers, drivers: Mapping[str, Any]) -> SessionOverview:
    is_readable = all(about["format"] == FORMAT for about in drivers.values())
    entries = client.list_jobs(everything=True, label=(SESSION_LABEL, left.session)).entries
    if is_readable:
        entries = _without_those_before(client, entries, drivers)
    return SessionOverview(
        left.session,
        _driver(client, left.session, drivers),
        len(read_manifest(client, left.session)) if is_readable else None,
        dict(Counter(str(entry["status"]) for entry in entries)),
        len(left.objects),
        left.size,
        left.last_used,
    )


def _without_those_before(
    client: ProminenceClient, entries: Sequence[Entry], drivers: Collection[str]
) -> list[Entry]:
    """The jobs of these drivers: those of a deleted session that had this name are older, so have lower ids.

    Only a few are looked at, for their labels come with all that is known of them.
    """

    def is_of_a_driver(entry: Entry) -> bool:
        found = (each.get("labels") or {} for each in described(client, [int(entry["id"])]))
        marks = [labels[CALL_LABEL] for labels in found if CALL_LABEL in labels]
        return all(CallId.parse(mark).driver in drivers for mark in marks)

    by_id = sorted(entries, key=lambda entry: int(entry["id"]))
    if not by_id or is_of_a_driver(by_id[0]):
        return by_id
    return by_id[bisect_left(by_id, True, key=is_of_a_driver) :]


def _driver(client: ProminenceClient, session: str, drivers: Mapping[str, Any]) -> Driver:
    try:
        lease = client.kv_get(names.key(session, "lease"))
    except NotFound:
        lease = FREE
    if lease == FREE:
        return Driver("none")
    process = drivers.get(driver_of(lease), {}).get("process")
    if process is None:
        return Driver("unknown")
    states: dict[bool | None, DriverState] = {True: "runs here", False: "was killed", None: "elsewhere"}
    return Driver(states[is_alive(process)], host_of(process), int(process["pid"]))
