"""What a service said of a job or a workflow at one moment; immutable, and read with care.

Real services say `completed` of jobs whose tasks failed, show end times and exit codes of earlier tries,
and call workflows with a cycle completed: what counts is spelled out here, once.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from prominence.logs import About

TERMINAL: Final = frozenset({"completed", "failed", "deleted", "killed"})
_SAID_BY_SERVICE: Final = ("id", "status", "statusReason", "events", "execution", "progress", "parameters")


class Events(dict[str, int]):
    """Unix epochs ``createTime``, ``startTime`` and ``endTime``, as far as they are known."""

    @property
    def create(self) -> int | None:
        return self.get("createTime")

    @property
    def start(self) -> int | None:
        return self.get("startTime")

    @property
    def end(self) -> int | None:
        return self.get("endTime")

    def to_dict(self) -> dict[str, int]:
        """A plain copy."""
        return dict(self)


class Execution(dict[str, Any]):
    """What the service measured, by the API's names; a property is None where that is not known (yet)."""

    @property
    def site(self) -> str | None:
        return self.get("site")

    @property
    def runtime_version(self) -> dict[str, str] | None:
        """The container runtime's version, by its name."""
        return self.get("runtimeVersion")

    @property
    def provisioned_resources(self) -> dict[str, int] | None:
        """``cpus``, ``memory`` and ``disk`` in GB, and ``nodes``."""
        return self.get("provisionedResources")

    @property
    def cpu_info(self) -> dict[str, str] | None:
        """``vendor``, ``model`` and ``clock``."""
        return self.get("cpu")

    @property
    def tasks(self) -> list[dict[str, Any]] | None:
        """One entry per task that ran, with its ``exitCode``, times in seconds and memory in kB."""
        return self.get("tasks")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``entry`` is the API's JSON."""

    entry: dict[str, Any] = field(repr=False)

    @property
    def id(self) -> int:
        return int(self.entry["id"])

    @property
    def status(self) -> str:
        return str(self.entry.get("status", ""))

    @property
    def reason(self) -> str:
        return str(self.entry.get("statusReason") or "")

    @property
    def state(self) -> tuple[object, ...]:
        """What every form of an answer tells, with detail or without; equal while nothing has happened."""
        return self.status, self.reason, self.events

    @property
    def has_ended(self) -> bool:
        return self.status in TERMINAL

    @property
    def may_come_back(self) -> bool:
        """True for an end that is to be doubted for a while."""
        return False

    @property
    def has_certainly_ended(self) -> bool:
        return self.has_ended and not self.may_come_back

    @property
    def events(self) -> Events:
        return Events(self.entry.get("events") or {})

    def without_description(self) -> Self:
        """What the service says of it alone, for thousands that are kept while they wait."""
        found: dict[str, Any] = {name: self.entry[name] for name in _SAID_BY_SERVICE if name in self.entry}
        events = _shared_events(tuple(self.events.items()))
        return type(self)({**found, "status": sys.intern(self.status), "events": events})

    @property
    def description(self) -> dict[str, Any]:
        """The API's JSON that submits it again; whole only where the answer was a detailed one."""
        from prominence.description.job import users_labels

        found = {name: value for name, value in self.entry.items() if name not in _SAID_BY_SERVICE}
        for name in ("outputFiles", "outputDirs"):
            if name in found:
                found[name] = [output["name"] for output in found[name]]
        return {**found, "labels": users_labels(found.get("labels", {}))}


@lru_cache(maxsize=256)
def _shared_events(events: tuple[tuple[str, int], ...]) -> dict[str, int]:
    """One for all jobs that were made in a second."""
    return dict(events)


class JobSnapshot(Snapshot):
    __slots__ = ()

    @property
    def may_come_back(self) -> bool:
        """A job that is `failed` without an end time may be on hold."""
        return self.status == "failed" and "endTime" not in self.events

    @property
    def is_detailed(self) -> bool:
        return "execution" in self.entry

    @property
    def execution(self) -> Execution:
        return Execution(self.entry.get("execution") or {})

    @property
    def exit_codes(self) -> tuple[int | None, ...]:
        """One per task that ran, sidecars left out; empty while nothing is known."""
        return tuple(task.get("exitCode") for task in self.execution.get("tasks") or ())

    @property
    def succeeded(self) -> bool:
        """Completed, and every task that ran ended with 0."""
        codes = self.exit_codes
        return self.status == "completed" and bool(codes) and all(code == 0 for code in codes)

    @property
    def has_begun(self) -> bool:
        """True while it runs, and after its end; not while it waits to be started again."""
        return self.status == "running" or self.has_ended

    def was_restarted_since(self, earlier: JobSnapshot) -> bool:
        """True when it was started anew: its output then begins from the start again.

        A number of retries that was not told earlier says nothing: some services tell it only at the end.
        """
        if not self.has_begun:
            return False
        start, retries = self.events.get("startTime"), self.execution.get("retries")
        was_retried = retries is not None and earlier.execution.get("retries") not in {None, retries}
        return was_retried or start not in {None, earlier.events.get("startTime")}


class WorkflowSnapshot(Snapshot):
    __slots__ = ()

    @property
    def progress(self) -> dict[str, int]:
        """Numbers of jobs: ``total``, ``done``, ``failed``, ``queued``, ``waiting``; may lag by a minute."""
        return dict(self.entry.get("progress") or {})

    @property
    def state(self) -> tuple[object, ...]:
        return *super().state, self.progress

    @property
    def is_done(self) -> bool:
        """All jobs are done; a workflow without progress or without jobs counts by its status."""
        return self.progress.get("done", 0) == self.progress.get("total", 0)

    @property
    def may_come_back(self) -> bool:
        """`completed` counts once all jobs are done: the progress lags, or there is a cycle."""
        return self.status == "completed" and not self.is_done

    @property
    def succeeded(self) -> bool:
        return self.status == "completed" and self.is_done


def log_state(log: About, snapshot: Snapshot) -> None:
    """Ends are for information, what comes before them for debugging."""
    level = logging.INFO if snapshot.has_ended else logging.DEBUG
    log.log(level, "%s", f"{snapshot.status} ({snapshot.reason})" if snapshot.reason else snapshot.status)
