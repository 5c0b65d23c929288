"""A named session as its driver has it: the lease, and what it notes of its calls."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any, Final

from prominence.exceptions import NotFound, ProminenceError, SessionMismatch
from prominence.logs import logger
from prominence.version import __version__
from prominence_executors.sessions import names
from prominence_executors.sessions.lease import Lease
from prominence_executors.sessions.manifest import CallRecord, Manifest, read_manifest
from prominence_executors.sessions.process import host_of, is_alive, this_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prominence import Session
    from prominence_executors.call import Call

log = logger(__name__)

FORMAT: Final = 1
_DRIVER_CHARACTERS: Final = 8


class Driving:
    """The right to send calls of a session, which other processes can find again by its name."""

    def __init__(self, session: Session, name: str) -> None:
        """Take the session's lease; raises SessionInUse where another process has it."""
        client = session.client
        self.name = name
        self._driver = client.new_tag()[:_DRIVER_CHARACTERS]
        self._client = client
        self._lease = Lease(client, names.key(name, "lease"), self._driver, self._who_is)
        # Before the lease: who finds that held is to see at any moment whether this process is alive.
        record = names.key(name, "drivers", self._driver)
        client.kv_set(record, json.dumps(_about_this_driver(client.clock.time())))
        try:
            self._lease.acquire(self._is_alive)
        except BaseException:  # also Ctrl-C, which may come when the lease is ours already
            self._lease.release()
            client.kv_delete(record)
            raise
        self._lease.keep(self)
        self._manifest = Manifest(client, name, self._driver, session.sender.add)

    def note(self, calls: Sequence[Call], *, is_array: bool) -> None:
        """Take calls down that are sent together, so that their jobs can be marked with them."""
        records = [_record(call, index if is_array else None) for index, call in enumerate(calls)]
        for call, noted in zip(calls, self._manifest.add(records), strict=True):
            call.noted = noted

    def admit(self, call: Call) -> None:
        """Return when the call may be sent: others could find it, and no other process drives the session.

        Raises SessionInUse, and what calls about the key-value store raise.
        """
        if call.noted is not None and call.noted.driver == self._driver:  # others are noted by their own
            self._manifest.ensure(call.noted)
        self.check()

    def check(self) -> None:
        """Raise SessionInUse where another process drives the session by now, and so nothing may be sent."""
        self._lease.check()

    def confirm(self) -> None:
        """Return when this process drives the session for certain, also after :meth:`end`.

        Raises SessionInUse.
        """
        self._lease.confirm(self._is_alive)

    def end(self) -> None:
        """Let another process drive the session."""
        self._lease.release()

    def _is_alive(self, driver: str) -> bool | None:
        try:
            return is_alive(self._process_of(driver))
        except NotFound:
            return None

    def _who_is(self, driver: str) -> str:
        try:
            process = self._process_of(driver)
        except ProminenceError:  # what is told without it is the error that counts
            return f"driver {driver}"
        return f"driver {driver}, process {process['pid']} on {host_of(process)}"

    def _process_of(self, driver: str) -> dict[str, Any]:
        about: dict[str, Any] = json.loads(self._client.kv_get(names.key(self.name, "drivers", driver)))
        return dict(about["process"])


def driven(session: Session, name: str, *, takes_over: bool) -> Driving:
    """The right to drive a session; calls that it has already, and that are not taken over, are told of.

    Raises SessionInUse, SessionMismatch, InvalidDescription for what cannot be a name.
    """
    names.check_session_name(name)
    is_new = takes_over or not order_of_drivers(session, name)
    before = 0 if is_new else len(read_manifest(session.client, name))
    driving = Driving(session, name)
    if before:
        text = "session %s has %d calls already; ProminenceExecutor.attach(%r) takes them over, this does not"
        log.warning(text, name, before, name)
    return driving


def _record(call: Call, index: int | None) -> CallRecord:
    work, retries = call.work, call.options.retries
    return CallRecord(work.kind, work.job_name, retries.infrastructure, retries.user, index)


def order_of_drivers(session: Session, name: str) -> dict[str, int]:
    """The drivers that a session has had, each with its place in their order; empty for an unknown session.

    Raises SessionMismatch where a release has written it that keeps sessions in another form.
    """
    values = session.client.kv_values(names.key(name, "drivers"))
    found = {key.rpartition("/")[2]: json.loads(value) for key, value in values.items()}
    for about in found.values():
        if about["format"] != FORMAT:
            raise SessionMismatch(
                f"session {name!r} is kept in form {about['format']} (release {about['prominence']}), and "
                f"this release ({__version__}) knows form {FORMAT}: attach with that release"
            )
    return {
        driver: place for place, driver in enumerate(sorted(found, key=lambda each: found[each]["began"]))
    }


def _about_this_driver(now: float) -> dict[str, Any]:
    versions = {"prominence": __version__, "python": platform.python_version()}
    return {"format": FORMAT, **versions, "began": now, "process": this_process()}
