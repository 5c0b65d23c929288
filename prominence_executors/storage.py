"""What is stored with the service for the calls of a dispatcher: large data, and the keys of fences."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from prominence.exceptions import SessionInUse
from prominence_executors.calls.objects import ObjectStore
from prominence_executors.fence import Pages
from prominence_executors.sessions import names
from prominence_executors.sessions.leftovers import active_jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prominence import Session
    from prominence_executors.future import ProminenceFuture
    from prominence_executors.sessions.driving import Driving

_NAME_CHARACTERS: Final = 16
_SHOWN: Final = 10
_LISTED_AGAIN_S: Final = 1.0


class Storage:
    """All of it has a name in common: that of the session, where it has one."""

    def __init__(self, session: Session, driving: Driving | None) -> None:
        self._session = session
        self._driving = driving

    @cached_property
    def name(self) -> str:
        if self._driving is not None:
            return self._driving.name
        return self._session.client.new_tag()[:_NAME_CHARACTERS]

    @cached_property
    def fences(self) -> Pages:
        return Pages(names.key(self.name, "fences"))

    @cached_property
    def objects(self) -> ObjectStore:
        """Where large data of calls is stored."""
        return ObjectStore(self._session.client, self.name)

    def delete(self, unfinished: Sequence[ProminenceFuture[Any]]) -> None:
        """Delete all of it; ``unfinished`` are the futures of this process that have no outcome yet.

        Raises SessionInUse, with nothing deleted, where some of it may still be needed: by calls that have
        not ended, of whatever process, or by another process that drives the session.
        """
        if self._driving is None:
            self._delete_unneeded(unfinished)
            return
        self._driving.confirm()
        try:
            self._delete_unneeded(unfinished)
        finally:
            self._driving.end()

    def _delete_unneeded(self, unfinished: Sequence[ProminenceFuture[Any]]) -> None:
        if under_way := [*map(repr, unfinished), *map(str, self._jobs_under_way())]:
            shown = ", ".join(under_way[:_SHOWN]) + (" ..." if len(under_way) > _SHOWN else "")
            raise SessionInUse(
                f"what {self.name} has stored is not deleted, as it is needed by jobs: {shown}"
            )
        self.objects.delete_all()
        names.delete_keys(self._session.client, self.name)

    def _jobs_under_way(self) -> list[int]:
        """Those of the session that queue or run, in two listings: one alone may be late."""
        client = self._session.client
        if not active_jobs(client, self.name):
            return []
        client.clock.sleep(_LISTED_AGAIN_S)
        return active_jobs(client, self.name)
