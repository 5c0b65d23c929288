"""What a service's feed of changes has brought, and what of that is remembered."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from prominence.snapshot import Snapshot

_REMEMBERED: Final = 2048

S = TypeVar("S", bound=Snapshot)


class Feed(Generic[S]):
    """The place in the feed, and the latest states of what nobody watches.

    They are for whoever begins to watch one now: its submission's answer can arrive after its first changes.
    Not safe to use from several threads.
    """

    def __init__(self) -> None:
        self.cursor: int | None = None
        """Changes up to this revision were brought; None while the feed is not read."""
        self._start: int | None = None  # what it brought since this revision is remembered
        self._reading: int | None = None
        self._recent: OrderedDict[int, S] = OrderedDict()

    def start(self, revision: int | None) -> None:
        """Go on after a revision; with None the feed is not read for now."""
        self.cursor = self._start = revision
        self._recent.clear()

    def begin_page(self, revision: int) -> None:
        """States up to this revision are about to come."""
        self._reading = revision

    def end_page(self) -> None:
        self.cursor = self._reading

    def covers(self, revision: int) -> bool:
        """True when the feed brings, or has brought and left here, all that happened after ``revision``."""
        return self._start is not None and revision >= self._start

    def recent(self, one: int) -> S | None:
        return self._recent.get(one)

    def remember(self, snapshot: S) -> None:
        known = self._recent.get(snapshot.id)
        if known is None or snapshot.has_ended or not known.has_ended:  # a late answer tells nothing new
            self._recent[snapshot.id] = snapshot
        self._recent.move_to_end(snapshot.id)
        if len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
            if self._start is not None:
                self._start = self._reading  # what came before may be forgotten: it is asked for
