"""A fake service whose key-value store works, but for what a test puts in its way."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from support.fake_service import RESET, FakeService, Received, Reply, page, refuses, says

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Trouble:
    """What is answered to a request for a key, whether it has an effect, and what comes before that."""

    reply: Reply | None
    has_effect: bool
    before: Callable[[], None] = lambda: None


LOST: Final = Trouble(RESET, has_effect=True)
DROPPED: Final = Trouble(RESET, has_effect=False)
AWAY: Final = Trouble(page(503), has_effect=False)


class FakeStore(FakeService):
    """``values`` are its keys; each request for one of them meets the next of ``troubles``."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.troubles: deque[Trouble | None] = deque()
        super().__init__()

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Keys that were asked to be set, and to what."""
        return [
            (each.path.removeprefix("/kv/"), each.body.decode())
            for each in self.received
            if each.method == "POST" and each.path.startswith("/kv/")
        ]

    def answer(self, request: Received) -> Reply:
        if not request.path.startswith("/kv/"):
            return super().answer(request)
        self.received.append(request)
        trouble = self.troubles.popleft() if self.troubles else None
        if trouble is None:
            return self._done(request)
        trouble.before()
        reply = self._done(request) if trouble.has_effect else None
        found = trouble.reply or reply
        assert found is not None
        return found

    def _done(self, request: Received) -> Reply:
        key, new = request.path.removeprefix("/kv/"), request.body.decode()
        if "list" in request.query:
            return says([{f"/{each}": self.values[each]} for each in self.values if each.startswith(key)])
        if request.method == "GET":
            value = self.values.get(key)
            return refuses("No such key", 404) if value is None else Reply(body=value.encode())
        if request.query.get("prev", self.values.get(key)) != self.values.get(key):
            return refuses("Atomic replacement not successful")
        self.values[key] = new
        return says({}, 201)
