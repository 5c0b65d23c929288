"""A service that makes it no easier for clients than a real one does (``--rough``), for tests of clients.

It has none of what the embedded service adds to the API, and the submission label is a label like any
other there (:class:`prominence.local.jobs.Jobs`, ``idempotent``): a repeated submission is another job.
What else real services do to their clients, now and then, is in :class:`Turbulence`.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict, deque
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Self

from prominence.local.connections import Connection
from prominence.local.errors import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_EXTRAS: Final = b"prominence-"
_LISTING: Final = re.compile(r"/prominence/v1/(jobs|workflows)(/\d+)?")
_EXEC: Final = re.compile(r"/prominence/v1/jobs/(\d+)/exec")
_LAG: Final = 5  # answers that a workflow's progress is behind
_FEW: Final = 0.1


@dataclass(frozen=True, slots=True)
class Rates:
    """How often each kind of turbulence comes, as a chance between 0 (never) and 1.

    ``missing``: a job, once, in an answer with several. ``backward``: a running job that is called idle,
    with an end. ``lagging``: a workflow's progress of some answers ago. ``closed``: a connection that
    is closed after an answer, without a word. ``exec``: a command that fails, until one has worked.
    """

    missing: float = 0.0
    backward: float = 0.0
    lagging: float = 0.0
    closed: float = 0.0
    exec: float = 0.0

    @classmethod
    def parse(cls, given: Any) -> Self:
        """Rates from JSON; those not named are 0."""
        names = [each.name for each in fields(cls)]
        if not isinstance(given, dict) or given.keys() - set(names):
            raise Refusal(400, f"the kinds of turbulence are {', '.join(names)}")
        for name, rate in given.items():
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
                raise Refusal(400, f"the rate of {name} must be a number from 0 to 1")
        return cls(**given)


FEW_OF_EACH: Final = Rates(_FEW, _FEW, _FEW, _FEW, _FEW)


@dataclass
class Turbulence:
    """What happens to answers, by chance; the same requests after the same seed meet the same."""

    rates: Rates = FEW_OF_EACH
    seed: int = 0
    _random: random.Random = field(init=False)
    _were_missing: set[int] = field(default_factory=set)
    _can_execute: set[int] = field(default_factory=set)
    _progress: dict[int, deque[Any]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=_LAG)))

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - chance, not a secret

    def set(self, rates: Rates, seed: int) -> None:
        self.rates, self.seed = rates, seed
        self._random.seed(seed)

    def as_json(self) -> dict[str, Any]:
        return {"seed": self.seed, "rates": asdict(self.rates)}

    def closes_connection(self) -> bool:
        return self._comes("closed")

    def fails_to_execute(self, job: int) -> bool:
        if job not in self._can_execute and self._comes("exec"):
            return True
        self._can_execute.add(job)
        return False

    def listing(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """An answer's jobs or workflows, as a rougher service would tell of them."""
        several = len(entries) > 1
        kept = [each for each in entries if not (several and self._loses(each["id"]))]
        return [self._rough(each) for each in kept]

    def _loses(self, job: int) -> bool:
        if job in self._were_missing or not self._comes("missing"):
            return False
        self._were_missing.add(job)
        return True

    def _rough(self, entry: dict[str, Any]) -> dict[str, Any]:
        if "progress" in entry:
            told = self._progress[entry["id"]]
            told.append(entry["progress"])
            return {**entry, "progress": told[0]} if self._comes("lagging") else entry
        if entry.get("status") == "running" and self._comes("backward"):
            began = entry["events"].get("startTime", entry["events"]["createTime"])
            return {**entry, "status": "idle", "events": {**entry["events"], "endTime": began}}
        return entry

    def _comes(self, kind: str) -> bool:
        rate: float = getattr(self.rates, kind)
        return rate > 0 and self._random.random() < rate


def roughened(app: ASGIApp, turbulence: Turbulence) -> ASGIApp:
    """The same service without the headers that real ones do not send, and with turbulence."""

    async def rough(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _EXEC.fullmatch(scope["path"]):
            job = int(scope["path"].split("/")[-2])
            if turbulence.fails_to_execute(job):
                scope = {**scope, "query_string": b"command=false"}
        answer = _Answer(scope, send, turbulence)
        await app(scope, receive, answer.send)

    return rough


class _Answer:
    """One answer on its way out."""

    def __init__(self, scope: Scope, send: Send, turbulence: Turbulence) -> None:
        self._send = send
        self._turbulence = turbulence
        self._is_listing = scope["type"] == "http" and (
            scope["method"] == "GET" and _LISTING.fullmatch(scope["path"]) is not None
        )
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            plain = [each for each in message["headers"] if not each[0].lower().startswith(_EXTRAS)]
            message = {**message, "headers": plain}
            if self._is_listing and message["status"] == 200:  # noqa: PLR2004 - OK
                self._start = message
                return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body"):
            await self._send_listing(self._start)

    async def _send_listing(self, start: Message) -> None:
        found = json.loads(self._body)
        if isinstance(found, list):
            found = self._turbulence.listing(found)
        body = json.dumps(found, separators=(",", ":")).encode() + b"\n"
        headers = [each for each in start["headers"] if each[0].lower() != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        await self._send({**start, "headers": [*headers, length]})
        await self._send({"type": "http.response.body", "body": body})


def closing_protocol(turbulence: Turbulence) -> type[Connection]:
    """A service's end of connections, some of them closed without announcement."""

    class Closing(Connection):
        def on_response_complete(self) -> None:
            super().on_response_complete()
            if turbulence.closes_connection():
                self.transport.close()

    return Closing
